"""Answers of Bedrock's Converse API, whole and streamed. A stream's events are those of event_stream.py.

Source: docs.aws.amazon.com, Amazon Bedrock API reference, "Converse", "ConverseStream", "TokenUsage"; the service's
model in botocore (bedrock-runtime, 2023-09-30), read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from routing.upstreams.json_objects import encode, is_whole_call, object_in
from routing.upstreams.signatures import marked
from routing.upstreams.turns import finish_of
from routing.upstreams.vendor_errors import gave_up, raise_for_error, raise_for_error_answer
from spendhub.ids import new_id

_FINISHES: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    # An answer that failed, of which some words were said, or a whole call; without any it is an error.
    "malformed_model_output": "length",
    "malformed_tool_use": "length",
}
FAILED = ("malformed_model_output", "malformed_tool_use")
_EXCEPTION = "Exception"


class ConverseReader(Billed):
    """Reads Converse's answers and their streams.

    Usage comes last of all, in an event `metadata` behind the one that says why the answer ended; a stream without it
    is cut off. Bedrock names neither its answers nor the model that gave them, so the id is our own and the model "";
    nor does it tell thinking from other output. Every event is translated, so each is parsed.
    """

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False
        self._answer: dict[str, Any] = {}
        self._stop_sequence: str | None = None
        self._produced: list[str] = []
        # The event that was read last: `deltas` is asked about the same bytes.
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})
        # Of a stream: which call each content block is, and whether its arguments have been said.
        self._calls: dict[int, int] = {}
        self._has_arguments: set[int] = set()
        self._arguments: dict[int, str] = {}  # of each tool's call, by its block
        self._has_said = False

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = object_in(body)
        self._take_stop(answer)
        self.note_tier(_part(answer, "serviceTier").get("type"))
        self._take_usage(answer.get("usage"))
        raise_for_error_answer(answer)
        if not isinstance(_part(answer, "output", "message").get("content"), list):
            raise UpstreamError("the vendor's answer has no message")
        blocks = [block for part in _content(answer) for block in _blocks(part)]
        self._has_said = any(isinstance(block, Text) for block in blocks)
        calls = [block.arguments for block in blocks if isinstance(block, ToolCall)]
        self._arguments = dict(enumerate(calls))
        self._raise_if_failed()
        self.is_complete = True
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        event = object_in(data)
        self._last = (data, event)
        _raise_for_exception(event)
        if said := _part(event, "contentBlockDelta", "delta"):
            self._produced += _words(said)
            self._has_said = self._has_said or bool(said.get("text"))
            if arguments := _part(said, "toolUse").get("input"):
                place = _index(_part(event, "contentBlockDelta"))
                self._arguments[place] = f"{self._arguments.get(place, '')}{arguments}"
        elif call := _part(event, "contentBlockStart", "start", "toolUse"):
            self._produced.append(str(call.get("name") or ""))
        elif stop := _part(event, "messageStop"):
            self._take_stop(stop)
        elif "metadata" in event:
            usage = _part(event, "metadata").get("usage")
            self.note_tier(_part(event, "metadata", "serviceTier").get("type"))
            self._take_usage(usage)
            self._raise_if_failed()
            self.is_complete = True
            return event if isinstance(usage, dict) else None
        return None

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader. No stream of this format is native to any client."""
        return False

    def produced_tokens(self) -> int:
        """See UsageReader."""
        said = self._produced or [words for part in _content(self._answer) for words in _words(part)]
        return sum(count_tokens(words) for words in said)

    def reply(self) -> Reply:
        """See UsageReader."""
        blocks = tuple(block for part in _content(self._answer) for block in _blocks(part))
        return Reply(
            id=_own_id(),
            model="",
            blocks=blocks,
            finish=self._finish(has_called=any(isinstance(block, ToolCall) for block in blocks)),
            usage=self.usage,
            stop_sequence=self._stop_sequence,
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        event = self._last[1] if data is self._last[0] else object_in(data)
        if said := _part(event, "contentBlockDelta"):
            return list(self._said(said))
        if begun := _part(event, "contentBlockStart"):
            return self._begun(begun)
        if stopped := _part(event, "contentBlockStop"):
            call = self._calls.get(_index(stopped))
            # A call without arguments may send none; an object is due.
            return [ToolCallDelta(call, "{}")] if call is not None and call not in self._has_arguments else []
        if "messageStart" in event:
            return [Began(_own_id(), "")]
        return [Ended(self._finish(has_called=bool(self._calls)), self._stop_sequence)] if "metadata" in event else []

    def _begun(self, begun: Mapping[str, Any]) -> list[Delta]:
        tool = _part(begun, "start", "toolUse")
        if not tool:
            return []
        call = self._calls[_index(begun)] = len(self._calls)
        return [ToolCallBegan(call, str(tool.get("toolUseId") or ""), str(tool.get("name") or ""))]

    def _said(self, said: Mapping[str, Any]) -> Iterator[Delta]:
        delta = _part(said, "delta")
        thought = _part(delta, "reasoningContent")
        if delta.get("text"):
            yield TextDelta(str(delta["text"]))
        elif thought.get("redactedContent"):
            yield ThinkingDelta(signature=marked("bedrock", str(thought["redactedContent"])), is_redacted=True)
        elif thought.get("text") or thought.get("signature"):
            yield ThinkingDelta(str(thought.get("text") or ""), str(thought.get("signature") or ""))
        elif arguments := _part(delta, "toolUse").get("input"):
            call = self._calls.get(_index(said))
            if call is not None:
                self._has_arguments.add(call)
                yield ToolCallDelta(call, str(arguments))

    def _finish(self, *, has_called: bool) -> Finish:
        said = _FINISHES.get(self.finish_reason or "", "stop")
        return finish_of(said, has_called=has_called and self._stop_sequence is None)

    def _raise_if_failed(self) -> None:
        if self.finish_reason in FAILED and not (self._has_said or any(map(is_whole_call, self._arguments.values()))):
            raise gave_up(self.finish_reason, {})

    def _take_stop(self, said: Mapping[str, Any]) -> None:
        self.finish_reason = said.get("stopReason") or self.finish_reason
        sequence = _part(said, "additionalModelResponseFields").get("stop_sequence")
        self._stop_sequence = str(sequence) if sequence else None

    def _take_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.usage = self.usage_so_far = self.usage_in(TokenUsage.from_anthropic, _as_anthropic_counts(usage))


def _as_anthropic_counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Bedrock counts as Anthropic does: plain input beside what was read from the cache and written into it."""
    counts = {
        "input_tokens": usage.get("inputTokens"),
        "output_tokens": usage.get("outputTokens"),
        "cache_read_input_tokens": usage.get("cacheReadInputTokens"),
        "cache_creation_input_tokens": usage.get("cacheWriteInputTokens"),
    }
    details = usage.get("cacheDetails")
    kept = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    split = {f"ephemeral_{each.get('ttl')}_input_tokens": each.get("inputTokens") for each in kept}
    return {**counts, "cache_creation": split}


def _raise_for_exception(event: Mapping[str, Any]) -> None:
    raise_for_error(event)
    for name, said in event.items():
        if name.endswith(_EXCEPTION):
            words = said if isinstance(said, dict) else {}
            message = words.get("message") or words.get("originalMessage") or ""
            raise_for_error({"error": {"type": name, "message": message}})


def _content(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = _part(answer, "output", "message").get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _blocks(part: Mapping[str, Any]) -> Iterator[Block]:
    thought = _part(part, "reasoningContent")
    said = _part(thought, "reasoningText")
    if part.get("text"):
        yield Text(str(part["text"]))
    elif thought.get("redactedContent"):
        yield Thinking(signature=marked("bedrock", str(thought["redactedContent"])), is_redacted=True)
    elif said.get("text") or said.get("signature"):
        yield Thinking(str(said.get("text") or ""), str(said.get("signature") or ""))
    elif tool := _part(part, "toolUse"):
        arguments = encode(tool.get("input") or {}).decode()
        yield ToolCall(str(tool.get("toolUseId") or ""), str(tool.get("name") or ""), arguments)
    elif cited := _part(part, "citationsContent").get("content"):
        for each in cited if isinstance(cited, list) else ():
            if isinstance(each, dict) and each.get("text"):
                yield Text(str(each["text"]))


def _words(part: Mapping[str, Any]) -> list[str]:
    """What a block, or a piece of one, says."""
    thought, tool = _part(part, "reasoningContent"), _part(part, "toolUse")
    found = [part.get("text"), thought.get("text"), _part(thought, "reasoningText").get("text"), tool.get("name")]
    arguments = tool.get("input")
    found.append(encode(arguments).decode() if isinstance(arguments, dict) else arguments)
    return [words for words in found if isinstance(words, str)]


def _part(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object that `names` lead to; {} where there is none."""
    found: Any = value
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("contentBlockIndex")
    return index if isinstance(index, int) else -1


def _own_id() -> str:
    return f"bedrock-{new_id().hex}"
