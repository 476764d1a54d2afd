"""Thoughts of other vendors' models do not pass to a vendor who would refuse them; its own do, untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import Reply, Text, Thinking, ToolCall
from routing.upstreams.base import GENERATE, MESSAGES, RESPONSES
from routing.upstreams.registry import dialect_of
from spendhub.gateway.openai.responses_objects import items_of
from tests.routing.facts import model_facts

OWN = {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}
TEXT = {"type": "text", "text": "Hello"}


def sent(dialect: str, wire: Any, *, name: str = "m", **body: Any) -> dict[str, Any]:
    model = model_facts(name, dialect=dialect, base_url="http://vendor")
    request = dialect_of(model).native_request(model, "", wire, {"model": "m", **body}, is_stream=False)
    found: dict[str, Any] = json.loads(request.body)
    return found


@pytest.mark.parametrize(
    "foreign",
    [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "thinking", "thinking": "hm"},
        {"type": "thinking", "thinking": "hm", "signature": "gemini.abc"},
        {"type": "thinking", "thinking": "hm", "signature": "openai.005cf1df.gAAAAABfake=="},
        {"type": "redacted_thinking", "data": "openai.005cf1df.gAAAAABfake=="},
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


def test_anthropic_is_not_shown_by_what_another_vendor_has_signed_a_call() -> None:
    call = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}
    said = [TEXT, {**call, "signature": "gemini.CiQB"}, {**call, "signature": "whose?"}]
    messages = [{"role": "assistant", "content": said}]
    (turn,) = sent("anthropic", MESSAGES, messages=messages)["messages"]
    assert turn["content"] == [TEXT, call, {**call, "signature": "whose?"}]


CALLED = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}]}
MANUAL = {"type": "enabled", "budget_tokens": 2_048}
TO_EDIT = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]


def going_on(name: str, *said: Any, thinking: Any = MANUAL, **fields: Any) -> dict[str, Any]:
    """What Anthropic is sent in a loop of tools in which its model, or another one, has said that."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [*said, CALLED]}, RESULT]
    return sent("anthropic", MESSAGES, name=name, messages=messages, thinking=thinking, **fields)


def test_claude_is_not_asked_to_think_in_a_loop_of_tools_that_another_vendors_model_began() -> None:
    foreign = {"type": "thinking", "thinking": "hm", "signature": "gemini.abc"}
    for said in ((foreign,), (TEXT,), ()):
        assert "thinking" not in going_on("claude-sonnet-4-5", *said)
    # What takes thoughts out of the conversation is refused where there is no thinking.
    edited = going_on("claude-sonnet-4-5", foreign, context_management={"edits": TO_EDIT})
    assert edited["context_management"] == {"edits": TO_EDIT[1:]}
    edited = going_on("claude-sonnet-4-5", foreign, context_management={"edits": TO_EDIT[:1]})
    assert "context_management" not in edited


def test_claude_goes_on_thinking_in_a_loop_of_its_own_and_where_it_asks_for_no_thoughts_back() -> None:
    kept = going_on("claude-sonnet-4-5", OWN, context_management={"edits": TO_EDIT})
    assert (kept["thinking"], kept["context_management"]) == (MANUAL, {"edits": TO_EDIT})
    assert going_on("claude-sonnet-4-6", thinking={"type": "adaptive"})["thinking"] == {"type": "adaptive"}
    assert going_on("kimi-k3")["thinking"] == MANUAL
    new = [{"role": "user", "content": "Hi"}]
    assert sent("anthropic", MESSAGES, name="claude-sonnet-4-5", messages=new, thinking=MANUAL)["thinking"] == MANUAL


def test_a_word_of_the_users_behind_a_tools_answer_ends_no_loop() -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [CALLED]},
        RESULT,
        {"role": "user", "content": "and now?"},
    ]
    asked = sent("anthropic", MESSAGES, name="claude-sonnet-4-5", messages=messages, thinking=MANUAL)
    assert "thinking" not in asked


def test_words_that_are_put_into_claudes_mouth_pass_with_the_thinking_that_is_asked_for() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The weather is"}]
    asked = sent("anthropic", MESSAGES, name="claude-sonnet-4-5", messages=messages, thinking=MANUAL)
    assert (asked["thinking"], asked["messages"]) == (MANUAL, messages)


def test_what_a_user_says_is_never_touched() -> None:
    messages = [{"role": "user", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}]}]
    assert sent("anthropic", MESSAGES, messages=messages)["messages"] == messages


def test_openai_is_not_shown_reasoning_that_we_have_sealed() -> None:
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    sealed = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "spendhub.signed.EqQB"}
    asked = sent("openai", RESPONSES, input=[own, sealed, {"role": "user", "content": "Hi"}])
    assert asked["input"] == [own, {"role": "user", "content": "Hi"}]


def test_openai_is_not_shown_reasoning_that_nobody_has_signed_nor_the_signature_of_a_call() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    reply = Reply("r1", "m", (Thinking("hm"), ToolCall("c1", "weather", "{}", "gemini.CiQB"), Text("so")), "stop", None)
    told = [*items_of(reply), {**call, "signature": "whose?"}]
    kept = {"type": "reasoning", "id": "rs_0a1b", "summary": []}  # by OpenAI, for whoever lets it keep them
    asked = sent("openai", RESPONSES, input=[kept, *told])["input"]
    assert [item["type"] for item in asked] == ["reasoning", "function_call", "message", "function_call"]
    assert (asked[0], asked[1]) == (kept, {**call, "id": "fc_r1_1", "status": "completed"})
    assert asked[3]["signature"] == "whose?"


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
