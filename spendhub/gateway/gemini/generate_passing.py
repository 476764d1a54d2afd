"""What we change in a stream of Google's that passes through: as little as possible. Pure.

Events go on as they came. Once each candidate has said why it ends, the latest is held back until another one comes:
the stream's end has no sign of its own, and sources of a search, or even words, may follow. The last one gets the
`spendhub` object, after the call is on disk, and the latest usage where it has none.
Source: ai.google.dev API reference, "streamGenerateContent".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import DONE, SseEvent, UnreadEvents, events_in
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.gemini.errors import passing_error_event
from spendhub.gateway.gemini.generate_writing import usage_object
from spendhub.gateway.stream_events import data_event

_TELLING = (b'"finishReason"', b'"blockReason"')


class GeneratePassing:
    """One stream on its way to its client. `is_done` says that its body has ended, and that nothing is missing."""

    def __init__(self, choices: int) -> None:
        self.is_done = False
        self._choices = choices
        self._ended: set[str] = set()
        self._is_blocked = False
        self._usage: Any = None  # as the vendor has told it last, from the end on
        self._held: tuple[SseEvent, dict[str, Any]] | None = None
        self._sent: set[str] = set()
        self._head: dict[str, Any] = {}

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        if isinstance(burst, UnreadEvents):
            return burst.raw  # comments alone: each event of Google's is read
        pieces: list[bytes] = []
        for event, parsed in burst:
            if event.data == DONE:  # no event of Google's: its reader says so that the body has ended
                self.is_done = True
                continue
            if self._held is not None and parsed is None and readable_object(event.data) is None:
                pieces.append(event.encode())  # what is no JSON lets nothing go, as comments do not
                continue
            pieces.append(self._let_go())
            told = self._ending(event, parsed)
            if told is None:
                pieces.append(event.encode())
            else:
                self._held = (event, told)
        return b"".join(pieces)

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A vendor that has not told its usage gets ours."""
        told = self._held[1] if self._held is not None else {}
        return data_event({"usageMetadata": self._usage or usage_object(usage), **told, "spendhub": money})

    def follow(self, sent: bytes) -> None:
        """See StreamOut."""
        for event in events_in(sent):
            told = readable_object(event.data) or {}
            self._head = self._head or {name: told[name] for name in ("modelVersion", "responseId") if name in told}
            self._sent |= {str(each.get("index", 0)) for each in _candidates(told)}

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        rest = self._let_go()
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
        return self._let_go() + passing_error_event(error, money)

    def _let_go(self) -> bytes:
        """What was held back, as it came."""
        held, self._held = self._held, None
        return held[0].encode() if held is not None else b""

    def _ending(self, event: SseEvent, parsed: dict[str, Any] | None) -> dict[str, Any] | None:
        """The event, parsed, if it may be the last one."""
        if not self._may_have_ended() and not any(word in event.data for word in _TELLING):
            return None
        told = parsed if parsed is not None else readable_object(event.data) or {}
        self._usage = told.get("usageMetadata") or self._usage
        feedback = told.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._is_blocked = True
            return told
        is_telling = False
        for each in _candidates(told):
            number = str(each.get("index", 0))
            if each.get("finishReason") not in (None, "FINISH_REASON_UNSPECIFIED"):
                self._ended.add(number)
                is_telling = True
            elif _says_something(each):
                self._ended.discard(number)  # it goes on after all
        return told if is_telling or self._may_have_ended() else None

    def _may_have_ended(self) -> bool:
        return self._is_blocked or len(self._ended) >= self._choices


def _says_something(candidate: Mapping[str, Any]) -> bool:
    content = candidate.get("content")
    return isinstance(content, dict) and bool(content.get("parts"))


def _candidates(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = told.get("candidates")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
