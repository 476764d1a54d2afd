"""OpenAI's responses towards clients: asked in full, answered so that its SDK understands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from routing.conversation import (
    Audio,
    Began,
    File,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.sse import SseEvent
from spendhub.errors import Invalid
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.openai.responses_conversation import DROPPED
from tests.gateway.dialects.said import MONEY, REPLIES, USAGE, SaidReader, data_of, deltas_of, events_in, written

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


def asked(given: Any = "hi", **fields: Any):
    """A request, parsed."""
    return RESPONSES_DIALECT.parse(json.dumps({"model": "m", "input": given, **fields}).encode())


def test_everything_is_read() -> None:
    said = RESPONSES_DIALECT.conversation(
        asked(
            [
                {"role": "developer", "content": "politely"},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "look"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JV"},
                        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
                        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                    ],
                },
                {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "openais own"},
                {
                    "type": "reasoning",
                    "id": "rs",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                    "encrypted_content": "spendhub.signed.s",
                },
                {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "spendhub.redacted.blob"},
                {
                    "type": "message",
                    "role": "assistant",
                    "id": "x",
                    "content": [
                        {"type": "output_text", "text": "let me see", "annotations": []},
                        {"type": "refusal", "refusal": "no"},
                    ],
                },
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}", "signature": "g"},
                {"type": "function_call", "call_id": "c2", "name": "time", "arguments": ""},
                {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [{"type": "input_image", "image_url": "https://x.test/b.png"}],
                },
                {"role": "user", "content": "go on"},
            ],
            instructions="be brief",
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=False,
            max_output_tokens=50,
            temperature=0.5,
            top_p=0.9,
            reasoning={"effort": "low", "summary": "auto"},
            text={"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}},
            include=["reasoning.encrypted_content"],
            user="ada",
        )
    )
    assert said.system == (Text("be brief"), Text("politely"))
    assert said.messages == (
        Message(
            "user",
            (
                Text("look"),
                Image("image/png", "AA", detail="low"),
                File("application/pdf", "JV", name="a.pdf"),
                File("application/pdf", url="https://x.test/a.pdf"),
                Audio("UklG", "wav"),
            ),
        ),
        Message(
            "assistant",
            (
                Thinking("hm", "s"),
                Thinking("", "blob", is_redacted=True),
                Text("let me see"),
                Refusal("no"),
                ToolCall("c1", "weather", "{}", "g"),
                ToolCall("c2", "time", ""),
            ),
        ),
        Message(
            "user",
            (
                ToolResult("c1", (Text("sunny"),), name="weather"),
                ToolResult("c2", (Image(url="https://x.test/b.png"),), name="time"),
            ),
        ),
        Message("user", (Text("go on"),)),
    )
    assert said.tools == (Tool("weather", "", {"type": "object"}, is_strict=True),)
    assert (said.tool_choice, said.is_parallel) == (ToolChoice("named", "weather"), False)
    assert (said.max_output_tokens, said.temperature, said.top_p, said.user) == (50, 0.5, 0.9, "ada")
    assert said.reasoning == Reasoning("low", is_shown=True)
    assert said.output == OutputFormat({"type": "object"}, "city", is_strict=True)


ONLY_OPENAI: dict[str, dict[str, Any]] = {
    "previous_response_id": {"previous_response_id": "resp_1"},
    "conversation": {"conversation": "conv_1"},
    "store": {"store": True},
    "prompt_cache_options.prewarm": {"prompt_cache_options": {"mode": "explicit", "prewarm": True}},
    "truncation": {"truncation": "auto"},
    "prompt": {"prompt": {"id": "p"}},
    "max_tool_calls": {"max_tool_calls": 3},
    "service_tier": {"service_tier": "flex"},
    "no_such_field": {"no_such_field": 1},
    "text.verbosity": {"text": {"verbosity": "low"}},
    "include 'file_search_call.results'": {"include": ["file_search_call.results"]},
    "tools[0].type 'web_search'": {"tools": [{"type": "web_search"}]},
    "tool_choice.type 'file_search'": {"tool_choice": {"type": "file_search"}},
    "input[0].type 'item_reference'": {"input": [{"type": "item_reference", "id": "x"}]},
    "input[0].content[0].file_id": {
        "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]
    },
    "input[0].content[0].type 'input_video'": {"input": [{"role": "user", "content": [{"type": "input_video"}]}]},
}


@pytest.mark.parametrize("field", ONLY_OPENAI)
def test_what_openai_alone_understands_or_has_kept_is_refused_by_its_name(field: str) -> None:
    fields = {"input": "hi", **ONLY_OPENAI[field]}
    with pytest.raises(NotTranslatable) as refused:
        RESPONSES_DIALECT.conversation(asked(fields.pop("input"), **fields))
    assert refused.value.details["field"] == field


def test_what_changes_no_answer_is_dropped() -> None:
    values = {name: {} if name in ("metadata", "stream_options") else "x" for name in DROPPED}
    silent = {"store": False, "background": False, "truncation": "disabled", "service_tier": "auto", "prompt": None,
              "prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}  # fmt: skip
    plain = RESPONSES_DIALECT.conversation(asked())
    assert RESPONSES_DIALECT.conversation(asked(**values | silent)) == plain


def test_an_answer_in_the_background_is_refused_whoever_the_vendor_is_since_nobody_could_fetch_it() -> None:
    with pytest.raises(Invalid) as refused:
        RESPONSES_DIALECT.parse(b'{"model":"m","input":"hi","background":true}')
    assert refused.value.details == {"field": "background"}
    assert refused.value.message.startswith("background must be false: ")
    for silent in (b"false", b"null"):
        assert RESPONSES_DIALECT.parse(b'{"model":"m","input":"hi","background":' + silent + b"}").model == "m"


def test_what_the_vendor_has_kept_may_stand_for_the_input() -> None:
    raw = b'{"model":"m","previous_response_id":"resp_1"}'
    assert RESPONSES_DIALECT.parse(raw).body == json.loads(raw)


def test_needs_are_read_from_the_request() -> None:
    assert RESPONSES_DIALECT.needs(asked(reasoning={"effort": None})) == frozenset()
    parts = [{"type": kind, "text": kind} for kind in ("input_image", "input_file", "input_audio")]
    request = asked(
        [{"role": "user", "content": parts}, {"role": "user", "content": "hi"}],
        instructions="be brief",
        stream=True,
        tools=[WEATHER, {"type": "web_search"}],
        reasoning={"effort": "high"},
        text={"format": {"type": "json_object"}},
    )
    assert RESPONSES_DIALECT.needs(request) == {
        "streaming", "vision", "files", "audio", "tools", "reasoning", "json",
    }  # fmt: skip
    assert RESPONSES_DIALECT.text(request).splitlines()[:2] == ["be brief", "hi"]
    assert request.tools == ("weather", "web_search")


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"},
        {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select 1"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
        {"type": "web_search_call", "id": "w", "status": "completed"},
    ],
)
def test_a_tool_that_was_called_before_needs_a_model_that_knows_tools(item: dict[str, Any]) -> None:
    assert RESPONSES_DIALECT.needs(asked([{"role": "user", "content": "hi"}, item])) == {"tools"}


@pytest.mark.parametrize(
    ("part", "need"), [("input_image", "vision"), ("input_file", "files"), ("input_audio", "audio")]
)
def test_what_a_tool_shows_needs_a_model_that_can_see_it(part: str, need: str) -> None:
    item = {"type": "function_call_output", "call_id": "c", "output": [{"type": part}]}
    assert RESPONSES_DIALECT.needs(asked([item])) == {"tools", need}


def test_tools_can_be_taken_away_and_output_limited() -> None:
    request = asked(tools=[WEATHER, {"type": "web_search"}], tool_choice={"type": "web_search"})
    fewer = RESPONSES_DIALECT.without_tools(request, frozenset(("web_search",)))
    assert fewer.tools == ("weather",) and fewer.body["tools"] == [WEATHER] and "tool_choice" not in fewer.body
    none = RESPONSES_DIALECT.without_tools(request, frozenset(("web_search", "weather")))
    assert set(none.body) == {"model", "input"}
    assert RESPONSES_DIALECT.with_max_output(request, 7).body["max_output_tokens"] == 7


def items_again(output: list[Any]) -> tuple[Any, ...]:
    """What a client that sends the answer back with its next request has said."""
    request = asked([{"role": "user", "content": "hi"}, *output])
    return tuple(block for turn in RESPONSES_DIALECT.conversation(request).messages[1:] for block in turn.blocks)


def kept(reply: Any) -> tuple[Any, ...]:
    """What comes back: thoughts without a signature do not."""
    return tuple(block for block in reply.blocks if not isinstance(block, Thinking) or block.signature)


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_answer_is_a_response_that_says_the_same(name: str) -> None:
    reply = REPLIES[name]
    body = RESPONSES_DIALECT.whole(reply, asked(tools=[WEATHER], instructions="be brief"), "m")
    told = Response.model_validate_json(body, strict=True)
    assert (told.id, told.model, told.instructions) == ("id-1", "m", "be brief")
    assert told.status == ("incomplete" if reply.finish in ("length", "content_filter") else "completed")
    assert (told.incomplete_details is not None) == (told.status == "incomplete")
    assert told.usage.input_tokens_details.cached_tokens == 20
    assert told.usage.output_tokens_details.reasoning_tokens == 15
    assert items_again(json.loads(body)["output"]) == kept(reply)
    reader = ResponsesReader()
    reader.read_body(body)
    assert reader.usage == USAGE


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_is_typed_events_that_say_the_same(name: str) -> None:
    reply = REPLIES[name]
    deltas = deltas_of(reply)
    request = asked(stream=True)
    events = written(RESPONSES_DIALECT.writing(request, SaidReader(deltas), "m"), len(deltas))
    data = data_of(events)
    parsed = [EVENTS.validate_python(each) for each in data]
    assert [event.event for event in events] == [each.type for each in parsed]
    assert [each.sequence_number for each in parsed] == list(range(len(parsed)))
    assert [each.type for each in parsed[:2]] == ["response.created", "response.in_progress"]
    last = parsed[-1]
    assert last.type == f"response.{last.response.status}"
    assert last.response.model_extra["spendhub"] == MONEY
    assert last.response.usage.total_tokens == 140
    whole = json.loads(RESPONSES_DIALECT.whole(reply, request, "m"))
    assert data[-1]["response"]["output"] == whole["output"]
    done = {each["output_index"]: each["item"] for each in data if each["type"] == "response.output_item.done"}
    assert [done[index] for index in range(len(done))] == whole["output"]


def test_a_stream_is_told_in_the_order_the_reference_has() -> None:
    deltas = deltas_of(REPLIES["tools"])
    events = written(RESPONSES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas))
    kinds = [event.event.removeprefix("response.") for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "function_call_arguments.delta", "function_call_arguments.done",
        "completed",
    ]  # fmt: skip


WHOLE, CUT = ToolCall("call_1", "weather", '{"city":"Oslo"}'), ToolCall("call_2", "weather", '{"city":"Os')
NO_ARGUMENTS = ToolCall("call_3", "now", "{}")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize(
    ("blocks", "statuses"),
    [
        ((Text("good"),), ["incomplete"]),
        ((Text("let me"), WHOLE), ["completed", "completed"]),  # it failed after that
        ((Text("let me"), WHOLE, CUT), ["completed", "completed", "incomplete"]),
        ((NO_ARGUMENTS, CUT), ["completed", "incomplete"]),
        ((WHOLE, NO_ARGUMENTS), ["completed", "incomplete"]),  # or they have never come
        ((Text("good"), Thinking("hm", "sig")), ["completed", None]),
    ],
)
def test_what_is_cut_in_a_response_that_is_cut_says_so(finish: Any, blocks: Any, statuses: list[str | None]) -> None:
    reply = Reply("id-1", "m", blocks, finish, USAGE)
    whole = json.loads(RESPONSES_DIALECT.whole(reply, asked(), "m"))["output"]
    assert [item.get("status") for item in whole] == statuses
    deltas = deltas_of(reply)
    told = data_of(written(RESPONSES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas)))
    assert told[-1]["response"]["output"] == whole
    done = {each["output_index"]: each["item"] for each in told if each["type"] == "response.output_item.done"}
    assert [done[place] for place in range(len(whole))] == whole


def test_each_of_several_calls_that_are_cut_at_once_says_so() -> None:
    deltas = [
        Began("id", "m"), ToolCallBegan(0, "c0", "a"), ToolCallBegan(1, "c1", "b"), ToolCallDelta(0, '{"x":'),
        ToolCallDelta(1, '{"y":1}'),
    ]  # fmt: skip
    out = RESPONSES_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m")
    for number in range(len(deltas)):
        out.pass_on([(SseEvent(str(number).encode()), None)])
    *_, last = data_of(events_in(out.end_early(USAGE, MONEY, "m", "id")))
    assert [item["status"] for item in last["response"]["output"]] == ["incomplete", "completed"]


def native(kind: str, **facts: Any) -> SseEvent:
    return SseEvent(json.dumps({"type": kind, **facts}).encode(), kind)


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_passing_stream_is_held_back_at_its_end_only(kind: str) -> None:
    out = RESPONSES_DIALECT.passing(asked(stream=True))
    # Words that look like the end are only words.
    words = [native("response.created", response={}), native("response.output_text.delta", delta=f'"{kind}"')]
    assert events_in(out.pass_on([(each, None) for each in words])) == words and not out.is_done
    end = native(kind, response={"id": "r", "vendors_own": 1}, sequence_number=9)
    assert out.pass_on([(end, None)]) == b"" and out.is_done
    (last,) = events_in(out.last_events(USAGE, MONEY, "m", "id"))
    assert last.event == kind
    told = json.loads(end.data)
    assert json.loads(last.data) == {**told, "response": {**told["response"], "spendhub": MONEY}}
