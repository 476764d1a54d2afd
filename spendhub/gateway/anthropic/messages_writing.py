"""A translated answer as Anthropic's message, whole or in events.

Thoughts that their vendor did not sign stand there with an empty signature.
Source: Anthropic's API reference, "Create a message" and "Streaming messages".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

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
    arguments_of,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from spendhub.errors import SpendHubError
from spendhub.gateway.anthropic.errors import error_event
from spendhub.gateway.dialect import Burst
from spendhub.gateway.several_answers import Answers
from spendhub.gateway.stream_events import named_event

NO_ID = "msg_spendhub"
_encoder = msgspec.json.Encoder()
_REASONS: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


STOP = named_event("message_stop", {"type": "message_stop"})


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Usage in Anthropic's convention: `input_tokens` is what was neither read from the cache nor written to it."""
    told: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_1h_tokens:
        told["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told


def message(reply: Reply, model: str) -> bytes:
    """A whole message."""
    return _encoder.encode(
        {
            **_head(reply.id, model),
            "content": [_block(block) for block in reply.blocks],
            "stop_reason": _reason(reply.finish, reply.stop_sequence),
            "stop_sequence": reply.stop_sequence,
            "usage": usage_object(reply.usage or TokenUsage()),
        }
    )


def message_delta(reason: str | None, stop_sequence: str | None, usage: TokenUsage) -> dict[str, Any]:
    """The event that says why a stream ends and what it used."""
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": stop_sequence},
        "usage": usage_object(usage),
    }


