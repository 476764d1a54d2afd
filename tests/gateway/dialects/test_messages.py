"""Anthropic's messages towards clients: asked in full, answered so that its SDK understands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from routing.conversation import (
    Began,
    Ended,
    File,
    Image,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.sse import SseEvent, UnreadEvents
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.anthropic.messages_conversation import DROPPED
from tests.gateway.dialects.said import MONEY, REPLIES, USAGE, SaidReader, data_of, deltas_of, events_in, written

HI = {"role": "user", "content": "hi"}
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
CACHED = {"type": "ephemeral"}


def asked(*messages: dict[str, Any], **fields: Any):
    """A request, parsed."""
    body = {"model": "m", "max_tokens": 50, "messages": messages or [HI], **fields}
    return MESSAGES_DIALECT.parse(json.dumps(body).encode())


def test_everything_is_read() -> None:
    said = MESSAGES_DIALECT.conversation(
        asked(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look", "cache_control": CACHED},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                    {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
                        "title": "a",
                        "context": "from ada",
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                    {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
                    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "in"}]}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "blob"},
                    {"type": "text", "text": "let me see", "citations": None},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
                    {"type": "tool_use", "id": "t2", "name": "time", "input": {}, "signature": "g"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "broken"},
                            {"type": "image", "source": {"type": "url", "url": "https://x.test/b.png"}},
                        ],
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
            system=[{"type": "text", "text": "be brief", "cache_control": CACHED}],
            tools=[
                {"name": "weather", "description": "of a city", "input_schema": {"type": "object"}, "strict": True},
                {"type": "custom", "name": "time", "input_schema": {"type": "object"}, "cache_control": CACHED},
            ],
            tool_choice={"type": "tool", "name": "time", "disable_parallel_tool_use": True},
            thinking={"type": "enabled", "budget_tokens": 2048},
            stop_sequences=["END"],
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            metadata={"user_id": "ada"},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        )
    )
    assert said.system == (Text("be brief", is_cache_point=True),)
    assert said.messages[0].blocks == (
        Text("look", is_cache_point=True),
        Image("image/png", "AA"),
        Image(url="https://x.test/a.png"),
        Text("from ada"),
        File("application/pdf", "JV", name="a"),
        File("text/plain", text="words"),
        File("application/pdf", url="https://x.test/a.pdf"),
        Text("in"),
    )
    assert said.messages[1].blocks == (
        Thinking("hm", "s"),
        Thinking("", "blob", is_redacted=True),
        Text("let me see"),
        ToolCall("t1", "weather", '{"city":"Oslo"}'),
        ToolCall("t2", "time", "{}", "g"),
    )
    assert said.messages[2].blocks == (
        ToolResult("t1", (Text("sunny"),), name="weather"),
        ToolResult("t2", (Text("broken"), Image(url="https://x.test/b.png")), is_error=True, name="time"),
        Text("go on"),
    )
    assert said.tools == (
        Tool("weather", "of a city", {"type": "object"}, is_strict=True),
        Tool("time", "", {"type": "object"}, is_cache_point=True),
    )
    assert (said.tool_choice, said.is_parallel) == (ToolChoice("named", "time"), False)
    assert said.reasoning == Reasoning(budget_tokens=2048, is_shown=True)
    assert (said.stop, said.temperature, said.top_p, said.top_k, said.user) == (("END",), 0.5, 0.9, 40, "ada")
    assert said.output == OutputFormat({"type": "object"}, is_strict=True)
    assert said.max_output_tokens == 50


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, Reasoning(is_shown=True)),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
            Reasoning("low"),
        ),
        ({"output_config": {"effort": "max"}}, Reasoning("high")),
    ],
)
def test_thinking_is_read_in_each_of_its_forms(fields: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert MESSAGES_DIALECT.conversation(asked(**fields)).reasoning == reasoning


@pytest.mark.parametrize(("kind", "choosing"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_a_choice_of_tools_is_read(kind: str, choosing: str) -> None:
    said = MESSAGES_DIALECT.conversation(asked(tool_choice={"type": kind}))
    assert (said.tool_choice, said.is_parallel) == (ToolChoice(choosing), None)


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


ONLY_ANTHROPIC: dict[str, dict[str, Any]] = {
    "container": {"container": "c"},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://x.test", "name": "x"}]},
    "context_management": {"context_management": {"edits": []}},
    "speed": {"speed": "fast"},
    "no_such_field": {"no_such_field": 1},
    "tools[0].type 'web_search_20250305'": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "tools[0].defer_loading": {"tools": [{"name": "x", "input_schema": {}, "defer_loading": True}]},
    "output_format.type 'xml'": {"output_format": {"type": "xml"}},
    "output_config.task_budget": {"output_config": {"task_budget": 1}},
    "thinking.type 'between_tools'": {"thinking": {"type": "between_tools"}},
    "messages[0].content[0].type 'search_result'": block(type="search_result"),
    "messages[0].content[0].source.type 'file'": block(type="image", source={"type": "file", "file_id": "f"}),
    "messages[0].content[0].citations": block(
        type="document", source={"type": "text", "data": "x"}, citations={"enabled": True}
    ),
    "messages[0].content[0].type 'server_tool_use'": {
        "messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "x", "name": "web_search"}]}]
    },
}


@pytest.mark.parametrize("field", ONLY_ANTHROPIC)
def test_what_anthropic_alone_understands_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        MESSAGES_DIALECT.conversation(asked(**{"messages": [HI], **ONLY_ANTHROPIC[field]}))
    assert refused.value.details["field"] == field


def test_what_the_system_says_among_the_messages_stands_first() -> None:
    words = [{"type": "text", "text": "Speak German.", "cache_control": {"type": "ephemeral"}}]
    found = MESSAGES_DIALECT.conversation(
        asked(
            HI,
            {"role": "system", "content": "Be brief.", "clear_at": "never"},
            {"role": "assistant", "content": "Hello."},
            {"role": "system", "content": words},
            HI,
            system="You are Ada.",
        )
    )
    assert found.system == (Text("You are Ada."), Text("Be brief."), Text("Speak German.", is_cache_point=True))
    assert [message.role for message in found.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"clear_at": "next_user_message"}, "messages[1].clear_at"),
        ({"output_config": {"effort": "low"}}, "messages[1].output_config"),
        ({"content": [{"type": "tool_addition"}]}, "messages[1].content[0].type 'tool_addition'"),
    ],
)
def test_what_a_system_message_says_to_anthropic_alone_is_refused(message: dict[str, Any], field: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        MESSAGES_DIALECT.conversation(asked(HI, {"role": "system", "content": "x"} | message))
    assert refused.value.field == field


def test_what_changes_no_answer_is_dropped() -> None:
    values = dict.fromkeys(DROPPED, "x")
    assert MESSAGES_DIALECT.conversation(asked(**values, speed="standard")) == MESSAGES_DIALECT.conversation(asked())


def test_needs_are_read_from_the_request() -> None:
    assert MESSAGES_DIALECT.needs(asked(thinking={"type": "disabled"})) == frozenset()
    image = {"type": "image", "source": {"type": "url", "url": "https://x.test"}}
    request = asked(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]},
        {"role": "user", "content": [{"type": "document"}, {"type": "text", "text": "hi"}]},
        system="be brief",
        stream=True,
        tools=[{"name": "x", "input_schema": {}}],
        thinking={"type": "adaptive"},
        output_format={"type": "json_schema", "schema": {}},
    )
    assert MESSAGES_DIALECT.needs(request) == {"streaming", "vision", "files", "tools", "reasoning", "json"}
    assert MESSAGES_DIALECT.text(request) == "be brief\nhi"
    assert request.tools == ("x",)


@pytest.mark.parametrize(
    ("role", "block"),
    [
        ("assistant", {"type": "tool_use", "id": "t", "name": "weather", "input": {}}),
        ("user", {"type": "tool_result", "tool_use_id": "t", "content": "rain"}),
        ("assistant", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        ("assistant", {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
    ],
)
def test_a_tool_that_was_called_before_needs_a_model_that_knows_tools(role: str, block: dict[str, Any]) -> None:
    assert MESSAGES_DIALECT.needs(asked(HI, {"role": role, "content": [block]}, HI)) == {"tools"}


def test_a_document_made_of_pictures_needs_a_model_that_can_see_them() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}

    def document(*content: dict[str, Any]) -> dict[str, Any]:
        return {"type": "document", "source": {"type": "content", "content": list(content)}}

    def needs(block: dict[str, Any]) -> frozenset[str]:
        return MESSAGES_DIALECT.needs(asked({"role": "user", "content": [block]}))

    assert needs(document({"type": "text", "text": "a"}, picture)) == {"files", "vision"}
    assert needs(document({"type": "text", "text": "a"})) == {"files"}
    assert needs({"type": "document", "source": {"type": "content", "content": "a"}}) == {"files"}
    shown = {"type": "tool_result", "tool_use_id": "t", "content": [document(picture)]}
    assert needs(shown) == {"files", "vision", "tools"}


@pytest.mark.parametrize("thinking", [{}, {"thinking": {"type": "disabled"}}], ids=["unsaid", "disabled"])
def test_an_effort_asks_for_a_model_that_reasons(thinking: dict[str, Any]) -> None:
    def needs(**config: Any) -> frozenset[str]:
        return MESSAGES_DIALECT.needs(asked(output_config=config, **thinking))

    assert needs(effort="low") == needs(effort="max") == {"reasoning"}
    assert needs(effort=None) == needs(effort="none") == needs() == frozenset()


def test_tools_can_be_taken_away_and_output_limited() -> None:
    tools = [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}}]
    request = asked(tools=tools, tool_choice={"type": "tool", "name": "b"})
    fewer = MESSAGES_DIALECT.without_tools(request, frozenset("b"))
    assert fewer.tools == ("a",) and fewer.body["tools"] == tools[:1] and "tool_choice" not in fewer.body
    none = MESSAGES_DIALECT.without_tools(request, frozenset("ab"))
    assert set(none.body) == {"model", "max_tokens", "messages"}
    assert MESSAGES_DIALECT.with_max_output(request, 7).body["max_tokens"] == 7
    assert request.body["max_tokens"] == 50


def test_where_an_output_limit_leaves_no_room_for_thinking_no_edit_asks_for_thoughts() -> None:
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    request = asked(max_tokens=4_000, thinking=thinking, context_management={"edits": edits})
    off = MESSAGES_DIALECT.with_max_output(request, 1_000).body
    assert (off["thinking"], off["context_management"]) == ({"type": "disabled"}, {"edits": edits[1:]})
    less = MESSAGES_DIALECT.with_max_output(request, 1_500).body
    assert (less["thinking"]["budget_tokens"], less["context_management"]) == (1_499, {"edits": edits})


def as_told(reply: Any) -> list[Any]:
    """Anthropic has no word for a refusal but text."""
    return [Text(each.text) if isinstance(each, Refusal) else each for each in reply.blocks]


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_answer_is_a_message_that_says_the_same(name: str) -> None:
    reply = REPLIES[name]
    body = MESSAGES_DIALECT.whole(reply, asked(), "m")
    told = Message.model_validate_json(body, strict=True)
    assert (told.id, told.model, told.role) == ("id-1", "m", "assistant")
    assert (told.usage.input_tokens, told.usage.cache_read_input_tokens) == (70, 20)
    assert (told.usage.cache_creation_input_tokens, told.usage.output_tokens) == (10, 40)
    reader = MessagesReader()
    reader.read_body(body)
    again = reader.reply()
    assert list(again.blocks) == as_told(reply)
    assert (again.finish, again.usage) == (reply.finish, USAGE)


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_is_events_that_say_the_same(name: str) -> None:
    reply = REPLIES[name]
    deltas = deltas_of(reply)
    events = written(MESSAGES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas))
    parsed = [EVENTS.validate_python(data) for data in data_of(events)]
    assert [event.event for event in events] == [each.type for each in parsed]
    assert [parsed[0].type, parsed[-2].type, parsed[-1].type] == ["message_start", "message_delta", "message_stop"]
    assert parsed[-2].model_extra["spendhub"] == MONEY
    assert (parsed[-2].usage.input_tokens, parsed[-2].usage.output_tokens) == (70, 40)
    blocks = [each for each in parsed if each.type.startswith("content_block")]
    index = -1
    for each in blocks:  # each block begins, is said and ends before the next one
        index += each.type == "content_block_start"
        assert each.index == index
    assert [b.type for b in blocks if "delta" not in b.type] == ["content_block_start", "content_block_stop"] * len(
        reply.blocks
    )
    reader = MessagesReader()
    again = [delta for event in events for delta in reader.deltas(event.data)]
    again = [delta for event in events if (reader.read_event(event.data) or True) for delta in ()] or again
    kept = [delta for delta in again if not isinstance(delta, Began | Ended)]
    expected = [delta for delta in deltas_of_told(reply) if not isinstance(delta, Began | Ended)]
    assert kept == expected
    assert reader.usage == USAGE and reader.is_complete


def deltas_of_told(reply: Any) -> list[Any]:
    from dataclasses import replace

    return deltas_of(replace(reply, blocks=tuple(as_told(reply))))


def test_calls_told_at_once_are_written_one_after_the_other() -> None:
    deltas = [
        Began("id", "m"),
        ToolCallBegan(0, "c0", "a"),
        ToolCallBegan(1, "c1", "b"),
        ToolCallDelta(1, '{"x":'),
        ToolCallDelta(0, '{"y":1}'),
        ToolCallDelta(1, "2}"),
        Ended("tool_calls"),
    ]
    events = data_of(written(MESSAGES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas)))
    starts = [(e["index"], e["content_block"]["id"]) for e in events if e["type"] == "content_block_start"]
    assert starts == [(0, "c0"), (1, "c1")]
    for index, arguments in ((0, '{"y":1}'), (1, '{"x":2}')):
        said = [
            e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta" and e["index"] == index
        ]
        assert "".join(said) == arguments


def test_a_call_that_goes_on_after_its_end_breaks_the_stream() -> None:
    deltas = [Began("id", "m"), ToolCallBegan(0, "c0", "a"), ToolCallDelta(0, "{}"), ToolCallBegan(1, "c1", "b"),
              ToolCallDelta(0, "x")]  # fmt: skip
    with pytest.raises(UpstreamError):
        written(MESSAGES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas))


def test_a_stream_that_said_nothing_is_still_a_message() -> None:
    events = data_of(written(MESSAGES_DIALECT.writing(asked(stream=True), SaidReader([]), "m"), 0))
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]


def native(kind: str, **facts: Any) -> SseEvent:
    return SseEvent(json.dumps({"type": kind, **facts}).encode(), kind)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_passing_stream_is_held_back_at_its_end_only(is_named: bool) -> None:
    def event(kind: str, **facts: Any) -> SseEvent:
        return native(kind, **facts) if is_named else SseEvent(native(kind, **facts).data)

    out = MESSAGES_DIALECT.passing(asked(stream=True))
    words = [event("message_start", message={}), event("content_block_delta", index=0, vendors_own=1)]
    early = event("message_delta", usage={"output_tokens": 1})
    late = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    assert events_in(out.pass_on([(each, None) for each in (*words, early)])) == words
    assert events_in(out.pass_on([(each, None) for each in (late, event("ping"))])) == [early, event("ping")]
    assert not out.is_done
    assert out.pass_on([(event("message_stop"), None)]) == b"" and out.is_done
    last = events_in(out.last_events(USAGE, MONEY, "m", "id"))
    assert [each.event for each in last] == ["message_delta", "message_stop"]
    assert data_of(last)[0] == {**json.loads(late.data), "spendhub": MONEY}


def test_comments_of_a_passing_stream_go_on_and_let_nothing_go_that_was_held_back() -> None:
    out = MESSAGES_DIALECT.passing(asked(stream=True))
    told = native("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    assert out.pass_on([(told, None)]) == b""
    assert out.pass_on(UnreadEvents(b": queued\n\n")) == b": queued\n\n"
    (last, _) = events_in(out.last_events(USAGE, MONEY, "m", "id"))
    assert json.loads(last.data) == {**json.loads(told.data), "spendhub": MONEY}


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [
        (5_000, {"type": "enabled", "budget_tokens": 4_096, "display": "omitted"}),
        (4_096, {"type": "enabled", "budget_tokens": 4_095, "display": "omitted"}),
        (1_025, {"type": "enabled", "budget_tokens": 1_024, "display": "omitted"}),
        (1_024, {"type": "disabled"}),
    ],
)
def test_a_lowered_limit_lowers_what_may_be_thought_below_it(limit: int, thinking: dict[str, Any]) -> None:
    wanted = {"type": "enabled", "budget_tokens": 4_096, "display": "omitted"}
    limited = MESSAGES_DIALECT.with_max_output(asked(max_tokens=8_192, thinking=wanted), limit)
    assert (limited.body["max_tokens"], limited.body["thinking"]) == (limit, thinking)


@pytest.mark.parametrize("fields", [{}, {"thinking": {"type": "adaptive"}}, {"thinking": None}])
def test_a_lowered_limit_leaves_other_thinking_as_it_is(fields: dict[str, Any]) -> None:
    assert MESSAGES_DIALECT.with_max_output(asked(**fields), 7).body == {**asked(**fields).body, "max_tokens": 7}


@pytest.mark.parametrize("limit", [0, 2_000])
def test_a_limit_that_is_the_clients_own_changes_nothing(limit: int) -> None:
    # Between calls of tools more may be thought than one answer may say.
    request = asked(max_tokens=limit, thinking={"type": "enabled", "budget_tokens": 4_096})
    assert MESSAGES_DIALECT.with_max_output(request, limit) == request


def test_a_request_that_only_fills_the_prompt_cache_says_nothing_and_is_for_anthropic_alone() -> None:
    request = asked(max_tokens=0)
    assert request.max_output_tokens == 0
    with pytest.raises(NotTranslatable, match="max_tokens: 0 cannot be said"):
        MESSAGES_DIALECT.conversation(request)
