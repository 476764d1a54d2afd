"""Answers as a vendor's reader would tell them, without a vendor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from routing.conversation import (
    Began,
    Delta,
    Ended,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.token_usage import TokenUsage
from routing.upstreams.sse import SseDecoder, SseEvent
from spendhub.gateway.dialect import StreamOut

USAGE = TokenUsage(70, 40, 20, 10, 0, 15)
MONEY = {"cost": "0.01", "model": "m", "remaining": None, "decision": "allow"}

REPLIES = {
    "words": Reply("id-1", "vendors-name", (Text("good morning"),), "stop", USAGE),
    "cut off": Reply("id-1", "vendors-name", (Text("good"),), "length", USAGE),
    "thoughts and words": Reply("id-1", "vendors-name", (Thinking("hm", "sig"), Text("yes")), "stop", USAGE),
    "unsigned thoughts": Reply("id-1", "vendors-name", (Thinking("hm"), Text("yes")), "stop", USAGE),
    "hidden thoughts": Reply(
        "id-1", "vendors-name", (Thinking(signature="blob", is_redacted=True), Text("yes")), "stop", USAGE
    ),
    "tools": Reply(
        "id-1",
        "vendors-name",
        (Text("let me see"), ToolCall("call_1", "weather", '{"city":"Oslo"}'), ToolCall("call_2", "time", "{}")),
        "tool_calls",
        USAGE,
    ),
    "a tool alone": Reply("id-1", "vendors-name", (ToolCall("call_1", "weather", '{"a":1}'),), "tool_calls", USAGE),
    "a refusal": Reply("id-1", "vendors-name", (Refusal("no"),), "content_filter", USAGE),
    "nothing": Reply("id-1", "vendors-name", (), "stop", USAGE),
}


def deltas_of(reply: Reply) -> list[Delta]:
    """The reply as a stream would say it: words in pieces of three letters, arguments of four."""
    found: list[Delta] = [Began(reply.id, reply.model)]
    calls = 0
    for block in reply.blocks:
        match block:
            case Text():
                found += [TextDelta(piece) for piece in _pieces(block.text, 3)]
            case Refusal():
                found += [RefusalDelta(piece) for piece in _pieces(block.text, 3)]
            case Thinking():
                found += [ThinkingDelta(piece) for piece in _pieces(block.text, 3)]
                if block.signature:
                    found.append(ThinkingDelta(signature=block.signature, is_redacted=block.is_redacted))
            case ToolCall():
                found.append(ToolCallBegan(calls, block.id, block.name, block.signature))
                found += [ToolCallDelta(calls, piece) for piece in _pieces(block.arguments, 4)]
                calls += 1
    return [*found, Ended(reply.finish, reply.stop_sequence)]


class SaidReader:
    """A UsageReader whose every event is one delta, by its number."""

    usage: TokenUsage | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    is_complete = False

    def __init__(self, deltas: Sequence[Delta]) -> None:
        self._deltas = deltas

    def read_body(self, body: bytes) -> dict[str, Any]:
        raise NotImplementedError

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        return None

    def produced_tokens(self) -> int:
        return 0

    def reply(self) -> Reply:
        raise NotImplementedError

    def deltas(self, data: bytes) -> Sequence[Delta]:
        return [self._deltas[int(data)]]


def written(out: StreamOut, count: int, usage: TokenUsage = USAGE) -> list[SseEvent]:
    """All events of a stream of `count` deltas, the last ones included."""
    wire = b"".join(out.pass_on([(SseEvent(str(index).encode()), None)]) for index in range(count))
    wire += out.last_events(usage, MONEY, "m", "id-1")
    return events_in(wire)


def events_in(wire: bytes) -> list[SseEvent]:
    """The events in some bytes; nothing may be left over."""
    decoder = SseDecoder()
    found = decoder.feed(wire)
    decoder.end()
    return found


def data_of(events: Sequence[SseEvent]) -> list[Any]:
    """What each event carries, `[DONE]` left out."""
    return [json.loads(event.data) for event in events if event.data != b"[DONE]"]


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
