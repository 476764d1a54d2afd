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
from routing.logprobs import Logprobs, TokenLogprob
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from routing.upstreams.json_objects import readable_object
from routing.upstreams.signatures import signature_for
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.gemini.errors import error_event
from spendhub.gateway.gemini.logprobs_told import average_told, logprobs_told
from spendhub.gateway.gemini.thought_signatures import UNSIGNED, signature_to_tell
from spendhub.gateway.several_answers import Answers
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


def answer(reply: Reply, model: str, asked: int = 1) -> bytes:
    """A whole answer, of as many candidates as were `asked` for."""
    candidates = []
    for number, choice in enumerate(reply.choices[:asked]):
        told = _candidate(number, _parts(choice.blocks), _REASONS[choice.finish])
        candidates.append(told | logprobs_told(choice.logprobs) | average_told(choice.logprobs))
    told = _chunk(reply.id, model, candidates)
    return _encoder.encode({**told, "usageMetadata": usage_object(reply.usage or TokenUsage())})


class GenerateWriting:
    """A translated stream of `asked` candidates. `is_done` says that the vendor has said all."""

    def __init__(self, reader: UsageReader, model: str, asked: int = 1) -> None:
        self.is_done = False
        self._answers = Answers(reader, asked)
        self._model = model
        self._id = ""
        self._begun: set[int] = set()
        self._calls: dict[int, dict[int, ToolCall]] = {}
        self._likely: dict[int, list[TokenLogprob]] = {}

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        told = b"".join(self._written(delta) for delta in self._answers.deltas(burst))
        self.is_done = self._answers.is_done
        return told

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut: why it ended, with usage and money."""
        candidates = [
            _candidate(number, [{"text": ""}], _REASONS[finish]) | average_told(self._likely.get(number, ()))
            for number, finish in self._answers.finishes()
        ]
        told = _chunk(self._id or response_id or "", self._model, candidates)
        return data_event({**told, "usageMetadata": usage_object(usage), "spendhub": money})

    def follow(self, sent: bytes) -> None:
        """See StreamOut. It has written all of it itself."""

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A call whose arguments are not whole is left out: Google's are an object, not a text."""
        self._answers.cut_short(sorted(self._begun))
        rest = b"".join(
            self._say(number, whole)
            for number, calls in sorted(self._calls.items())
            if (whole := [call for call in calls.values() if _is_whole(call)])
        )
        return rest + self.last_events(usage, money, model, response_id)

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return error_event(error, money)

    def _written(self, delta: Delta) -> bytes:
        match delta:
            case Began():
                self._id = delta.id
            case TextDelta() | RefusalDelta():
                self._begun.add(delta.choice)
                self._likely.setdefault(delta.choice, []).extend(delta.logprobs)
                return self._say(delta.choice, [Text(delta.text)], delta.logprobs)
            case ThinkingDelta():
                self._begun.add(delta.choice)
                return self._say(delta.choice, [Thinking(delta.text, delta.signature, delta.is_redacted)])
            case ToolCallBegan():
                self._begun.add(delta.choice)
                call = ToolCall(delta.id, delta.name, "", delta.signature)
                self._calls.setdefault(delta.choice, {})[delta.index] = call
            case ToolCallDelta():
                calls = self._calls[delta.choice]
                calls[delta.index] = replace(
                    calls[delta.index], arguments=calls[delta.index].arguments + delta.arguments
                )
            case Ended():
                calls = self._calls.pop(delta.choice, {})
                return self._say(delta.choice, calls.values()) if calls else b""
        return b""

    def _say(self, number: int, blocks: Iterable[Block], logprobs: Logprobs = ()) -> bytes:
        candidate = _candidate(number, _parts(blocks), None) | logprobs_told(logprobs)
        return data_event(_chunk(self._id, self._model, [candidate]))


def _is_whole(call: ToolCall) -> bool:
    return readable_object(call.arguments.encode()) is not None


def _chunk(response_id: str, model: str, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    return {"candidates": candidates, "modelVersion": model, "responseId": response_id or NO_ID}


def _candidate(number: int, parts: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": number}
    return candidate if reason is None else {**candidate, "finishReason": reason}


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
