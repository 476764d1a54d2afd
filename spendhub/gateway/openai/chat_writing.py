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
    Choice,
    Delta,
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
from routing.upstreams.signatures import marked_in_chat
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.openai.errors import error_event
from spendhub.gateway.openai.logprobs_told import logprobs_object
from spendhub.gateway.several_answers import Answers
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
        **chunk_head(response_id or NO_ID, model),
        "choices": [],
        "usage": usage_object(usage),
        "spendhub": money,
    }


def completion(reply: Reply, model: str, *, asked: int = 1, is_legacy: bool = False) -> bytes:
    """A whole chat completion, of as many choices as were `asked` for. `is_legacy`: a tool call is told as a
    `function_call`."""
    choices = [
        {
            "index": number,
            "message": _message(choice, is_legacy=is_legacy),
            "logprobs": logprobs_object(choice.logprobs, is_refusal=_is_refusal(choice)),
            "finish_reason": _finish(choice.finish, is_legacy=is_legacy),
        }
        for number, choice in enumerate(reply.choices[:asked])
    ]
    told = {**_head(reply.id or NO_ID, "chat.completion", model), "choices": choices}
    if reply.usage is not None:
        told["usage"] = usage_object(reply.usage)
    return _encoder.encode(told)


def chunk_head(response_id: str, model: str) -> dict[str, Any]:
    """What every chunk begins with."""
    return _head(response_id, "chat.completion.chunk", model)


class ChatWriting:
    """A translated stream of `asked` choices. `is_done` says that the vendor has said all."""

    def __init__(
        self, reader: UsageReader, model: str, *, wants_usage: bool, asked: int = 1, is_legacy: bool = False
    ) -> None:
        self.is_done = False
        self._answers = Answers(reader, asked)
        self._wants_usage = wants_usage
        self._is_legacy = is_legacy
        self._head = chunk_head(NO_ID, model)
        self._begun: set[int] = set()
        self._thought: dict[int, list[str]] = {}
        self._signed_thoughts: dict[int, int] = {}

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        told = b"".join(self._written(delta) for delta in self._answers.deltas(burst))
        self.is_done = self._answers.is_done
        return told

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut: why it ended, then usage with `money` for a client that asked for it, then [DONE]."""
        last = b"".join(data_event(chunk) for chunk in self._finishes())
        if self._wants_usage:
            last += data_event(usage_chunk(self._head["id"], self._head["model"], usage, money))
        return last + DONE

    def follow(self, sent: bytes) -> None:
        """See StreamOut. It has written all of it itself."""

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A client that asked for no usage is told the money with the last answer's end."""
        self._answers.cut_short(self._begun)
        if self._wants_usage:
            return self.last_events(usage, money, model, response_id)
        *others, last = self._finishes()
        return b"".join(map(data_event, [*others, {**last, "spendhub": money}])) + DONE

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return error_event(error, money)

    def _finishes(self) -> list[dict[str, Any]]:
        return [
            self._told(number, {}, finish=_finish(finish, is_legacy=self._is_legacy))
            for number, finish in self._answers.finishes()
        ]

    def _written(self, delta: Delta) -> bytes:
        match delta:
            case Began():
                self._head["id"] = delta.id or NO_ID
                return self._begin(0)
            case TextDelta():
                return self._say(delta.choice, {"content": delta.text}, logprobs_object(delta.logprobs))
            case RefusalDelta():
                likely = logprobs_object(delta.logprobs, is_refusal=True)
                return self._say(delta.choice, {"refusal": delta.text}, likely)
            case ThinkingDelta():
                return self._say(delta.choice, self._thinking(delta))
            case ToolCallBegan():
                return self._say(delta.choice, self._call_began(delta))
            case ToolCallDelta():
                if self._is_legacy:
                    return self._say(delta.choice, {"function_call": {"arguments": delta.arguments}})
                piece = {"index": delta.index, "function": {"arguments": delta.arguments}}
                return self._say(delta.choice, {"tool_calls": [piece]})
        return b""

    def _call_began(self, delta: ToolCallBegan) -> dict[str, Any]:
        function = {"name": delta.name, "arguments": ""}
        if self._is_legacy:
            return {"function_call": function}
        call: dict[str, Any] = {"index": delta.index, "id": delta.id, "type": "function", "function": function}
        return {"tool_calls": [call | _signed(delta.signature)]}

    def _thinking(self, delta: ThinkingDelta) -> dict[str, Any]:
        told: dict[str, Any] = {"reasoning_content": delta.text} if delta.text else {}
        thought = self._thought.setdefault(delta.choice, [])
        thought.append(delta.text)
        if delta.signature:
            # Whole, not in pieces: only now is it known that the thought has a signature to be kept with.
            block = _thinking_block(Thinking("".join(thought), delta.signature, delta.is_redacted))
            signed = self._signed_thoughts.get(delta.choice, 0)
            told["thinking_blocks"] = [{"index": signed, **block}]
            self._signed_thoughts[delta.choice] = signed + 1
            thought.clear()
        return told

    def _begin(self, number: int) -> bytes:
        self._begun.add(number)
        return self._chunk(number, {"role": "assistant", "content": ""})

    def _say(self, number: int, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None = None) -> bytes:
        head = b"" if number in self._begun or number == 0 else self._begin(number)
        return head + self._chunk(number, delta, logprobs)

    def _chunk(self, number: int, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None = None) -> bytes:
        return data_event(self._told(number, delta, logprobs))

    def _told(
        self,
        number: int,
        delta: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        finish: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "choices": [choice]}


def _head(response_id: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": response_id, "object": kind, "created": int(time.time()), "model": model}


def _finish(finish: Finish, *, is_legacy: bool) -> str:
    return "function_call" if is_legacy and finish == "tool_calls" else finish


def _is_refusal(choice: Choice) -> bool:
    """Whether its words are all a refusal's, and so their likelihoods too."""
    words = [block for block in choice.blocks if isinstance(block, (Text, Refusal)) and block.text]
    return bool(words) and all(isinstance(block, Refusal) for block in words)


def _message(choice: Choice, *, is_legacy: bool) -> dict[str, Any]:
    texts = [block.text for block in choice.blocks if isinstance(block, Text)]
    refusals = [block.text for block in choice.blocks if isinstance(block, Refusal)]
    thoughts = [block for block in choice.blocks if isinstance(block, Thinking)]
    calls = [block for block in choice.blocks if isinstance(block, ToolCall)]
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
    signature = marked_in_chat(thought.signature)
    if thought.is_redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": thought.text, "signature": signature}