class MessagesWriting:
    """A translated stream: one block open at a time. `is_done` says that the vendor has said all.

    A vendor may tell two tool calls at once; here one ends before the next begins. What comes for another call
    than the open one waits until the open one's arguments are whole.
    """

    def __init__(self, reader: UsageReader, model: str) -> None:
        self.is_done = False
        self._reader = reader
        self._answers = Answers(reader)
        self._model = model
        self._has_begun = False
        self._index = -1
        self._open: str | int | None = None  # "text", "thinking" or a tool call's index
        self._arguments: list[str] = []  # of the open tool call
        self._waiting: dict[int, list[ToolCallBegan | ToolCallDelta]] = {}
        self._closed: set[int] = set()
        self._end = Ended("stop")

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        pieces: list[bytes] = []
        for delta in self._answers.deltas(burst):
            self._write(delta, pieces)
        return b"".join(pieces)

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        pieces: list[bytes] = []
        if not self._has_begun:
            self._write(Began(response_id or "", model), pieces)
        self._close_all(pieces)
        reason = _reason(self._end.finish, self._end.stop_sequence)
        told = {**message_delta(reason, self._end.stop_sequence, usage), "spendhub": money}
        return b"".join(pieces) + named_event("message_delta", told) + STOP

    def follow(self, sent: bytes) -> None:
        """See StreamOut. It has written all of it itself."""

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        self._end = Ended("length")
        return self.last_events(usage, money, model, response_id)

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return error_event(error, money)

    def _write(self, delta: Delta, pieces: list[bytes]) -> None:
        match delta:
            case Began():
                self._begin(delta, pieces)
            case TextDelta() | RefusalDelta():
                self._ensure("text", {"type": "text", "text": ""}, pieces)
                self._add({"type": "text_delta", "text": delta.text}, pieces)
            case ThinkingDelta():
                self._think(delta, pieces)
            case ToolCallBegan() | ToolCallDelta():
                self._call(delta, pieces)
            case Ended():
                self._end = delta
                self.is_done = True

    def _begin(self, delta: Began, pieces: list[bytes]) -> None:
        self._has_begun = True
        started = {
            **_head(delta.id, self._model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # Counts come with message_delta: most vendors tell them at the end.
            "usage": usage_object(self._reader.usage or TokenUsage()),
        }
        pieces.append(named_event("message_start", {"type": "message_start", "message": started}))

    def _think(self, delta: ThinkingDelta, pieces: list[bytes]) -> None:
        if delta.is_redacted:
            self._close(pieces)
            self._ensure("redacted", {"type": "redacted_thinking", "data": delta.signature}, pieces)
            self._close(pieces)
            return
        self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""}, pieces)
        if delta.text:
            self._add({"type": "thinking_delta", "thinking": delta.text}, pieces)
        if delta.signature:
            self._add({"type": "signature_delta", "signature": delta.signature}, pieces)
            self._close(pieces)  # a signature ends its thought

    def _call(self, delta: ToolCallBegan | ToolCallDelta, pieces: list[bytes]) -> None:
        if delta.index in self._closed:
            raise UpstreamError("the vendor went on with a tool call after it had ended")
        is_another = isinstance(self._open, int) and self._open != delta.index
        if is_another and (self._waiting or not self._is_call_whole()):
            self._waiting.setdefault(delta.index, []).append(delta)
            return
        self._write_call(delta, pieces)
        while self._waiting and self._is_call_whole():
            self._next_call(pieces)

    def _next_call(self, pieces: list[bytes]) -> None:
        for delta in self._waiting.pop(min(self._waiting)):
            self._write_call(delta, pieces)

    def _is_call_whole(self) -> bool:
        try:
            msgspec.json.decode("".join(self._arguments))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        return True

    def _write_call(self, delta: ToolCallBegan | ToolCallDelta, pieces: list[bytes]) -> None:
        if isinstance(delta, ToolCallBegan):
            self._close(pieces)
            self._start(delta.index, _tool_use(delta.id, delta.name, {}, delta.signature), pieces)
        elif delta.arguments:
            self._arguments.append(delta.arguments)
            self._add({"type": "input_json_delta", "partial_json": delta.arguments}, pieces)

    def _ensure(self, wanted: str, block: Mapping[str, Any], pieces: list[bytes]) -> None:
        """Has a block of this kind open."""
        if self._open != wanted:
            self._close_all(pieces)
            self._start(wanted, block, pieces)

    def _start(self, kind: str | int, block: Mapping[str, Any], pieces: list[bytes]) -> None:
        self._index += 1
        self._open = kind
        started = {"type": "content_block_start", "index": self._index, "content_block": block}
        pieces.append(named_event("content_block_start", started))

    def _add(self, delta: Mapping[str, Any], pieces: list[bytes]) -> None:
        told = {"type": "content_block_delta", "index": self._index, "delta": delta}
        pieces.append(named_event("content_block_delta", told))

    def _close_all(self, pieces: list[bytes]) -> None:
        while self._waiting:
            self._next_call(pieces)
        self._close(pieces)

    def _close(self, pieces: list[bytes]) -> None:
        if self._open is None:
            return
        stopped = {"type": "content_block_stop", "index": self._index}
        pieces.append(named_event("content_block_stop", stopped))
        if isinstance(self._open, int):
            self._closed.add(self._open)
            self._arguments.clear()
        self._open = None


def _head(message_id: str, model: str) -> dict[str, Any]:
    return {"id": message_id or NO_ID, "type": "message", "role": "assistant", "model": model}


def _reason(finish: Finish, stop_sequence: str | None) -> str:
    return "stop_sequence" if finish == "stop" and stop_sequence is not None else _REASONS[finish]


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Thinking(is_redacted=True):
            return {"type": "redacted_thinking", "data": block.signature}
        case Thinking():
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case ToolCall():
            return _tool_use(block.id, block.name, arguments_of(block), block.signature)
        case Text() | Refusal():
            return {"type": "text", "text": block.text}
        case _:
            raise ValueError(f"{type(block).__name__} is nothing that a model says")


def _tool_use(call_id: str, name: str, arguments: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """`signature` is no field of Anthropic's: Gemini signs its calls, and must get that back."""
    told = {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
    return {**told, "signature": signature} if signature else told
