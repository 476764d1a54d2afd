"""A translated answer as a chat completion, whole or in chunks.

Beside OpenAI's own fields thinking is told as compatible vendors tell it: `reasoning_content` holds its words;
`thinking_blocks` what its vendor must get back to recognise it (LiteLLM's field); `extra_content` of a tool call
the signature that Gemini gives it (Google's field). A client that sends its messages back whole keeps them.
Source: OpenAI's API reference, "Chat completions" (object, chunk object, streaming).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routing.conversation import (
    Began,
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
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from spendhub.gateway.dialect import Burst
from spendhub.gateway.stream_events import data_event

DONE = b"data: [DONE]\n\n"
NO_ID = "chatcmpl-spendhub"
_encoder = msgspec.json.Encoder()


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Usage in OpenAI's convention: cached input is part of the prompt, reasoning part of the completion."""
    cached: dict[str, int] = {"cached_tokens": usage.cache_read_tokens}
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    if written:
        cached["cache_write_tokens"] = written
    return {
        "prompt_tokens": usage.total_input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": cached,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def usage_chunk(response_id: str | None, model: str, usage: TokenUsage, money: Mapping[str, Any]) -> dict[str, Any]:
    """The last chunk of a stream whose client asked for usage."""
    return {
        **_head(response_id or NO_ID, "chat.completion.chunk", model),
        "choices": [],
        "usage": usage_object(usage),
        "spendhub": money,
    }


def completion(reply: Reply, model: str, *, is_legacy: bool) -> bytes:
    """A whole chat completion. `is_legacy`: a tool call is told as a `function_call`."""
    choice = {
        "index": 0,
        "message": _message(reply, is_legacy=is_legacy),
        "logprobs": None,
        "finish_reason": _finish(reply.finish, is_legacy=is_legacy),
    }
    told = {**_head(reply.id or NO_ID, "chat.completion", model), "choices": [choice]}
    if reply.usage is not None:
        told["usage"] = usage_object(reply.usage)
    return _encoder.encode(told)


class ChatWriting:
    """A translated stream. `is_done` says that the vendor has said all."""

    def __init__(self, reader: UsageReader, model: str, *, wants_usage: bool, is_legacy: bool) -> None:
        self.is_done = False
        self._reader = reader
        self._wants_usage = wants_usage
        self._is_legacy = is_legacy
        self._head = _head(NO_ID, "chat.completion.chunk", model)
        self._finish: Finish = "stop"
        self._thought: list[str] = []
        self._signed_thoughts = 0

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        return b"".join(self._written(delta) for event, _ in burst for delta in self._reader.deltas(event.data))

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut: why it ended, then usage with `money` for a client that asked for it, then [DONE]."""
        last = self._chunk({}, _finish(self._finish, is_legacy=self._is_legacy))
        if self._wants_usage:
            last += data_event(usage_chunk(self._head["id"], self._head["model"], usage, money))
        return last + DONE

    def _written(self, delta: Delta) -> bytes:
        match delta:
            case Began():
                self._head["id"] = delta.id or NO_ID
                return self._chunk({"role": "assistant", "content": ""})
            case TextDelta():
                return self._chunk({"content": delta.text})
            case RefusalDelta():
                return self._chunk({"refusal": delta.text})
            case ThinkingDelta():
                return self._chunk(self._thinking(delta))
            case ToolCallBegan():
                return self._chunk(self._call_began(delta))
            case ToolCallDelta():
                if self._is_legacy:
                    return self._chunk({"function_call": {"arguments": delta.arguments}})
                piece = {"index": delta.index, "function": {"arguments": delta.arguments}}
                return self._chunk({"tool_calls": [piece]})
            case Ended():
                self.is_done = True
                self._finish = delta.finish
        return b""

    def _call_began(self, delta: ToolCallBegan) -> dict[str, Any]:
        function = {"name": delta.name, "arguments": ""}
        if self._is_legacy:
            return {"function_call": function}
        call: dict[str, Any] = {"index": delta.index, "id": delta.id, "type": "function", "function": function}
        return {"tool_calls": [call | _signed(delta.signature)]}

    def _thinking(self, delta: ThinkingDelta) -> dict[str, Any]:
        told: dict[str, Any] = {"reasoning_content": delta.text} if delta.text else {}
        self._thought.append(delta.text)
        if delta.signature:
            # Whole, not in pieces: only now is it known that the thought has a signature to be kept with.
            block = _thinking_block(Thinking("".join(self._thought), delta.signature, delta.is_redacted))
            told["thinking_blocks"] = [{"index": self._signed_thoughts, **block}]
            self._signed_thoughts += 1
            self._thought.clear()
        return told

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data_event({**self._head, "choices": [choice]})


def _head(response_id: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": response_id, "object": kind, "created": int(time.time()), "model": model}


def _finish(finish: Finish, *, is_legacy: bool) -> str:
    return "function_call" if is_legacy and finish == "tool_calls" else finish


def _message(reply: Reply, *, is_legacy: bool) -> dict[str, Any]:
    texts = [block.text for block in reply.blocks if isinstance(block, Text)]
    refusals = [block.text for block in reply.blocks if isinstance(block, Refusal)]
    thoughts = [block for block in reply.blocks if isinstance(block, Thinking)]
    calls = [block for block in reply.blocks if isinstance(block, ToolCall)]
    is_silent = not texts and bool(calls or refusals)
    told: dict[str, Any] = {"role": "assistant", "content": None if is_silent else "".join(texts)}
    told["refusal"] = "".join(refusals) or None
    words = "".join(thought.text for thought in thoughts)
    if words:
        told["reasoning_content"] = words
    signed = [_thinking_block(thought) for thought in thoughts if thought.signature]
    if signed:
        told["thinking_blocks"] = signed
    if calls and is_legacy:
        told["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments or "{}"}
    elif calls:
        told["tool_calls"] = [_tool_call(call) for call in calls]
    return told


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **_signed(call.signature)}


def _signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _thinking_block(thought: Thinking) -> dict[str, Any]:
    if thought.is_redacted:
        return {"type": "redacted_thinking", "data": thought.signature}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
