"""Answers of Anthropic's /v1/messages, whole and streamed.

Source: Anthropic's API reference, "Create a Message" and "Streaming messages".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import (
    Began,
    Block,
    Delta,
    Ended,
    Finish,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.tokens import count_tokens
from routing.upstreams.billed import Billed
from routing.upstreams.json_objects import encode, object_in, objects_among, readable_objects
from routing.upstreams.sse import data_in
from routing.upstreams.turns import finish_of
from routing.upstreams.vendor_errors import raise_for_error, raise_for_error_answer, raise_unless_list

# Nearly all events begin like this, and carry words alone.
_WORDS = b'{"type":"content_block_delta"'
# Those that may say more. Inside a text every quote has a backslash before it, so these bytes are the type of an event,
# or a text of that one word; either way the event is then parsed and looked at.
_TELLING = (b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"')
_STOP = b'{"type":"message_stop"}'
_FINISHES: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class MessagesReader(Billed):
    """Reads messages and their streams. Events that only carry words are kept unparsed: parsing costs.

    A stream says its input at its beginning and its output at its end; `usage` is None until it has said both. What it
    has said so far is in `usage_so_far`, for a stream that breaks off.
    """

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False
        self._events: list[bytes] = []
        self._unread: list[bytes] = []
        self._answer: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        self._stop_sequence: str | None = None
        # Of a translated stream: which call each content block is, and whether its arguments have been said.
        self._calls: dict[int, int] = {}
        self._has_arguments: set[int] = set()

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = object_in(body)
        self._events = [body]
        self.response_id = answer.get("id") or None
        self._take_stop(answer)
        self._take_container(answer)
        self._take_usage(answer.get("usage"), is_last=True)
        raise_for_error_answer(answer)
        raise_unless_list(answer, "content")
        self.is_complete = True
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        self._events.append(data)
        if data.startswith(_WORDS) or not any(word in data for word in _TELLING):
            return None
        event = object_in(data)
        kind = event.get("type")
        if kind == "message_start":
            message = event.get("message")
            if not isinstance(message, dict):
                raise UpstreamError("the vendor's stream begins without a message")
            self.response_id = message.get("id") or self.response_id
            self._take_usage(message.get("usage"), is_last=False)
            return event if isinstance(message.get("usage"), dict) else None
        if kind == "message_delta":
            delta = event.get("delta")
            self._take_stop(delta if isinstance(delta, dict) else {})
            self._take_container(delta if isinstance(delta, dict) else {})
            self._take_usage(event.get("usage"), is_last=True)
            return event if isinstance(event.get("usage"), dict) else None
        if kind == "message_stop":
            self.is_complete = True
        elif kind == "error":
            raise_for_error({**event, "error": event.get("error") or "error"})
        return None

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader."""
        if any(word in complete for word in _TELLING):
            return False
        self._unread.append(complete)
        return True

    def missing_end(self) -> bytes:
        """See UsageReader."""
        return _STOP if self.finish_reason is not None else b""

    def produced_tokens(self) -> int:
        """See UsageReader. Not less than the vendor has counted itself."""
        total = 0
        for event in readable_objects([*data_in(self._unread), *self._events]):
            delta = event.get("delta")
            if isinstance(delta, dict):
                total += _tokens(delta)
            block = event.get("content_block")
            if isinstance(block, dict):
                total += _tokens(block)
            content = event.get("content")
            for block in content if isinstance(content, list) else ():
                total += _tokens(block) if isinstance(block, dict) else 0
        return max(total, self.usage_so_far.output_tokens if self.usage_so_far else 0)

    def searched(self) -> int:
        """See UsageReader. Each begins with a block of its own."""
        blocks = [event.get("content_block") for event in readable_objects([*data_in(self._unread), *self._events])]
        return sum(
            block.get("type") == "server_tool_use" and block.get("name") == "web_search"
            for block in objects_among(blocks)
        )

    def reply(self) -> Reply:
        """See UsageReader."""
        blocks = tuple(_blocks(self._answer["content"]))
        return Reply(
            id=str(self._answer.get("id") or ""),
            model=str(self._answer.get("model") or ""),
            blocks=blocks,
            finish=self._finish(has_called=any(isinstance(block, ToolCall) for block in blocks)),
            usage=self.usage,
            stop_sequence=self._stop_sequence,
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        event = object_in(data)
        match event.get("type"):
            case "content_block_delta":
                return self._said(event)
            case "content_block_start":
                return self._begun(event)
            case "content_block_stop":
                call = self._calls.get(event.get("index", -1))
                if call is not None and call not in self._has_arguments:
                    return [ToolCallDelta(call, "{}")]  # A call without arguments sends none; an object is due.
            case "message_start":
                message = event.get("message")
                message = message if isinstance(message, dict) else {}
                return [Began(str(message.get("id") or ""), str(message.get("model") or ""))]
            case "message_stop":
                return [Ended(self._finish(has_called=bool(self._calls)), self._stop_sequence)]
        return []

    def _finish(self, *, has_called: bool) -> Finish:
        said = _FINISHES.get(self.finish_reason or "", "stop")
        return finish_of(said, has_called=has_called and self._stop_sequence is None)

    def _begun(self, event: Mapping[str, Any]) -> list[Delta]:
        block = event.get("content_block")
        if not isinstance(block, dict):
            return []
        match block.get("type"):
            case "text" if block.get("text"):
                return [TextDelta(str(block["text"]))]
            case "thinking" if block.get("thinking"):
                return [ThinkingDelta(str(block["thinking"]))]
            case "redacted_thinking":
                return [ThinkingDelta(signature=str(block.get("data") or ""), is_redacted=True)]
            case "tool_use":
                call = self._calls[event.get("index", -1)] = len(self._calls)
                found: list[Delta] = [ToolCallBegan(call, str(block.get("id") or ""), str(block.get("name") or ""))]
                if block.get("input"):
                    self._has_arguments.add(call)
                    found.append(ToolCallDelta(call, encode(block["input"]).decode()))
                return found
        return []

    def _said(self, event: Mapping[str, Any]) -> list[Delta]:
        delta = event.get("delta")
        if not isinstance(delta, dict):
            return []
        match delta.get("type"):
            case "text_delta" if delta.get("text"):
                return [TextDelta(str(delta["text"]))]
            case "thinking_delta" if delta.get("thinking"):
                return [ThinkingDelta(str(delta["thinking"]))]
            case "signature_delta" if delta.get("signature"):
                return [ThinkingDelta(signature=str(delta["signature"]))]
            case "input_json_delta" if delta.get("partial_json"):
                call = self._calls.get(event.get("index", -1))
                if call is not None:
                    self._has_arguments.add(call)
                    return [ToolCallDelta(call, str(delta["partial_json"]))]
        return []

    def _take_stop(self, said: Mapping[str, Any]) -> None:
        self.finish_reason = said.get("stop_reason") or self.finish_reason
        self._stop_sequence = said.get("stop_sequence") or self._stop_sequence

    def _take_usage(self, usage: Any, *, is_last: bool) -> None:
        if not isinstance(usage, dict):
            return
        # Counts are cumulative: a later one stands for the earlier, and what is not said again still holds.
        counts = {**self._counts, **{name: value for name, value in usage.items() if value is not None}}
        counted = self.usage_in(TokenUsage.from_anthropic, counts)
        if counted is not None:
            self._counts, self.usage_so_far = counts, counted
        if is_last:
            self.usage = counted
        self.note_tier(counts.get("service_tier"), counts.get("speed"), counts.get("inference_geo"))
        # Of these the counts are not in the usage: other models that were asked.
        beside = {str(part.get("type")) for part in objects_among(counts.get("iterations"))} - {"message", "compaction"}
        self.note_not_priced(*sorted(beside))

    def _take_container(self, said: Mapping[str, Any]) -> None:
        if said.get("container"):
            self.note_not_priced("code_execution")  # by the hour, beyond some that are free


def _tokens(part: Mapping[str, Any]) -> int:
    total = sum(
        count_tokens(part[name])
        for name in ("text", "thinking", "partial_json", "name")
        if isinstance(part.get(name), str)
    )
    if part.get("input"):
        total += count_tokens(encode(part["input"]).decode())
    return total


def _blocks(content: list[Any]) -> list[Block]:
    blocks: list[Block] = []
    for part in content:
        match part:
            case {"type": "text", "text": str(text)} if text:
                blocks.append(Text(text))
            case {"type": "thinking"}:
                blocks.append(Thinking(str(part.get("thinking") or ""), str(part.get("signature") or "")))
            case {"type": "redacted_thinking"}:
                blocks.append(Thinking(signature=str(part.get("data") or ""), is_redacted=True))
            case {"type": "tool_use"}:
                arguments = encode(part.get("input") or {}).decode()
                blocks.append(ToolCall(str(part.get("id") or ""), str(part.get("name") or ""), arguments))
    return blocks
