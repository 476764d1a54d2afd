"""Which decoder reads a vendor's stream: its answer's content type says so. To add a framing, name it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from routing.upstreams.bedrock.event_stream import CONTENT_TYPE as AMAZON_EVENT_STREAM
from routing.upstreams.bedrock.event_stream import EventStreamDecoder
from routing.upstreams.sse import SseDecoder


class EventDecoder(Protocol):
    """Takes a stream apart into events."""

    def take(self, chunk: bytes) -> bytes:
        """What `chunk` completes, as server-sent events with lines in LF; b"" for nothing yet. Raises BrokenStream."""
        ...

    def end(self) -> bytes:
        """Says that no more comes. What that completes, as `take` gives it. Raises BrokenStream when an event was cut
        off in the middle."""
        ...


SERVER_SENT_EVENTS = "text/event-stream"
DECODERS: Mapping[str, Callable[[], EventDecoder]] = {
    SERVER_SENT_EVENTS: SseDecoder,
    AMAZON_EVENT_STREAM: EventStreamDecoder,
}


def decoder_for(headers: Mapping[str, str]) -> EventDecoder | None:
    """A decoder for an answer with these headers, None for one that is no stream. An answer that does not say what it
    is is taken for server-sent events."""
    content_type = headers.get("content-type", SERVER_SENT_EVENTS)
    found = DECODERS.get(content_type.partition(";")[0].strip().lower())
    return found() if found is not None else None
