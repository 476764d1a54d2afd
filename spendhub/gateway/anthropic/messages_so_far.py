"""What a client has been sent of a stream of Anthropic's events, as far as its end depends on it. Pure.

Source: Anthropic's API reference, "Streaming messages".
"""

from __future__ import annotations

from typing import Any

from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import events_in
from spendhub.gateway.stream_events import named_event

_OF_BLOCKS = b'"content_block_st'  # that they start, and that they stop


class MessagesSoFar:
    """Which blocks are open."""

    def __init__(self) -> None:
        self._open: dict[Any, None] = {}

    def follow(self, sent: bytes) -> None:
        """Takes whole events."""
        if _OF_BLOCKS not in sent:
            return
        for event in events_in(sent):
            told = (readable_object(event.data) if _OF_BLOCKS in event.data else None) or {}
            if told.get("type") == "content_block_start":
                self._open[told.get("index")] = None
            elif told.get("type") == "content_block_stop":
                self._open.pop(told.get("index"), None)

    def stops(self) -> bytes:
        """The events that end what is open."""
        stops = ({"type": "content_block_stop", "index": index} for index in self._open)
        return b"".join(named_event("content_block_stop", told) for told in stops)
