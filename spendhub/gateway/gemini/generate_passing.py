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
from routing.upstreams.sse import SseEvent, events_in
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.gemini.errors import passing_error_event
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
        self._sent: set[Any] = set()
        self._head: dict[str, Any] = {}

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

    def follow(self, sent: bytes) -> None:
        """See StreamOut."""
        for event in events_in(sent):
            told = readable_object(event.data) or {}
            self._head = self._head or {name: told[name] for name in ("modelVersion", "responseId") if name in told}
            self._sent |= {str(each.get("index", 0)) for each in _candidates(told)}

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        rest = b""
        if self._held is not None:
            rest = self._held[0].encode()
            self.follow(rest)
        cut = sorted(int(number) for number in self._sent - self._ended if number.isdecimal())
        candidates = [
            {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "MAX_TOKENS", "index": number}
            for number in cut or ([] if self._ended else [0])
        ]
        told = {"candidates": candidates, "usageMetadata": usage_object(usage), **self._head, "spendhub": money}
        return rest + data_event(told)

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return passing_error_event(error, money)

    def _ending(self, event: SseEvent, parsed: dict[str, Any] | None) -> dict[str, Any] | None:
        """The event, parsed, if a candidate ends in it."""
        if not any(word in event.data for word in _TELLING):
            return None
        told = parsed if parsed is not None else readable_object(event.data) or {}
        feedback = told.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self.is_done = True
            return told
        found = {
            str(each.get("index", 0))
            for each in _candidates(told)
            if each.get("finishReason") not in (None, "FINISH_REASON_UNSPECIFIED")
        }
        self._ended |= found
        self.is_done = len(self._ended) >= self._choices
        return told if found else None


def _candidates(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = told.get("candidates")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
