"""A stream that is ended because a strict budget has no room for more: it ends as at an output limit, wherever it is cut,
so that SDKs read it to its end. Whether it is translated or passes through makes no difference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai import NOT_GIVEN
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from routing.conversation import Began, Delta, Ended, TextDelta, ToolCallBegan, ToolCallDelta
from routing.upstreams.sse import SseEvent
from spendhub.gateway.answer_headers import ended_early
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from tests.gateway.dialects.said import MONEY, REPLIES, USAGE, SaidReader, data_of, deltas_of, events_in

CUT = ended_early(MONEY, "out_of_money", "ada per day")
USER = {"role": "user", "content": "hi"}
GENERATE = GenerateDialect("m", is_stream=True)
ASKED: dict[str, tuple[Any, CallRequest]] = {
    "chat": (
        CHAT_DIALECT,
        CHAT_DIALECT.parse(
            json.dumps(
                {"model": "m", "messages": [USER], "stream": True, "stream_options": {"include_usage": True}}
            ).encode()
        ),
    ),
    "responses": (
        RESPONSES_DIALECT,
        RESPONSES_DIALECT.parse(json.dumps({"model": "m", "input": "hi", "stream": True}).encode()),
    ),
    "messages": (
        MESSAGES_DIALECT,
        MESSAGES_DIALECT.parse(
            json.dumps({"model": "m", "messages": [USER], "max_tokens": 9, "stream": True}).encode()
        ),
    ),
    "generate": (GENERATE, GENERATE.parse(b'{"contents":[{"parts":[{"text":"hi"}]}]}')),
}
# A reply, cut behind that many of its deltas; what was kept back by then is told too.
CUTS = [(name, count) for name, reply in REPLIES.items() for count in range(1, len(deltas_of(reply)))]


def translated(route: str, deltas: Sequence[Delta], **fields: Any) -> list[SseEvent]:
    """What the client is sent of a stream that is cut behind `deltas`."""
    out, _ = writer(route, deltas, **fields)
    sent = b"".join(out.pass_on([(SseEvent(str(index).encode()), None)]) for index in range(len(deltas)))
    return events_in(sent + out.end_early(USAGE, CUT, "m", "id-1"))


def writer(route: str, deltas: Sequence[Delta], **fields: Any) -> tuple[StreamOut, CallRequest]:
    dialect, asked = ASKED[route]
    asked = dialect.parse(json.dumps({**asked.body, **fields}).encode())
    return dialect.writing(asked, SaidReader(deltas), "m"), asked


def passed(route: str, events: Sequence[SseEvent], *, asked: CallRequest | None = None) -> list[SseEvent]:
    """The same of a vendor's `events`, which pass through."""
    dialect, usual = ASKED[route]
    out = dialect.passing(asked or usual)
    sent = b""
    for event in events:
        piece = out.pass_on([(event, usage_in(event))])
        out.follow(piece)
        sent += piece
    return events_in(sent + out.end_early(USAGE, CUT, "m", "id-1"))


def usage_in(event: SseEvent) -> dict[str, Any] | None:
    """As a reader gives it: parsed where it carries usage."""
    told: dict[str, Any] = json.loads(event.data)
    return told if told.get("usage") or told.get("usageMetadata") else None


def vendors_events(route: str, name: str, count: int) -> list[SseEvent]:
    """A vendor's stream up to the same place, in the vendor's own words."""
    deltas = deltas_of(REPLIES[name])
    out, _ = writer(route, deltas)
    return events_in(b"".join(out.pass_on([(SseEvent(str(index).encode()), None)]) for index in range(count)))


def read_chat(events: Sequence[SseEvent]) -> tuple[str, str, Any]:
    """The text, why it ended, and our object, as the SDK reads them."""
    state = ChatCompletionStreamState()
    for told in data_of(events):
        state.handle_chunk(ChatCompletionChunk.model_validate(told))
    assert events[-1].data == b"[DONE]"
    (choice,) = state.current_completion_snapshot.choices
    last = data_of(events)[-1]
    assert last["usage"]["completion_tokens"] == USAGE.output_tokens
    return choice.message.content or "", str(choice.finish_reason), last["spendhub"]


