"""Of a stream that passes untouched only those events are read that say more than words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.sse import NotedEvent, SseEvent, UnreadEvents, events_in


def events(*told: dict[str, Any] | str) -> bytes:
    said = (each if isinstance(each, str) else json.dumps(each, separators=(",", ":")) for each in told)
    return b"".join(SseEvent(each.encode()).encode() for each in said)


def chunk(content: str, **facts: Any) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": content}}], "usage": None, **facts}


WORDS = {
    ChatReader: [chunk("Guten Tag, "), chunk('she said "usage" and [done]')],
    ResponsesReader: [{"type": "response.output_text.delta", "delta": "Guten Tag, "}] * 2,
    MessagesReader: [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Guten Tag, "}}
    ]
    * 2,
}
TELLING = [
    (ChatReader, chunk("", choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2})),
    (ChatReader, {"error": {"message": "overloaded"}}),
    (ChatReader, "[DONE]"),
    (ResponsesReader, {"type": "response.created", "response": {"id": "r1"}}),
    (ResponsesReader, {"type": "response.completed", "response": {"id": "r1"}}),
    (ResponsesReader, {"type": "error", "message": "overloaded"}),
    (ResponsesReader, "[DONE]"),
    (MessagesReader, {"type": "message_start", "message": {}}),
    (MessagesReader, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}}),
    (MessagesReader, {"type": "message_stop"}),
    (MessagesReader, {"type": "error", "error": {"type": "overloaded_error"}}),
]


@pytest.mark.parametrize("reader_class", WORDS)
def test_words_that_were_not_read_count_as_much_as_those_that_were(reader_class: type[UsageReader]) -> None:
    complete = events(*WORDS[reader_class])
    unread, read = reader_class(), reader_class()
    assert unread.passes_over(complete)
    for event in events_in(complete):
        assert read.read_event(event.data) is None
    assert unread.produced_tokens() == read.produced_tokens() > 2


@pytest.mark.parametrize(("reader_class", "telling"), TELLING)
def test_what_says_more_than_words_is_read(reader_class: type[UsageReader], telling: dict[str, Any] | str) -> None:
    reader = reader_class()
    assert not reader.passes_over(events(*WORDS[reader_class], telling))
    assert reader.produced_tokens() == 0  # nothing was taken: the caller reads each event


def test_unread_events_are_counted_and_read_when_somebody_asks() -> None:
    unread = UnreadEvents(b'data: {"text":"data: one"}\n\n: a comment\n\nevent: x\ndata: 2\n\n')
    assert len(unread) == 2
    assert list(unread) == [
        (SseEvent(b'{"text":"data: one"}'), None),
        (NotedEvent(b"2", "x", b": a comment\n\n"), None),
    ]
