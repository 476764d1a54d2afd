"""What we change in a stream of Anthropic's events that passes through: as little as possible. Pure.

Events go on as they came. `message_delta`, which carries the usage, is held back until the call is on
disk and then gets the `spendhub` object; `message_stop` is ours to send, last.
Source: Anthropic's API reference, "Streaming messages".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import SseEvent, UnreadEvents
from spendhub.errors import SpendHubError
from spendhub.gateway.anthropic.errors import passing_error_event
from spendhub.gateway.anthropic.messages_so_far import MessagesSoFar
from spendhub.gateway.anthropic.messages_writing import STOP, message_delta
from spendhub.gateway.dialect import Burst
from spendhub.gateway.stream_events import named_event


class MessagesPassing:
    """One stream on its way to its client. `is_done` says that the vendor has sent `message_stop`."""

    def __init__(self) -> None:
        self.is_done = False
        self._held: SseEvent | None = None
        self._so_far = MessagesSoFar()

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        pieces: list[bytes] = []
        if isinstance(burst, UnreadEvents):
            if self._held is not None and burst:  # comments alone let nothing go
                self._let_go(pieces)
            return b"".join([*pieces, burst.raw])
        for event, _ in burst:
            kind = event.event or _kind(event.data)
            if kind == "message_stop":
                self.is_done = True
            elif kind == "message_delta":
                # There may be more than one; their counts are cumulative, so the last tells all.
                self._let_go(pieces)
                self._held = event
            elif kind == "ping":
                pieces.append(event.encode())
            else:
                self._let_go(pieces)
                pieces.append(event.encode())
        return b"".join(pieces)

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A vendor that has not told its usage gets an event made from ours."""
        told = readable_object(self._held.data) if self._held is not None else None
        if told is None:
            told = message_delta(None, None, usage)
        return named_event("message_delta", {**told, "spendhub": money}) + STOP

    def follow(self, sent: bytes) -> None:
        """See StreamOut."""
        self._so_far.follow(sent)

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. Where the vendor has said already why it ends, that stays."""
        if self._held is not None:
            return self._so_far.stops() + self.last_events(usage, money, model, response_id)
        told = {**message_delta("max_tokens", None, usage), "spendhub": money}
        return self._so_far.stops() + named_event("message_delta", told) + STOP

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return passing_error_event(error, money)

    def _let_go(self, pieces: list[bytes]) -> None:
        if self._held is not None:
            pieces.append(self._held.encode())
            self._held = None


def _kind(data: bytes) -> str:
    """The type of an event that has no `event:` line; Anthropic writes one always, others may not."""
    found = readable_object(data)
    return str(found.get("type", "")) if found is not None else ""
