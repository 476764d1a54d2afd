"""A translated answer as Google's generateContent tells it, whole or in chunks.

A call of a function is never told in pieces here: it is sent once its arguments are whole.
Source: ai.google.dev API reference, "GenerateContentResponse".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from routing.upstreams.signatures import signature_for
from spendhub.gateway.dialect import Burst
from spendhub.gateway.gemini.thought_signatures import UNSIGNED, signature_to_tell
from spendhub.gateway.stream_events import data_event

NO_ID = "spendhub"
_encoder = msgspec.json.Encoder()
_REASONS: Mapping[Finish, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Usage in Google's convention: cached input is part of the prompt, thoughts are beside the candidates."""
    told = {
        "promptTokenCount": usage.total_input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cache_read_tokens:
        told["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        told["thoughtsTokenCount"] = usage.reasoning_tokens
    return told


def answer(reply: Reply, model: str) -> bytes:
    """A whole answer."""
    told = _chunk(reply.id, model, _parts(reply.blocks), _REASONS[reply.finish])
    return _encoder.encode({**told, "usageMetadata": usage_object(reply.usage or TokenUsage())})


class GenerateWriting:
    """A translated stream. `is_done` says that the vendor has said all."""

    def __init__(self, reader: UsageReader, model: str) -> None:
        self.is_done = False
        self._reader = reader
        self._model = model
        self._id = ""
        self._calls: dict[int, ToolCall] = {}
        self._finish: Finish = "stop"

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        return b"".join(self._written(delta) for event, _ in burst for delta in self._reader.deltas(event.data))

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut: why it ended, with usage and money."""
        told = _chunk(self._id or response_id or "", self._model, [{"text": ""}], _REASONS[self._finish])
        return data_event({**told, "usageMetadata": usage_object(usage), "spendhub": money})

    def _written(self, delta: Delta) -> bytes:
        match delta:
            case Began():
                self._id = delta.id
            case TextDelta() | RefusalDelta():
                return self._say([Text(delta.text)])
            case ThinkingDelta():
                return self._say([Thinking(delta.text, delta.signature, delta.is_redacted)])
            case ToolCallBegan():
                self._calls[delta.index] = ToolCall(delta.id, delta.name, "", delta.signature)
            case ToolCallDelta():
                call = self._calls[delta.index]
                self._calls[delta.index] = replace(call, arguments=call.arguments + delta.arguments)
            case Ended():
                self.is_done = True
                self._finish = delta.finish
                return self._say(self._calls.values()) if self._calls else b""
        return b""

    def _say(self, blocks: Iterable[Block]) -> bytes:
        return data_event(_chunk(self._id, self._model, _parts(blocks), None))


def _chunk(response_id: str, model: str, parts: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": model, "responseId": response_id or NO_ID}


def _parts(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    # One signature is enough for all calls that are made at once.
    unsigned = UNSIGNED
    for block in blocks:
        match block:
            case Thinking():
                part: dict[str, Any] = {"text": block.text, "thought": True}
                signature = signature_to_tell(block)
            case ToolCall():
                part = {"functionCall": {"id": block.id, "name": block.name, "args": arguments_of(block)}}
                signature, unsigned = signature_for("gemini", block.signature) or unsigned, ""
            case Text() | Refusal():
                part, signature = {"text": block.text}, ""
            case _:
                raise ValueError(f"{type(block).__name__} is nothing that a model says")
        parts.append({**part, "thoughtSignature": signature} if signature else part)
    return parts
