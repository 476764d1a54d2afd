"""What we change in a stream of OpenAI's typed events that passes through: as little as possible. Pure.

Events go on as they came. The last one, which carries the whole response with its usage, is held back until
the call is on disk; its response then gets the `spendhub` object.
Source: OpenAI's API reference, "Responses", "Streaming events".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import SseEvent, UnreadEvents, events_in
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.openai.errors import passing_typed_error_event
from spendhub.gateway.openai.responses_so_far import ResponsesSoFar

LAST = ("response.completed", "response.incomplete", "response.failed")
_LAST_BYTES = tuple(f'"{name}"'.encode() for name in LAST)
_NUMBER = b'"sequence_number"'
_encoder = msgspec.json.Encoder()


class ResponsesPassing:
    """One stream on its way to its client. `is_done` says that the vendor has sent its last event."""

    def __init__(self) -> None:
        self.is_done = False
        self._held: tuple[SseEvent, dict[str, Any]] | None = None
        self._so_far = ResponsesSoFar()
        self._numbered = b""  # the latest events that have a number

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        if isinstance(burst, UnreadEvents):
            self._note_numbers(burst.raw)
            return burst.raw
        pieces: list[bytes] = []
        for event, parsed in burst:
            last = _last(event, parsed)
            if last is not None:
                self._held = (event, last)
                self.is_done = True
            elif event.data != b"[DONE]":
                pieces.append(event.encode())
        sent = b"".join(pieces)
        self._note_numbers(sent)
        return sent

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A stream that ended without its last event stays without it: the response was in there."""
        if self._held is None:
            return b""
        event, told = self._held
        response = told.get("response")
        if isinstance(response, dict):
            told = {**told, "response": {**response, "spendhub": money}}
        return SseEvent(_encoder.encode(told), event.event or str(told["type"])).encode()

    def follow(self, sent: bytes) -> None:
        """See StreamOut."""
        self._so_far.follow(sent)

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        return self._so_far.end(usage, money, model, response_id)

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return passing_typed_error_event(error, money, self._next_number())

    def _note_numbers(self, sent: bytes) -> None:
        # Kept unread: only an error wants to know.
        if _NUMBER in sent:
            self._numbered = sent

    def _next_number(self) -> int:
        told = (readable_object(event.data) or {} for event in events_in(self._numbered))
        numbers = (each.get("sequence_number") for each in told)
        return max((number for number in numbers if isinstance(number, int)), default=-1) + 1


def _last(event: SseEvent, parsed: dict[str, Any] | None) -> dict[str, Any] | None:
    """The event's object where it is a last one. Only what can be one is parsed."""
    if parsed is None:
        if event.event and event.event not in LAST:
            return None
        if not any(name in event.data for name in _LAST_BYTES):
            return None
        parsed = readable_object(event.data)
    return parsed if parsed is not None and parsed.get("type") in LAST else None
