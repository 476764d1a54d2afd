"""Anthropic's messages: what is sent, and what its answers say, in payloads written after its API reference."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from routing.asking import execute
from routing.conversation import (
    Audio,
    Began,
    Conversation,
    Delta,
    Ended,
    File,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.anthropic.dialect import AnthropicDialect
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.anthropic.schemas import closed_schema
from routing.upstreams.base import MESSAGES, UsageReader
from routing.upstreams.sse import SseEvent
from routing.upstreams.transport import HttpTransport
from tests.fakes.vendor import WORDS_OF_ANSWER
from tests.routing.facts import chat, model_facts
from tests.routing.upstreams.vendors import Spoken

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("weather", "The weather.", SCHEMA)


def body_of(*messages: Message, name: str = "claude-sonnet-4-6", **fields: Any) -> dict[str, Any]:
    model = model_facts(name, dialect="anthropic", base_url="https://api.anthropic.com", max_output_tokens=64_000)
    asked = Conversation(messages or (Message("user", (Text("hi"),)),), **fields)
    found: dict[str, Any] = json.loads(AnthropicDialect().translated_request(model, "k", asked, is_stream=False).body)
    return found


def said(*blocks: Any, role: Any = "user") -> Any:
    """The content that one message becomes."""
    return body_of(Message(role, blocks))["messages"][0]["content"]


@pytest.mark.parametrize(
    "base_url", ["https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1"]
)
def test_a_clients_own_body_passes_untouched(base_url: str) -> None:
    model = model_facts("claude", dialect="anthropic", base_url=base_url, upstream_name="claude-opus-5")
    body = {
        "model": "smart",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "hi"}],
        "brand_new_field": {"deep": [1]},
        "spendhub": {"feature": "x"},
    }
    request = AnthropicDialect().native_request(model, "sk-ant", MESSAGES, body, is_stream=True)
    assert request.url == "https://api.anthropic.com/v1/messages"
    assert dict(request.headers) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant",
    }
    expected = {name: value for name, value in body.items() if name != "spendhub"}
    assert json.loads(request.body) == {**expected, "model": "claude-opus-5", "stream": True}
    whole = AnthropicDialect().native_request(model, "", MESSAGES, {**body, "stream": False}, is_stream=False)
    assert "stream" not in json.loads(whole.body) and "x-api-key" not in whole.headers


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_clients_own_call_is_answered_untouched_and_counted(anthropic: Spoken, is_stream: bool) -> None:
    text = "[think:one two] [in:10] [cached:4] [written:5] [written1h:3] [out:6]"
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}], "stream": is_stream}
    answer, events, reader = asyncio.run(passed_through(anthropic, body, is_stream))
    assert anthropic.sent()["path"] == "/v1/messages"
    assert anthropic.sent()["headers"]["x-api-key"] == "sk-fake"
    assert reader.usage == TokenUsage(
        input_tokens=10, cache_read_tokens=4, cache_write_tokens=5, cache_write_1h_tokens=3, output_tokens=8,
        reasoning_tokens=2,
    )  # fmt: skip
    if is_stream:
        assert [event.event for event in events][:3] == ["message_start", "ping", "content_block_start"]
        assert reader.is_complete and events[-1].event == "message_stop"
        said = [json.loads(event.data).get("delta", {}).get("text", "") for event in events]
        assert "".join(said) == WORDS_OF_ANSWER
    else:
        assert json.loads(answer)["content"][1]["text"] == WORDS_OF_ANSWER


async def passed_through(
    vendor: Spoken, body: dict[str, Any], is_stream: bool
) -> tuple[bytes, list[SseEvent], UsageReader]:
    client = HttpTransport()
    try:
        asked = chat(body, is_stream=is_stream, wire=MESSAGES)
        execution = await execute(vendor.model(), asked, transport=client)
        if is_stream:
            return b"", [event async for event, _ in execution.events()], execution.reader
        return await execution.read(), [], execution.reader
    finally:
        await client.aclose()


def test_how_long_an_answer_may_be_is_always_said() -> None:
    assert body_of(max_output_tokens=77)["max_tokens"] == 77
    assert body_of()["max_tokens"] == 64_000
    model = model_facts("claude-opus-5", dialect="anthropic", max_output_tokens=None)
    asked = Conversation((Message("user", (Text("hi"),)),))
    body = json.loads(AnthropicDialect().translated_request(model, "", asked, is_stream=False).body)
    assert body["max_tokens"] == 4_096


def test_every_kind_of_block_has_its_words() -> None:
    assert said(Text("hi", is_cache_point=True), Text("")) == [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    ]
    assert said(Image("image/png", "AAAA"), Image(url="https://x.test/a.png", detail="low")) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
    ]
    assert said(
        File("application/pdf", "JVBE", name="a.pdf"),
        File(url="https://x.test/a.pdf"),
        File(text="plain"),
        File("text/csv", "YSxi"),
    ) == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
    ]
    assert said(
        Thinking("hm", "sig"),
        Thinking(signature="enc", is_redacted=True),
        Thinking("another vendor's"),
        Thinking("Google's", "gemini.abc"),
        Refusal("no"),
        ToolCall("call:1", "weather", '{"city": "Köln"}'),
        ToolCall("c2", "weather", "not json"),
        role="assistant",
    ) == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Köln"}},
        {"type": "tool_use", "id": "c2", "name": "weather", "input": {"_": "not json"}},
    ]
    assert said(
        Text("and now?"),
        ToolResult("call:1", (Text("22"), Image("image/png", "AAAA")), is_error=True),
        ToolResult("c2", ()),
    ) == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "22"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ],
        },
        {"type": "tool_result", "tool_use_id": "c2"},
        {"type": "text", "text": "and now?"},
    ]


@pytest.mark.parametrize(
    "block",
    [Audio("AAAA", "wav"), File("application/zip", "AAAA"), File("text/plain", "/w=="), File("text/plain", "!")],
)
def test_what_it_cannot_look_at_is_refused(block: Any) -> None:
    with pytest.raises(NotTranslatable, match="messages: "):
        said(block)


def test_messages_of_one_role_in_a_row_are_one_turn() -> None:
    results = (Message("user", (ToolResult("1", (Text("a"),)),)), Message("user", (ToolResult("2", (Text("b"),)),)))
    body = body_of(Message("assistant", (Text("x"),)), *results, Message("assistant", (Text(""),)))
    assert [message["role"] for message in body["messages"]] == ["assistant", "user"]
    assert [part["tool_use_id"] for part in body["messages"][1]["content"]] == ["1", "2"]


def test_blank_texts_are_left_out_wherever_they_stand() -> None:
    result = ToolResult("1", (Text(" \n"), Text("22")))
    body = body_of(
        Message("user", (Text("\t"), Text("hi"), Image("image/png", "AAAA"))),
        Message("assistant", (Text("\n\n"), ToolCall("1", "weather", "{}"))),
        Message("user", (result, ToolResult("2", (Text(" "),)))),
        system=(Text(" "), Text("be brief")),
    )
    asked, called, answered = (message["content"] for message in body["messages"])
    assert [part["type"] for part in (*asked, *called)] == ["text", "image", "tool_use"]
    assert answered == [
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "22"}]},
        {"type": "tool_result", "tool_use_id": "2"},
    ]
    assert body["system"] == [{"type": "text", "text": "be brief"}]
    assert "system" not in body_of(system=(Text(" "), Text("")))


def test_a_turn_in_which_nothing_is_said_leaves_no_empty_one() -> None:
    user, model = Message("user", (Text("a"),)), Message("assistant", (Text(" "),))
    blank = {"role": "user", "content": [{"type": "text", "text": "(empty)"}]}
    assert body_of(Message("user", (Text(" "),)))["messages"] == [blank]
    # Without its last turn the conversation would be one that the model is to go on with where it stopped.
    answered = Message("assistant", (Text("b"),))
    assert body_of(user, answered, Message("user", (Text("\n"),)))["messages"][2] == blank
    (only,) = body_of(user, model, Message("user", (Text("c"),)))["messages"]
    assert [part["text"] for part in only["content"]] == ["a", "c"]
    # Somebody has to be answered.
    assert body_of(model)["messages"] == [blank]
    assert body_of(Message("assistant", (Thinking("hm"),)), system=(Text("Be brief."),))["messages"] == [blank]


def test_a_system_prompt_alone_is_what_the_user_says() -> None:
    model = model_facts("claude-sonnet-4-6", dialect="anthropic")
    for system, text in (((Text("Write a haiku."),), "Write a haiku."), ((), "(empty)")):
        asked = AnthropicDialect().translated_request(model, "", Conversation((), system), is_stream=False)
        body = json.loads(asked.body)
        assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": text}]}]
        assert "system" not in body


def test_system_tools_stops_and_the_user_have_their_places() -> None:
    strict = Tool("other", parameters={**SCHEMA, "$schema": "x"}, is_strict=True, is_cache_point=True)
    body = body_of(system=(Text("Be brief."),), tools=(WEATHER, strict), stop=("END",), user="ada", top_k=3)
    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert body["tools"] == [
        {"name": "weather", "description": "The weather.", "input_schema": SCHEMA},
        {
            "name": "other",
            "input_schema": {**SCHEMA, "additionalProperties": False},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
    ]
    assert (body["stop_sequences"], body["metadata"], body["top_k"]) == (["END"], {"user_id": "ada"}, 3)
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("choice", "is_parallel", "expected"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), True, {"type": "any", "disable_parallel_tool_use": False}),
        (ToolChoice("named", "weather"), False, {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, None, None),
    ],
)
def test_tools_are_chosen(choice: ToolChoice | None, is_parallel: bool | None, expected: Any) -> None:
    assert body_of(tools=(WEATHER,), tool_choice=choice, is_parallel=is_parallel).get("tool_choice") == expected
    assert "tool_choice" not in body_of(tool_choice=choice, is_parallel=is_parallel)


@pytest.mark.parametrize(
    ("name", "reasoning", "thinking", "effort"),
    [
        ("claude-sonnet-4-5-20250929", Reasoning("low"), {"type": "enabled", "budget_tokens": 1_024}, None),
        ("claude-3-7-sonnet-20250219", Reasoning("high"), {"type": "enabled", "budget_tokens": 24_576}, None),
        ("claude-haiku-4-5", Reasoning(budget_tokens=5_000), {"type": "enabled", "budget_tokens": 5_000}, None),
        ("claude-haiku-4-5", Reasoning(budget_tokens=500), {"type": "enabled", "budget_tokens": 1_024}, None),
        ("claude-haiku-4-5", Reasoning(budget_tokens=99_999), {"type": "enabled", "budget_tokens": 63_999}, None),
        ("claude-haiku-4-5", Reasoning(), {"type": "enabled", "budget_tokens": 8_192}, None),
        ("claude-haiku-4-5", Reasoning("none"), None, None),
        ("claude-opus-4-6-20260205", Reasoning("xhigh"), {"type": "adaptive"}, "high"),
        ("claude-opus-4-7", Reasoning("xhigh", is_shown=True), {"type": "adaptive", "display": "summarized"}, "xhigh"),
        ("claude-opus-4-8", Reasoning(budget_tokens=10_000), {"type": "adaptive"}, "medium"),
        ("claude-sonnet-5", Reasoning(), {"type": "adaptive"}, None),
        ("claude-sonnet-5", Reasoning("minimal"), {"type": "adaptive"}, "low"),
        ("claude-opus-5", Reasoning("none"), {"type": "disabled"}, None),
        ("claude-haiku-5-5", Reasoning(budget_tokens=0), {"type": "disabled"}, None),
        ("claude-sonnet-5-5", Reasoning("none"), {"type": "between_tools"}, None),
        ("claude-opus-5-5", Reasoning("none"), None, "low"),
        ("claude-fable-5", Reasoning("none"), None, "low"),
        ("claude-nova-next", Reasoning("high"), {"type": "adaptive"}, "high"),
        ("deepseek-chat", Reasoning("medium"), {"type": "enabled", "budget_tokens": 8_192}, None),
    ],
)
def test_thinking_is_asked_for_as_each_generation_takes_it(
    name: str, reasoning: Reasoning, thinking: Any, effort: str | None
) -> None:
    body = body_of(name=name, reasoning=reasoning)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_there_is_no_thinking_where_the_answer_is_too_short_for_any() -> None:
    assert "thinking" not in body_of(name="claude-haiku-4-5", reasoning=Reasoning("high"), max_output_tokens=1_024)
    short = body_of(name="claude-haiku-4-5", reasoning=Reasoning("high"), max_output_tokens=1_025)
    assert short["thinking"] == {"type": "enabled", "budget_tokens": 1_024}


QUESTION = Message("user", (Text("weather?"),))
CALL, RESULT = ToolCall("toolu_1", "weather", "{}"), Message("user", (ToolResult("toolu_1", (Text("sunny"),)),))
CALLED = Message("assistant", (CALL,))
OWN = Thinking("hm", "EqQB")


@pytest.mark.parametrize(
    "lost", [(CALL,), (Text("Let me see."), CALL), (Thinking("hm"), CALL), (Thinking("hm", "gemini.CiQB"), CALL)]
)
def test_claude_does_not_think_in_a_loop_of_tools_whose_thoughts_are_lost(lost: Any) -> None:
    loop = (QUESTION, Message("assistant", lost), RESULT)
    for name in ("claude-sonnet-4-5", "claude-3-7-sonnet-20250219"):
        assert "thinking" not in body_of(*loop, name=name, reasoning=Reasoning("high"), tools=(WEATHER,))
        longer = body_of(*loop, CALLED, RESULT, name=name, reasoning=Reasoning("high"), tools=(WEATHER,))
        assert "thinking" not in longer
    # The generations that decide themselves ask for none back; nor do other vendors who speak this dialect say so.
    for name, kind in (("claude-sonnet-4-6", "adaptive"), ("deepseek-chat", "enabled")):
        assert body_of(*loop, name=name, reasoning=Reasoning("high"))["thinking"]["type"] == kind


@pytest.mark.parametrize(
    "messages",
    [
        (QUESTION, Message("assistant", (OWN, CALL)), RESULT),
        (QUESTION, Message("assistant", (Thinking(signature="Emwk", is_redacted=True), CALL)), RESULT),
        # Not every step of a loop has thoughts of its own.
        (QUESTION, Message("assistant", (OWN, CALL)), RESULT, CALLED, RESULT),
        # The loop is over, and a new answer begins.
        (QUESTION, CALLED, RESULT, Message("assistant", (Text("sunny"),)), Message("user", (Text("and?"),))),
    ],
)
def test_claude_goes_on_thinking_where_the_thoughts_have_come_back_or_a_new_answer_begins(messages: Any) -> None:
    body = body_of(*messages, name="claude-sonnet-4-5", reasoning=Reasoning("low"), tools=(WEATHER,))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1_024}


def test_claude_does_not_think_where_it_goes_on_with_words_that_are_put_into_its_mouth() -> None:
    started = Message("assistant", (Text("The weather is"),))
    assert "thinking" not in body_of(QUESTION, started, name="claude-sonnet-4-5", reasoning=Reasoning("low"))


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("claude-opus-5-5", {"tools": (WEATHER,), "tool_choice": ToolChoice("required")}, "tool_choice"),
        (
            "claude-sonnet-4-6",
            {"tools": (WEATHER,), "tool_choice": ToolChoice("required"), "reasoning": Reasoning("low")},
            "tool_choice",
        ),
        ("claude-3-7-sonnet-20250219", {"output": OutputFormat(SCHEMA)}, "output"),
    ],
)
def test_what_a_generation_does_not_take_is_refused_by_name(name: str, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        body_of(name=name, **fields)
    assert refused.value.details["field"] == field


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("claude-opus-4-7", {"temperature": 0.2}),
        ("claude-sonnet-5", {"top_p": 0.9}),
        ("claude-haiku-5-5", {"top_k": 4}),
        ("claude-sonnet-4-6", {"temperature": 0.2, "reasoning": Reasoning("low")}),
    ],
)
def test_sampling_is_left_out_where_the_model_chooses_its_words_by_itself(name: str, fields: dict[str, Any]) -> None:
    assert {"temperature", "top_p", "top_k"}.isdisjoint(body_of(name=name, **fields))


def test_defaults_are_no_wish() -> None:
    assert "temperature" not in body_of(name="claude-opus-5-5", temperature=1, top_p=1.0)


def test_a_schema_is_closed_and_its_bounds_become_words() -> None:
    body = body_of(output=OutputFormat(SCHEMA), reasoning=Reasoning("low"))
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}},
    }
    assert closed_schema(
        {
            "$defs": {"age": {"type": "integer", "minimum": 0, "description": "Years."}},
            "type": "object",
            "properties": {
                "age": {"$ref": "#/$defs/age"},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1},
                "either": {"anyOf": [{"type": "null"}, {"properties": {}}]},
                "minimum": {"type": "number"},
            },
            "additionalProperties": True,
        }
    ) == {
        "$defs": {"age": {"type": "integer", "description": "Years. (minimum: 0)"}},
        "type": "object",
        "properties": {
            "age": {"$ref": "#/$defs/age"},
            "tags": {"type": "array", "items": {"type": "string", "description": "(maxLength: 3)"}, "minItems": 1},
            "either": {"anyOf": [{"type": "null"}, {"properties": {}, "additionalProperties": False}]},
            "minimum": {"type": "number"},
        },
        "additionalProperties": False,
    }


# Answers, after the API reference's own examples.

TOOL_STREAM = (
    b'{"type":"message_start","message":{"id":"msg_014p7gG3wDgGV9EUtLvnow3U","type":"message","role":"assistant","model":"claude-opus-4-6","stop_sequence":null,"usage":{"input_tokens":472,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":2},"content":[],"stop_reason":null}}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
    b'{"type": "ping"}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"I should look."}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB=="}}',
    b'{"type":"content_block_stop","index":0}',
    b'{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"Emwk"}}',
    b'{"type":"content_block_stop","index":1}',
    b'{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}',
    b'{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Okay, \\"error\\""}}',
    b'{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"error"}}',
    b'{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}',
    b'{"type":"content_block_stop","index":2}',
    b'{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_01T1x1fJ34qAmk2tNTrN7Up6","name":"get_weather","input":{}}}',
    b'{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}',
    b'{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\\"location\\":"}}',
    b'{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":" \\"San Francisco, CA\\"}"}}',
    b'{"type":"content_block_stop","index":3}',
    b'{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_02","name":"now","input":{}}}',
    b'{"type":"content_block_stop","index":4}',
    b'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89}}',
    b'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"cache_read_input_tokens":1001,"output_tokens":90,"output_tokens_details":{"thinking_tokens":40}}}',
    b'{"type":"message_stop"}',
)  # fmt: skip


def read(reader: MessagesReader, *events: bytes) -> list[Delta]:
    found: list[Delta] = []
    for event in events:
        reader.read_event(event)
        found += reader.deltas(event)
    return found


def test_a_stream_with_thoughts_words_and_tools() -> None:
    reader = MessagesReader()
    assert read(reader, *TOOL_STREAM) == [
        Began("msg_014p7gG3wDgGV9EUtLvnow3U", "claude-opus-4-6"),
        ThinkingDelta("I should look."),
        ThinkingDelta(signature="EqQB=="),
        ThinkingDelta(signature="Emwk", is_redacted=True),
        TextDelta('Okay, "error"'),
        TextDelta("error"),
        ToolCallBegan(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
        ToolCallDelta(0, '{"location":'),
        ToolCallDelta(0, ' "San Francisco, CA"}'),
        ToolCallBegan(1, "toolu_02", "now"),
        ToolCallDelta(1, "{}"),
        Ended("tool_calls"),
    ]
    assert reader.is_complete and reader.finish_reason == "tool_use"
    assert reader.response_id == "msg_014p7gG3wDgGV9EUtLvnow3U"


def test_counts_are_cumulative_and_what_is_not_said_again_still_holds() -> None:
    reader, parsed = MessagesReader(), []
    for event in TOOL_STREAM:
        parsed.append(reader.read_event(event) is not None)
        if b"message_delta" not in event and not reader.is_complete:
            assert reader.usage is None
    assert parsed == [index in (0, 20, 21) for index in range(len(TOOL_STREAM))]
    assert reader.usage == TokenUsage(
        input_tokens=472, output_tokens=90, cache_read_tokens=1_001, cache_write_tokens=100, cache_write_1h_tokens=200,
        reasoning_tokens=40,
    )  # fmt: skip


def test_a_stream_lacks_its_end_alone_once_it_has_said_why_it_ends() -> None:
    reader = MessagesReader()
    read(reader, *TOOL_STREAM[:11])
    assert reader.missing_end() == b""
    reader.read_event(b'{"type":"message_delta","delta":{"stop_reason":"max_tokens"}}')
    assert reader.usage is None and not reader.is_complete
    reader.read_event(reader.missing_end())
    assert reader.is_complete
    assert reader.deltas(reader.missing_end()) == [Ended("length")]


def test_a_stream_that_breaks_off_leaves_what_the_vendor_had_counted() -> None:
    reader = MessagesReader()
    read(reader, *TOOL_STREAM[:11])
    assert reader.usage is None and not reader.is_complete
    assert reader.usage_so_far is not None
    assert reader.usage_so_far.total_input_tokens == 472 + 300 + 1_000
    # I|shou|ld|look|. and Okay|,|"|erro|r|" and erro|r
    assert reader.produced_tokens() == 5 + 6 + 2


def test_a_whole_message() -> None:
    reader = MessagesReader()
    reader.read_body(
        json.dumps(
            {
                "id": "msg_01",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-5",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "Emwk"},
                    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
                    {"type": "text", "text": "Hi."},
                    {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {"zone": "東京"}},
                ],
                "stop_reason": "stop_sequence",
                "stop_sequence": "END",
                "usage": {"input_tokens": 3, "output_tokens": 5, "cache_creation_input_tokens": 7},
            }
        ).encode()
    )
    reply = reader.reply()
    assert reply.blocks == (
        Thinking("hm", "sig"),
        Thinking(signature="Emwk", is_redacted=True),
        Text("Hi."),
        ToolCall("toolu_1", "now", '{"zone":"東京"}'),
    )
    assert (reply.finish, reply.stop_sequence, reply.id) == ("stop", "END", "msg_01")
    assert reply.usage == TokenUsage(input_tokens=3, output_tokens=5, cache_write_tokens=7)


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
     ("refusal", "content_filter"), ("pause_turn", "stop"), ("something_new", "stop")],
)  # fmt: skip
def test_why_it_ended(stop_reason: str, finish: str) -> None:
    reader = MessagesReader()
    reader.read_body(json.dumps({"content": [], "stop_reason": stop_reason}).encode())
    assert reader.reply().finish == finish
    assert reader.usage is None


def test_an_error_in_mid_stream_names_what_the_vendor_said() -> None:
    reader = MessagesReader()
    with pytest.raises(UpstreamError, match="overloaded_error: Overloaded"):
        reader.read_event(b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}')


@pytest.mark.parametrize("body", [b"{}", b'{"content": "words"}'])
def test_an_answer_of_no_known_shape_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        MessagesReader().read_body(body)


@pytest.mark.parametrize("stop", ["", "\n", " \t"])
def test_a_blank_stop_is_refused_by_name(stop: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        body_of(stop=("END", stop))
    assert refused.value.field == "stop"


@pytest.mark.parametrize("event", [b'{"type":"message_start"}', b'{"type":"message_stop"'])
def test_impossible_events_are_errors(event: bytes) -> None:
    with pytest.raises(UpstreamError):
        MessagesReader().read_event(event)


@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"message_delta","usage":{"output_tokens":-1}}',
        b'{"type":"message_delta","usage":{"output_tokens":1,"cache_creation_input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":2}}}',
        b'{"type":"message_delta","usage":{"output_tokens":1,"output_tokens_details":{"thinking_tokens":2}}}',
    ],
)
def test_impossible_counts_are_none(event: bytes) -> None:
    reader = MessagesReader()
    assert reader.read_event(event) is not None
    assert (reader.usage, reader.usage_so_far) == (None, None)


@pytest.mark.parametrize(
    "event",
    [b'{"type":"content_block_start","index":0}', b'{"type":"content_block_delta"}', b'{"type":"content_block_stop","index":9}',
     b'{"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"x"}}', b'{"type":"news"}',
     b'{"type":"message_delta"}', b"{}"],
)  # fmt: skip
def test_events_of_another_shape_say_nothing(event: bytes) -> None:
    assert read(MessagesReader(), event) == []


def test_what_a_block_already_has_when_it_begins_is_said() -> None:
    assert read(
        MessagesReader(),
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"hm"}}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"Hi"}}',
        b'{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}',
        b'{"type":"content_block_stop","index":2}',
    ) == [ThinkingDelta("hm"), TextDelta("Hi"), ToolCallBegan(0, "t", "f"), ToolCallDelta(0, '{"a":1}')]


def test_events_that_are_no_json_pass_and_spoil_nothing(anthropic: Spoken) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "[fault:malformed-sse]"}]}
    _, events, reader = asyncio.run(passed_through(anthropic, body, True))
    assert b"{not json" in [event.data for event in events]
    assert reader.is_complete and reader.usage is not None
    assert reader.produced_tokens() >= 15
