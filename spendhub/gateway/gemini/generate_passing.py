"""What we change in a stream of Google's that passes through: as little as possible. Pure.

Events go on as they came. All carry usage; the one in which the last candidate ends is held back until the call is on
disk and then gets the `spendhub` object. Nothing comes after it: the stream's end has no sign of its own.
Source: ai.google.dev API reference, "streamGenerateContent".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import SseEvent
from spendhub.gateway.dialect import Burst
from spendhub.gateway.gemini.generate_writing import usage_object
from spendhub.gateway.stream_events import data_event

_TELLING = (b'"finishReason"', b'"blockReason"')


class GeneratePassing:
    """One stream on its way to its client. `is_done` says that every candidate has ended."""

    def __init__(self, choices: int) -> None:
        self.is_done = False
        self._choices = choices
        self._ended: set[Any] = set()
        self._held: tuple[SseEvent, dict[str, Any]] | None = None

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        pieces: list[bytes] = []
        for event, parsed in burst:
            if self._held is not None:
                pieces.append(self._held[0].encode())
                self._held = None
            told = self._ending(event, parsed)
            if told is None:
                pieces.append(event.encode())
            else:
                self._held = (event, told)
        return b"".join(pieces)

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A vendor that has not told its usage gets ours."""
        told = self._held[1] if self._held is not None else {}
        return data_event({"usageMetadata": usage_object(usage), **told, "spendhub": money})

    def _ending(self, event: SseEvent, parsed: dict[str, Any] | None) -> dict[str, Any] | None:
        """The event, parsed, if a candidate ends in it."""
        if not any(word in event.data for word in _TELLING):
            return None
        told = parsed if parsed is not None else readable_object(event.data) or {}
        feedback = told.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self.is_done = True
            return told
        candidates = told.get("candidates")
        found = {
            str(each.get("index", 0))
            for each in (candidates if isinstance(candidates, list) else ())
            if isinstance(each, dict) and each.get("finishReason") not in (None, "FINISH_REASON_UNSPECIFIED")
        }
        self._ended |= found
        self.is_done = len(self._ended) >= self._choices
        return told if found else None
