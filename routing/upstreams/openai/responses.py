"""Answers of OpenAI's /responses, whole and streamed. Source: OpenAI's API reference, "Responses".

Here they are passed through; what they say to clients of other formats: responses_said.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import Delta, Reply
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.tokens import count_tokens
from routing.upstreams.billed import Billed
from routing.upstreams.json_objects import object_in, readable_objects
from routing.upstreams.odd_answers import tokens_in
from routing.upstreams.openai.tools_run import is_search, not_priced_in, searches_in
from routing.upstreams.sse import data_in
from routing.upstreams.vendor_errors import raise_for_error, raise_for_error_answer, raise_unless_list

# The events that end a stream; each carries the whole response, usage included.
LAST = ("response.completed", "response.incomplete", "response.failed")
# Nearly all events begin like this, and carry words alone.
_WORDS = b'{"type":"response.output_text.delta"'
# The events that say more than words; all others are kept unparsed: parsing costs.
_TELLING = (b'"response.created"', *(f'"{name}"'.encode() for name in LAST), b'"error"')
# Nobody has asked for an answer that has to be fetched later: it is refused where it is asked for.
_UNFINISHED = ("queued", "in_progress")
# Sound is no text, and its tokens cannot be counted from its bytes.
_SOUND = "response.audio.delta"


class ResponsesReader(Billed):
    """Reads responses and their streams of typed events."""

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False
        self._events: list[bytes] = []
        self._unread: list[bytes] = []

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader. A failed response is the vendor's answer, its error in it, as it is at a stream's end."""
        answer = object_in(body)
        self._take(answer)
        self._events = [body]
        if not isinstance(answer.get("output"), list):
            raise_for_error_answer(answer)
        raise_unless_list(answer, "output")
        if self.finish_reason in _UNFINISHED:
            raise UpstreamError(f"the vendor's response is still {self.finish_reason}")
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        self._events.append(data)
        if data.startswith(_WORDS) or not any(word in data for word in _TELLING):
            return None
        event = object_in(data)
        kind, response = event.get("type"), event.get("response")
        if kind == "error" or (kind is None and event.get("error")):
            raise_for_error({**event, "error": event.get("error") or event})
        if kind == "response.created" and isinstance(response, dict):
            self.response_id = response.get("id")
        if kind not in LAST:
            return None
        # A failed response ends its stream as it should: the client sees it as the vendor wrote it.
        self.is_complete = True
        if not isinstance(response, dict):
            return None
        self._take(response)
        return event if self.usage is not None else None

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader."""
        if any(word in complete for word in _TELLING) or b"[DONE]" in complete:
            return False
        self._unread.append(complete)
        return True

    def produced_tokens(self) -> int:
        """See UsageReader."""
        return tokens_in(readable_objects([*data_in(self._unread), *self._events]), _event_tokens)

    def searched(self) -> int:
        """See UsageReader. Each item that is done has an event of its own."""
        events = readable_objects([*data_in(self._unread), *self._events])
        done = [event.get("item") for event in events if event.get("type") == "response.output_item.done"]
        return sum(isinstance(item, dict) and is_search(item) for item in done)

    def reply(self) -> Reply:
        """See UsageReader."""
        raise UpstreamError("responses are passed on as they are")

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        raise UpstreamError("responses are passed on as they are")

    def _take(self, response: Mapping[str, Any]) -> None:
        self.response_id = response.get("id") or self.response_id
        self.finish_reason = response.get("status") or self.finish_reason
        self.note_tier(response.get("service_tier"))
        usage = response.get("usage")
        if isinstance(usage, dict):
            self.note_told_cost(usage)
            searches = searches_in(response.get("output"))
            self.note_not_priced(*not_priced_in(response, searches))
            self.usage = self.usage_in(TokenUsage.from_openai, usage, searches)


def _event_tokens(event: Mapping[str, Any]) -> int:
    total, kind = 0, event.get("type")
    if isinstance(event.get("delta"), str) and kind != _SOUND:
        total += count_tokens(event["delta"])
    if kind == "response.output_item.added" and isinstance(event.get("item"), dict):
        total += count_tokens(str(event["item"].get("name") or ""))
    for item in event.get("output") or ():
        total += _item_tokens(item) if isinstance(item, dict) else 0
    return total


def _item_tokens(item: Mapping[str, Any]) -> int:
    total = count_tokens(f"{item.get('name') or ''} {item.get('arguments') or ''}")
    for part in (*(item.get("content") or ()), *(item.get("summary") or ())):
        if isinstance(part, dict):
            total += count_tokens(str(part.get("text") or part.get("refusal") or ""))
    return total
