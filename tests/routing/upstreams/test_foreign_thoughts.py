"""Thoughts of other vendors' models do not pass to a vendor who would refuse them; its own do, untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.upstreams.base import GENERATE, MESSAGES, RESPONSES
from routing.upstreams.registry import dialect_of
from tests.routing.facts import model_facts

OWN = {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}
TEXT = {"type": "text", "text": "Hello"}


def sent(dialect: str, wire: Any, **body: Any) -> dict[str, Any]:
    model = model_facts("m", dialect=dialect, base_url="http://vendor")
    request = dialect_of(model).native_request(model, "", wire, {"model": "m", **body}, is_stream=False)
    found: dict[str, Any] = json.loads(request.body)
    return found


@pytest.mark.parametrize(
    "foreign",
    [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "thinking", "thinking": "hm"},
        {"type": "thinking", "thinking": "hm", "signature": "gemini.abc"},
        {"type": "redacted_thinking", "data": "spendhub.redacted.abc"},
    ],
)
def test_anthropic_is_shown_its_own_thoughts_alone(foreign: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [foreign, OWN, TEXT]}]
    assert sent("anthropic", MESSAGES, messages=messages)["messages"][1]["content"] == [OWN, TEXT]


def test_a_turn_of_nothing_but_foreign_thoughts_is_not_sent_empty() -> None:
    messages = [{"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}]}]
    (turn,) = sent("anthropic", MESSAGES, messages=messages)["messages"]
    assert [block["type"] for block in turn["content"]] == ["text"]


def test_what_a_user_says_is_never_touched() -> None:
    messages = [{"role": "user", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}]}]
    assert sent("anthropic", MESSAGES, messages=messages)["messages"] == messages


def test_openai_is_not_shown_reasoning_that_we_have_sealed() -> None:
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    sealed = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "spendhub.signed.EqQB"}
    asked = sent("openai", RESPONSES, input=[own, sealed, {"role": "user", "content": "Hi"}])
    assert asked["input"] == [own, {"role": "user", "content": "Hi"}]


SEALED = "c3BlbmRodWIuc2lnbmVkLkVxUUI="  # base64 of "spendhub.signed.EqQB"


def googles_parts(model: str, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    facts = model_facts("m", dialect="gemini", base_url="http://vendor", upstream_name=model)
    body = {"contents": [{"role": "model", "parts": list(parts)}]}
    request = dialect_of(facts).native_request(facts, "", GENERATE, body, is_stream=False)
    found: list[dict[str, Any]] = json.loads(request.body)["contents"][0]["parts"]
    return found


def test_google_is_shown_its_own_signatures_alone() -> None:
    own = {"text": "hm", "thought": True, "thoughtSignature": "CiQB"}
    foreign = {"text": "hm", "thought": True, "thoughtSignature": SEALED}
    bare = {"text": "", "thoughtSignature": SEALED}
    assert googles_parts("gemini-3.5-flash", own, foreign, bare, {"text": "Hi"}) == [own, {"text": ""}, {"text": "Hi"}]
    assert googles_parts("gemini-3.5-flash", foreign) == [{"text": "(thinking)"}]


def test_a_call_of_another_vendors_model_says_so_where_google_wants_a_signature() -> None:
    call, own = {"functionCall": {"name": "a"}}, {"functionCall": {"name": "b"}, "thoughtSignature": "CiQB"}
    foreign = {**call, "thoughtSignature": SEALED}
    stand_in = {**call, "thoughtSignature": "skip_thought_signature_validator"}
    assert googles_parts("gemini-3.5-flash", foreign, own, call) == [stand_in, own, call]
    assert googles_parts("gemini-2.5-flash", foreign, own, call) == [call, own, call]
