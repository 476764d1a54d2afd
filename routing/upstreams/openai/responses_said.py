"""What one of OpenAI's Responses says, in no vendor's words: the answer to what was translated into one.

Source: OpenAI's API reference, "Responses", and "Streaming events".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.conversation import (
    Began,
    Block,
    Delta,
    Ended,
    Finish,
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
from routing.upstreams.base import UsageReader
from routing.upstreams.json_objects import object_in, objects_among
from routing.upstreams.openai.kept_thoughts import signature_of
from routing.upstreams.openai.responses import LAST, ResponsesReader
from routing.upstreams.vendor_errors import gave_up, raise_for_error, raise_for_error_answer

_FAILED = ("failed", "cancelled")
_FINISHES: Mapping[str, Finish] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_NOTHING: Sequence[Delta] = ()


@dataclass(frozen=True, slots=True)
class ReadsResponses:
    """Makes readers of one answer; `keeper` is who has encrypted its thoughts (kept_thoughts.py)."""

    keeper: str

    def __call__(self) -> UsageReader:
        """A new one."""
        return TranslatedResponsesReader(self.keeper)


class TranslatedResponsesReader(ResponsesReader):
    """Reads a response for clients of another format: one that has failed is an error to them."""

    def __init__(self, keeper: str) -> None:
        super().__init__()
        self._keeper = keeper
        self._answer: dict[str, Any] = {}
        # Of a stream: by the place of its item, which of our calls it is, and whether its arguments have been said.
        self._calls: dict[int, int] = {}
        self._has_arguments: set[int] = set()
        self._has_refused = False

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = super().read_body(body)
        _raise_if_failed(answer, raise_for_error_answer)
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        event = super().read_event(data)
        if event is None and self.finish_reason in _FAILED:
            event = object_in(data)
        if event is not None:
            _raise_if_failed(event["response"], raise_for_error)
        return event

    def reply(self) -> Reply:
        """See UsageReader."""
        blocks = tuple(self._blocks())
        return Reply(
            id=str(self._answer.get("id") or ""),
            model=str(self._answer.get("model") or ""),
            blocks=blocks,
            finish=_finish(
                self._answer,
                has_called=any(isinstance(block, ToolCall) for block in blocks),
                has_refused=any(isinstance(block, Refusal) for block in blocks),
            ),
            usage=self.usage,
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        event = object_in(data)
        kind, words = event.get("type"), event.get("delta")
        match kind:
            case "response.output_text.delta" if words:
                return (TextDelta(str(words)),)
            case "response.refusal.delta" if words:
                self._has_refused = True
                return (RefusalDelta(str(words)),)
            case "response.reasoning_summary_text.delta" if words:
                return (ThinkingDelta(str(words)),)
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                return (ThinkingDelta("\n\n"),)
            case "response.function_call_arguments.delta" if words:
                return self._more_arguments(event, str(words))
            case "response.output_item.added":
                return self._begun(event)
            case "response.output_item.done":
                return self._done(event)
            case "response.created":
                response = event.get("response")
                response = response if isinstance(response, dict) else {}
                return (Began(str(response.get("id") or ""), str(response.get("model") or "")),)
            case _ if kind in LAST:
                response = event.get("response")
                has_called, has_refused = bool(self._calls), self._has_refused
                finish = _finish(response if isinstance(response, dict) else {}, has_called, has_refused)
                return (Ended(finish),)
        return _NOTHING

    def _blocks(self) -> Iterator[Block]:
        for place, item in enumerate(objects_among(self._answer.get("output"))):
            match item.get("type"):
                case "message":
                    yield from _said(item)
                case "reasoning":
                    text, signature = _summary(item), self._signature(item)
                    if text or signature:
                        yield Thinking(text, signature, is_redacted=not text)
                case "function_call":
                    arguments = str(item.get("arguments") or "{}")
                    yield ToolCall(_call_id(item, place), str(item.get("name") or ""), arguments)

    def _begun(self, event: Mapping[str, Any]) -> Sequence[Delta]:
        item, place = event.get("item"), event.get("output_index", -1)
        if not isinstance(item, dict) or item.get("type") != "function_call":
            return _NOTHING
        call = self._calls[place] = len(self._calls)
        return (ToolCallBegan(call, _call_id(item, place), str(item.get("name") or "")),)

    def _done(self, event: Mapping[str, Any]) -> Sequence[Delta]:
        item = event.get("item")
        if not isinstance(item, dict):
            return _NOTHING
        if item.get("type") == "function_call":
            call = self._calls.get(event.get("output_index", -1))
            if call is None or call in self._has_arguments:
                return _NOTHING
            return self._more_arguments(event, str(item.get("arguments") or "{}"))
        signature = self._signature(item) if item.get("type") == "reasoning" else ""
        return (ThinkingDelta(signature=signature, is_redacted=not _summary(item)),) if signature else _NOTHING

    def _more_arguments(self, event: Mapping[str, Any], arguments: str) -> Sequence[Delta]:
        call = self._calls.get(event.get("output_index", -1))
        if call is None:
            return _NOTHING
        self._has_arguments.add(call)
        return (ToolCallDelta(call, arguments),)

    def _signature(self, item: Mapping[str, Any]) -> str:
        return signature_of(self._keeper, str(item.get("encrypted_content") or ""))


def _said(message: Mapping[str, Any]) -> Iterator[Block]:
    for part in objects_among(message.get("content")):
        if part.get("type") == "refusal":
            yield Refusal(str(part.get("refusal") or ""))
        elif part.get("text"):
            yield Text(str(part["text"]))


def _summary(item: Mapping[str, Any]) -> str:
    return "\n\n".join(str(part.get("text") or "") for part in objects_among(item.get("summary")))


def _call_id(item: Mapping[str, Any], place: int) -> str:
    return str(item.get("call_id") or item.get("id") or f"call_{place}")


def _finish(response: Mapping[str, Any], has_called: bool, has_refused: bool) -> Finish:
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        return _FINISHES.get(str(details.get("reason")) if isinstance(details, dict) else "", "length")
    if has_refused:
        return "content_filter"
    return "tool_calls" if has_called else "stop"


def _raise_if_failed(response: Mapping[str, Any], raise_for_its_error: Callable[[Mapping[str, Any]], None]) -> None:
    if response.get("status") in _FAILED:
        raise_for_its_error(response)
        raise gave_up(str(response["status"]), response)