def read_responses(events: Sequence[SseEvent]) -> tuple[str, str, Any]:
    state: Any = ResponseStreamState(input_tools=[], text_format=NOT_GIVEN)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    told = data_of(events)
    for each in told:
        state.handle_event(adapter.validate_python(each))
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    added = [each["output_index"] for each in told if each["type"] == "response.output_item.added"]
    done = [each["item"] for each in told if each["type"] == "response.output_item.done"]
    assert told[-1]["type"] == "response.incomplete"
    response = told[-1]["response"]
    assert len(added) == len(done) == len(response["output"])
    assert response["usage"]["output_tokens"] == USAGE.output_tokens
    texts = [part.get("text", "") for item in response["output"] for part in item.get("content") or ()]
    assert response["status"] == "incomplete"
    return "".join(texts), response["incomplete_details"]["reason"], response["spendhub"]


def read_messages(events: Sequence[SseEvent]) -> tuple[str, str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    message: Any = None
    opened, pieces = [], {}
    for event, told in zip(events, data_of(events), strict=True):
        assert event.event == told["type"]
        if told["type"] != "message_stop":
            message = accumulate_event(event=adapter.validate_python(told), current_snapshot=message, json_bufs=pieces)
        if told["type"].startswith("content_block_st"):
            opened.append((told["type"], told["index"]))
    assert events[-1].event == "message_stop"
    # Every block ends before the next one begins.
    count = len(opened) // 2
    assert opened == [(f"content_block_{word}", index) for index in range(count) for word in ("start", "stop")]
    told = data_of(events)[-2]
    assert told["usage"]["output_tokens"] == USAGE.output_tokens
    texts = [block.text for block in message.content if block.type == "text"]
    return "".join(texts), str(message.stop_reason), told["spendhub"]


def read_generate(events: Sequence[SseEvent]) -> tuple[str, str, Any]:
    told = [GenerateContentResponse.model_validate({k: v for k, v in each.items() if k != "spendhub"})
            for each in data_of(events)]  # fmt: skip
    last = data_of(events)[-1]
    assert last["usageMetadata"]["totalTokenCount"] == USAGE.total_tokens
    parts = [part for each in told for c in each.candidates or () for part in (c.content and c.content.parts) or ()]
    texts = [part.text for part in parts if part.text and not part.thought]
    return "".join(texts), last["candidates"][0]["finishReason"], last["spendhub"]


READ: Mapping[str, Callable[[Sequence[SseEvent]], tuple[str, str, Any]]] = {
    "chat": read_chat, "responses": read_responses, "messages": read_messages, "generate": read_generate,
}  # fmt: skip
LIMIT = {"chat": "length", "responses": "max_output_tokens", "messages": "max_tokens", "generate": "MAX_TOKENS"}


def said_by(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@pytest.mark.parametrize("route", ASKED)
@pytest.mark.parametrize(("name", "count"), CUTS)
def test_a_translated_stream_ends_as_at_a_limit_wherever_it_is_cut(route: str, name: str, count: int) -> None:
    deltas = deltas_of(REPLIES[name])[:count]
    text, reason, money = READ[route](translated(route, deltas))
    assert (reason, money) == (LIMIT[route], CUT)
    if name != "a refusal":
        assert text == said_by(deltas)


@pytest.mark.parametrize("route", ASKED)
@pytest.mark.parametrize(("name", "count"), CUTS)
def test_a_stream_that_passes_through_ends_the_same_way(route: str, name: str, count: int) -> None:
    events = vendors_events(route, name, count)
    told = passed(route, events)
    text, reason, money = READ[route](told)
    assert (reason, money) == (LIMIT[route], CUT)
    assert [event.data for event in told[: len(events)]] == [event.data for event in events]
    if name != "a refusal":
        assert text == said_by(deltas_of(REPLIES[name])[:count])


WEATHER: list[Delta] = [Began("id-1", "m"), ToolCallBegan(0, "call_1", "weather"), ToolCallDelta(0, '{"city":"Os')]


def test_a_call_that_is_cut_keeps_what_was_said_of_it() -> None:
    told = data_of(passed("responses", events_in(b"".join(e.encode() for e in of_writer("responses", WEATHER)))))
    (item,) = told[-1]["response"]["output"]
    assert (item["arguments"], item["status"]) == ('{"city":"Os', "incomplete")
    kinds = [each["type"].removeprefix("response.") for each in told[-3:]]
    assert kinds == ["function_call_arguments.done", "output_item.done", "incomplete"]


def test_googles_clients_are_not_told_half_a_call() -> None:
    both: list[Delta] = [*WEATHER, ToolCallBegan(1, "call_2", "time"), ToolCallDelta(1, "{}")]
    told = data_of(translated("generate", both))
    calls = [part["functionCall"]["name"] for each in told for c in each["candidates"] for part in c["content"]["parts"]
             if "functionCall" in part]  # fmt: skip
    assert calls == ["time"]


def test_of_several_answers_each_that_has_begun_ends_once() -> None:
    deltas: list[Delta] = [Began("id-1", "m"), TextDelta("a"), TextDelta("b", choice=1), TextDelta("c", choice=2),
                           Ended("stop", choice=1, is_last=False)]  # fmt: skip
    own = translated("chat", deltas, n=3)
    ends = {0: "length", 1: "stop", 2: "length"}
    assert finishes(own) == ends
    asked = CHAT_DIALECT.parse(json.dumps({**ASKED["chat"][1].body, "n": 3}).encode())
    chunks = [chunk(0), chunk(1), chunk(1, "stop"), chunk(2)]
    assert finishes(passed("chat", chunks, asked=asked)) == ends


def test_of_several_candidates_each_that_has_begun_ends_once() -> None:
    asked = GENERATE.parse(b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"candidateCount":3}}')
    told = data_of(passed("generate", [candidate(0), candidate(1), candidate(1, "STOP"), candidate(2)], asked=asked))
    found = [(c["index"], c["finishReason"]) for each in told for c in each["candidates"] if "finishReason" in c]
    assert found == [(1, "STOP"), (0, "MAX_TOKENS"), (2, "MAX_TOKENS")]


def test_a_chunk_that_was_held_back_for_its_usage_is_told_first() -> None:
    with_usage = SseEvent(json.dumps({**json.loads(chunk(0).data), "usage": {"prompt_tokens": 1}}).encode())
    told = data_of(passed("chat", [chunk(0), with_usage]))
    assert [each["choices"][0]["delta"].get("content") for each in told[:2]] == ["x", "x"]
    assert [each.get("spendhub") for each in told] == [None, None, None, CUT]


def test_a_chat_client_that_asked_for_no_usage_is_told_why_with_the_end_of_the_answer() -> None:
    deltas = deltas_of(REPLIES["words"])[:2]
    silent = {**ASKED["chat"][1].body, "stream_options": None}
    own = data_of(translated("chat", deltas, stream_options=None))
    through = data_of(passed("chat", [chunk(0)], asked=CHAT_DIALECT.parse(json.dumps(silent).encode())))
    for told in (own, through):
        assert (told[-1]["choices"][0]["finish_reason"], told[-1]["spendhub"]) == ("length", CUT)
        assert "usage" not in told[-1]


def test_where_a_vendor_has_said_why_its_message_ends_that_stays() -> None:
    events = of_writer("messages", deltas_of(REPLIES["a tool alone"]))[:-1]
    told = data_of(passed("messages", events))
    assert [each["delta"]["stop_reason"] for each in told if each["type"] == "message_delta"] == ["tool_use"]


def of_writer(route: str, deltas: Sequence[Delta]) -> list[SseEvent]:
    """What one of our own writers has sent by then, its end included where it has one."""
    out, _ = writer(route, deltas)
    sent = b"".join(out.pass_on([(SseEvent(str(index).encode()), None)]) for index in range(len(deltas)))
    return events_in(sent + (out.last_events(USAGE, MONEY, "m", "id-1") if isinstance(deltas[-1], Ended) else b""))


def chunk(index: int, finish: str | None = None) -> SseEvent:
    choice = {"index": index, "delta": {} if finish else {"content": "x"}, "finish_reason": finish}
    told = {"id": "id-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return SseEvent(json.dumps(told).encode())


def candidate(index: int, finish: str | None = None) -> SseEvent:
    told: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": "x"}]}, "index": index}
    return SseEvent(json.dumps({"candidates": [{**told, "finishReason": finish} if finish else told]}).encode())


def finishes(events: Sequence[SseEvent]) -> dict[int, str]:
    found = [choice for each in data_of(events) for choice in each["choices"] if choice["finish_reason"]]
    assert len(found) == len({choice["index"] for choice in found})
    return {choice["index"]: choice["finish_reason"] for choice in found}
