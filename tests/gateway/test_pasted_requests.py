"""A pasted request is read for a dry run as the gateway reads it for a call, whichever client wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from routing import tokens
from routing.extras import Extras
from routing.pasted_requests import PastedRequest
from routing.tokens import estimate_input_tokens, packed_tokens_in
from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import CHAT, EMBEDDINGS, GENERATE, MESSAGES, RESPONSES
from routing.wanted import Wanted
from spendhub.errors import Invalid
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.calls import wanted_of
from spendhub.gateway.declared import NO_DEMANDS
from spendhub.gateway.dialect import ClientDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.pasted_requests import read_pasted
from spendhub.tenants.attribution import NOBODY, Attribution
from spendhub.tenants.snapshot import TenantFacts

RECORDED = sorted((Path(__file__).parents[1] / "routing" / "upstreams" / "recorded" / "requests").glob("*.json"))
DIALECTS: dict[str, ClientDialect] = {
    "chat": CHAT_DIALECT,
    "responses": RESPONSES_DIALECT,
    "messages": MESSAGES_DIALECT,
    "generate": GenerateDialect("m", is_stream=False),
}
# Which models there are is looked up by name.
pytestmark = pytest.mark.django_db

TENANT = TenantFacts(7, "acme", "Acme", ZoneInfo("UTC"), "USD", "block", True)
HELLO = [{"role": "user", "content": "hello"}]
PICTURE = "iVBORw0KGgo="
MADE: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]}]}),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}]}]}]}),
    ("messages", {"messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "draw", "input": {"type": "image", "text": "not said"}}]}]}),
    ("messages", {"thinking": {"type": "disabled"}, "messages": [{"role": "user", "content": "hello"}]}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}),
    ("responses", {"input": "hello", "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low"}}),
    ("generate", {"contents": [{"parts": [{"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}}]}]}),
    ("generate", {"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": "x"}}]}],
                  "generation_config": {"thinking_config": {"thinking_budget": 0}, "max_output_tokens": 7}}),
    ("chat", {"messages": [{"role": "user", "content": "hi"}], "n": 3, "max_tokens": 9}),
    ("chat", {"messages": [{"role": "user", "content": "hi"}], "n": 1, "logprobs": True}),
    ("chat", {"messages": [{"role": "user", "content": "hi"}], "n": 2, "stream": True, "tools": [{}]}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA",
              "format": "wav"}}]}], "stream": True, "max_completion_tokens": 7}),
]  # fmt: skip


def requests() -> list[Any]:
    recorded = [(path.stem.split("-")[0], json.loads(path.read_text("utf-8"))) for path in RECORDED]
    names = [path.stem for path in RECORDED]
    made = [f"{kind}-made-{number}" for number, (kind, _) in enumerate(MADE)]
    return [pytest.param(*each, id=name) for each, name in zip(recorded + MADE, names + made, strict=True)]


def pasted(body: dict[str, Any], **beside: Any) -> Wanted:
    return read_pasted(PastedRequest(TENANT, body, **beside)).wanted


@pytest.mark.parametrize(("kind", "body"), requests())
def test_it_wants_of_a_model_what_the_same_call_would(kind: str, body: dict[str, Any]) -> None:
    dialect, whole = DIALECTS[kind], {"model": "m", **body}
    if kind == "messages":
        whole = {"max_tokens": 100, **whole}
    request = dialect.parse(json.dumps(whole).encode())
    called = wanted_of(TENANT, request, dialect, NOBODY, NO_DEMANDS, estimate_input_tokens(request.body))
    read = pasted(whole)
    assert (read.needs(), read.text()) == (called.needs(), called.text())
    for name in ("name", "kind", "wire", "input_tokens", "max_output_tokens", "choices", "extras", "declared"):
        assert getattr(read, name) == getattr(called, name), name


def test_what_is_packed_into_it_is_counted_apart_once_and_only_if_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int] = []

    def count(body: Mapping[str, Any]) -> int:
        counted.append(packed_tokens_in(body))
        return counted[-1]

    monkeypatch.setattr(tokens, "packed_tokens_in", count)
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 4_000_000}}
    read = pasted({"messages": [{"role": "user", "content": [file]}]})
    assert (read.input_tokens, counted) == (228_007, [])
    assert (read.packed_tokens(), replace(read, untranslatable="n").packed_tokens()) == (228_000, 228_000)
    assert counted == [228_000]


@pytest.mark.parametrize(
    ("body", "extras"),
    [
        ({"web_search_options": {}}, Extras(web_searches=1, untold_searches=1, vendor_tools="web_search_options")),
        ({"service_tier": "priority"}, Extras(service_tier="priority")),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}], "max_tokens": 9},
         Extras(web_searches=2, vendor_tools="tools[0]")),
    ],
)  # fmt: skip
def test_what_may_be_billed_beside_tokens_is_seen(body: dict[str, Any], extras: Extras) -> None:
    assert pasted({"messages": HELLO, **body}).extras == extras


def test_a_setting_that_many_models_refuse_is_seen() -> None:
    assert pasted({"messages": HELLO, "temperature": 0.2}).unusual() == Unusual(("temperature 0.2",))
    assert pasted({"messages": HELLO, "temperature": 1}).unusual() is NOTHING_UNUSUAL


def test_several_answers_count_each_and_sound_needs_a_model_that_has_it() -> None:
    read = pasted({"messages": HELLO, "n": 3, "max_tokens": 100})
    assert (read.choices, read.max_output_tokens, read.needs()) == (3, 300, {"choices"})
    assert pasted({"messages": HELLO, "modalities": ["text", "audio"]}).needs() == {"audio", "speech"}


def test_the_bodys_own_demands_and_whom_it_is_for_are_read_and_what_is_said_beside_it_wins() -> None:
    body = {
        "model": "gpt-4o", "messages": HELLO, "user": "ada", "metadata": {"feature": "faq", "task": "t"},
        "spendhub": {"allow": ["gpt-4o"], "max_cost": "0.05"},
    }  # fmt: skip
    read = pasted(body)
    assert (read.name, read.attribution) == ("gpt-4o", Attribution(user="ada", feature="faq", task="t"))
    assert (read.declared.allow, read.declared.max_cost_nano_usd) == ({"gpt-4o"}, 50_000_000)
    read = pasted(body, model="auto", attribution=Attribution(feature="support"), max_output_tokens=7, input_tokens=9)
    assert (read.name, read.attribution) == ("auto", Attribution(user="ada", feature="support", task="t"))
    assert (read.max_output_tokens, read.input_tokens) == (7, 9)


def test_messages_say_whom_they_are_for_in_words_of_their_own() -> None:
    read = pasted({"messages": HELLO, "max_tokens": 9, "metadata": {"user_id": "ada"}})
    assert (read.wire, read.attribution) == (MESSAGES, Attribution(user="ada"))


def test_a_field_that_only_one_of_two_dialects_has_tells_whose_messages_they_are() -> None:
    assert pasted({"messages": HELLO, "max_tokens": 9}).wire == CHAT
    assert pasted({"messages": HELLO, "max_tokens": 9, "top_k": 5}).wire == MESSAGES
    assert pasted({"messages": HELLO, "max_tokens": 9, "top_k": 5, "frequency_penalty": 1}).wire == CHAT


def said_in(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    "chats",
    [
        *({"messages": HELLO, name: value} for name, value in (
            ("seed", 3), ("logit_bias", {"5": 1}), ("top_logprobs", 2), ("parallel_tool_calls", False), ("store", True),
            ("prediction", {"type": "content", "content": "x"}), ("verbosity", "low"), ("function_call", "none"),
            ("tools", [{"type": "function", "function": {"name": "x", "parameters": {}}}]),
        )),
        *({"messages": [{"role": role, "content": "be brief"}, *HELLO]} for role in ("system", "developer")),
        {"messages": [*HELLO, {"role": "assistant", "content": "x", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "x", "arguments": "{}"}}]}]},
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
        {"messages": [*HELLO, {"role": "function", "name": "x", "content": "x"}]},
        said_in({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}),
        said_in({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        said_in({"type": "file", "file": {"file_id": "f"}}),
        {"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HELLO]},
    ],
)  # fmt: skip
def test_what_only_chat_completions_have_weighs_more_than_a_setting_that_many_vendors_take(
    chats: dict[str, Any],
) -> None:
    assert pasted({"max_tokens": 9, "top_k": 5, **chats}).wire == CHAT


@pytest.mark.parametrize(
    "own",
    [
        {"system": "be brief"},
        {"tools": [{"name": "x", "input_schema": {}}]},
        {"messages": [*HELLO, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "x", "input": {}}]}, {"role": "system", "content": "stop"}]},
    ],
)  # fmt: skip
def test_a_turn_of_the_systems_stands_among_anthropics_messages_too(own: dict[str, Any]) -> None:
    with_system = [*HELLO, {"role": "system", "content": "be brief"}]
    assert pasted({"messages": with_system, "max_tokens": 9, "top_k": 5, **own}).wire == MESSAGES


@pytest.mark.parametrize(
    "odd",
    [
        [{"role": ["system"], "content": "x"}],
        [{"role": {}, "content": [{"type": {"a": 1}}, {"type": ["image"]}, 7, None]}],
        [7, None, [], "x"],
    ],
)
def test_whose_an_odd_body_is_is_no_defect(odd: list[Any]) -> None:
    try:
        assert pasted({"messages": odd, "max_tokens": 9}).wire == CHAT
    except Invalid as refused:
        assert str(refused.details["field"]).startswith("messages")


def test_a_request_is_as_large_as_its_values_are_many_and_its_texts_are_long() -> None:
    def size(**body: Any) -> int:
        return read_pasted(PastedRequest(TENANT, {"model": "m", **body})).size

    # The body, its model, the list, and of each turn itself, who says it, and what.
    assert size(messages=HELLO) == 3 + 3
    assert size(messages=HELLO * 100) == 3 + 300
    assert size(messages=[{"role": "user", "content": "x" * 5000}]) == 3 + 3 + 5


@pytest.mark.parametrize(
    ("body", "wire", "text"),
    [
        ({}, CHAT, "hi"),
        ({"messages": HELLO}, CHAT, "hello\nhi"),
        ({"input": "hello"}, RESPONSES, "hello\nhi"),
        ({"input": [{"role": "user", "content": "hello"}]}, RESPONSES, "hello\nhi"),
        ({"contents": [{"parts": [{"text": "hello"}]}]}, GENERATE, "hello\nhi"),
    ],
)
def test_words_beside_a_body_are_said_last(body: dict[str, Any], wire: str, text: str) -> None:
    read = pasted(body, prompt="hi")
    assert (read.wire, read.text(), read.name) == (wire, text, "auto")


@pytest.mark.parametrize(
    ("body", "beside"),
    [
        ({"input": ["hello"]}, {"kind": "embedding"}),
        ({}, {"kind": "embedding", "prompt": "hello"}),
        ({"content": {"parts": [{"text": "hello"}]}}, {}),
        ({"requests": [{"content": {"parts": [{"text": "hello"}]}}]}, {}),
    ],
)
def test_embeddings_can_be_tried_too(body: dict[str, Any], beside: dict[str, Any]) -> None:
    read = pasted(body, **beside)
    assert (read.kind, read.wire, read.text(), read.needs()) == ("embedding", EMBEDDINGS, "hello", {"embeddings"})
    assert read.max_output_tokens == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": 5}, "messages"),
        ({"messages": HELLO, "max_tokens": "many"}, "max_tokens"),
        ({"messages": HELLO, "model": 7}, "model"),
        ({"messages": HELLO, "spendhub": {"colour": "red"}}, "spendhub"),
        ({"messages": HELLO, "user": 7}, "user"),
        ({"contents": "x"}, "contents"),
    ],
)
def test_what_the_call_would_be_refused_for_is_refused_here_too(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        pasted(body)
    assert refused.value.details["field"] == field
