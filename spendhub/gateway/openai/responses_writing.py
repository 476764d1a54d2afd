"""A translated stream as OpenAI's typed events.

Items are told in the order in which they began; calls of tools stay open side by side until the vendor has said all.
Source: OpenAI's API reference, "Responses", "Streaming events".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.conversation import (
    Began,
    Delta,
    Ended,
    Finish,
    RefusalDelta,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.logprobs import TokenLogprob
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.openai.errors import typed_error_event
from spendhub.gateway.openai.logprobs_told import logprobs_of_event
from spendhub.gateway.openai.responses_objects import (
    call_item,
    ending,
    item_id,
    message_item,
    reasoning_begun,
    reasoning_item,
    refusal_part,
    response_object,
    status_of,
    summary_part,
    text_part,
    told_at_end,
)
from spendhub.gateway.several_answers import Answers

_encoder = msgspec.json.Encoder()


class ResponsesWriting:
    """One translated stream. `is_done` says that the vendor has said all."""

    def __init__(self, reader: UsageReader, body: Mapping[str, Any], model: str) -> None:
        self.is_done = False
        self._answers = Answers(reader)
        self._body = body
        self._model = model
        self._response: dict[str, Any] | None = None
        self._id = ""
        self._sequence = 0
        self._pieces: list[bytes] = []
        self._items: list[dict[str, Any]] = []  # as they will stand in the response
        self._open: _Message | _Thought | None = None
        self._calls: dict[int, _Call] = {}
        self._finish: Finish = "stop"

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        for delta in self._answers.deltas(burst):
            self._write(delta)
        return self._taken()

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        response = self._begin(Began(response_id or "", model)) if self._response is None else self._response
        self._end_items()
        status = status_of(self._finish)
        told = {**response, "status": status, "output": self._items, **ending(self._finish, usage), "spendhub": money}
        self.tell(f"response.{status}", response=told)
        return self._taken()

    def follow(self, sent: bytes) -> None:
        """See StreamOut. It has written all of it itself."""

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut."""
        self._finish = "length"
        return self.last_events(usage, money, model, response_id)

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return typed_error_event(error, money, self._sequence)

    def tell(self, kind: str, **facts: Any) -> None:
        """Adds one event."""
        data = _encoder.encode({"type": kind, "sequence_number": self._sequence, **facts})
        self._sequence += 1
        self._pieces.append(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")

    def _write(self, delta: Delta) -> None:
        match delta:
            case Began():
                self._begin(delta)
            case TextDelta() | RefusalDelta():
                if not delta.text and not isinstance(self._open, _Message):
                    return  # likelihoods of what is no text, e.g. a tool's arguments: they have no place here
                if not isinstance(self._open, _Message):
                    self._end_open()
                    self._open = _Message(self, self._place("msg"))
                self._open.add(delta)
            case ThinkingDelta():
                if not isinstance(self._open, _Thought):
                    self._end_open()
                    self._open = _Thought(self, self._place("rs"))
                self._open.add(delta)
                if delta.signature:
                    self._end_open()  # a signature ends its thought
            case ToolCallBegan():
                self._end_open()
                self._calls[delta.index] = _Call(self, self._place("fc"), delta)
            case ToolCallDelta():
                self._calls[delta.index].add(delta)
            case Ended():
                self._finish = delta.finish
                self._end_items()
                self.is_done = True

    def _begin(self, began: Began) -> dict[str, Any]:
        self._id = began.id
        self._response = response_object(began.id, self._body, self._model, "in_progress", [])
        self.tell("response.created", response=self._response)
        self.tell("response.in_progress", response=self._response)
        return self._response

    def _place(self, kind: str) -> tuple[int, str]:
        """The place and id of one more item."""
        self._items.append({})
        place = len(self._items) - 1
        return place, item_id(kind, self._id, place)

    def finished(self, place: int, item: dict[str, Any]) -> None:
        """Takes an item of which no more comes."""
        item = told_at_end(item, self._finish, is_last=place == len(self._items) - 1)
        self._items[place] = item
        self.tell("response.output_item.done", output_index=place, item=item)

    def _end_open(self) -> None:
        if self._open is not None:
            self._open.end()
            self._open = None

    def _end_items(self) -> None:
        self._end_open()
        for call in self._calls.values():
            call.end()
        self._calls.clear()

    def _taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class _Message:
    """A message that is being said, part by part."""

    def __init__(self, out: ResponsesWriting, place: tuple[int, str]) -> None:
        self._out = out
        self._place, self._id = place
        self._parts: list[dict[str, Any]] = []
        self._kind = ""
        self._words: list[str] = []
        self._likely: list[TokenLogprob] = []
        out.tell("response.output_item.added", output_index=self._place, item=message_item(self._id, [], "in_progress"))

    def add(self, delta: TextDelta | RefusalDelta) -> None:
        kind = "output_text" if isinstance(delta, TextDelta) else "refusal"
        if kind != self._kind:
            self._end_part()
            self._kind = kind
            self._tell("response.content_part.added", part=self._part(""))
        self._words.append(delta.text)
        if kind == "output_text":
            self._likely += delta.logprobs
            self._tell("response.output_text.delta", delta=delta.text, logprobs=logprobs_of_event(delta.logprobs))
        else:
            self._tell("response.refusal.delta", delta=delta.text)

    def end(self) -> None:
        self._end_part()
        self._out.finished(self._place, message_item(self._id, self._parts, "completed"))

    def _end_part(self) -> None:
        if not self._kind:
            return
        words = "".join(self._words)
        if self._kind == "output_text":
            self._tell("response.output_text.done", text=words, logprobs=logprobs_of_event(tuple(self._likely)))
        else:
            self._tell("response.refusal.done", refusal=words)
        part = self._part(words)
        self._tell("response.content_part.done", part=part)
        self._parts.append(part)
        self._words.clear()
        self._likely.clear()
        self._kind = ""

    def _part(self, words: str) -> dict[str, Any]:
        return text_part(words, tuple(self._likely)) if self._kind == "output_text" else refusal_part(words)

    def _tell(self, kind: str, **facts: Any) -> None:
        place = {"item_id": self._id, "output_index": self._place, "content_index": len(self._parts)}
        self._out.tell(kind, **place, **facts)


class _Thought:
    """A reasoning item that is being said; its summary begins with its first word."""

    def __init__(self, out: ResponsesWriting, place: tuple[int, str]) -> None:
        self._out = out
        self._place, self._id = place
        self._words: list[str] = []
        self._signature = ""
        self._is_redacted = False
        out.tell("response.output_item.added", output_index=self._place, item=reasoning_begun(self._id))

    def add(self, delta: ThinkingDelta) -> None:
        self._signature += delta.signature
        self._is_redacted = self._is_redacted or delta.is_redacted
        if not delta.text:
            return
        if not self._words:
            self._tell("response.reasoning_summary_part.added", part=summary_part(""))
        self._words.append(delta.text)
        self._tell("response.reasoning_summary_text.delta", delta=delta.text)

    def end(self) -> None:
        words = "".join(self._words)
        if self._words:
            self._tell("response.reasoning_summary_text.done", text=words)
            self._tell("response.reasoning_summary_part.done", part=summary_part(words))
        thought = Thinking(words, self._signature, self._is_redacted)
        self._out.finished(self._place, reasoning_item(self._id, thought))

    def _tell(self, kind: str, **facts: Any) -> None:
        self._out.tell(kind, item_id=self._id, output_index=self._place, summary_index=0, **facts)


class _Call:
    """A tool call whose arguments are being said."""

    def __init__(self, out: ResponsesWriting, place: tuple[int, str], began: ToolCallBegan) -> None:
        self._out = out
        self._place, self._id = place
        self._began = began
        self._arguments: list[str] = []
        out.tell("response.output_item.added", output_index=self._place, item=self._item("", "in_progress"))

    def add(self, delta: ToolCallDelta) -> None:
        self._arguments.append(delta.arguments)
        self._tell("response.function_call_arguments.delta", delta=delta.arguments)

    def end(self) -> None:
        arguments = "".join(self._arguments) or "{}"
        self._tell("response.function_call_arguments.done", name=self._began.name, arguments=arguments)
        self._out.finished(self._place, self._item(arguments, "completed"))

    def _item(self, arguments: str, status: str) -> dict[str, Any]:
        began = self._began
        return call_item(self._id, ToolCall(began.id, began.name, arguments, began.signature), status)

    def _tell(self, kind: str, **facts: Any) -> None:
        self._out.tell(kind, item_id=self._id, output_index=self._place, **facts)
