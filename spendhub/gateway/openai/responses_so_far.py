"""What a client has been sent of a stream of OpenAI's typed events, as far as its end depends on it. Pure.

What is open ends as OpenAI ends it at a limit: each text, part and item with its own `done`, unfinished items as
`incomplete`, and `response.incomplete` with all of them last.
Source: OpenAI's API reference, "Responses", "Streaming events".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import events_in
from spendhub.gateway.openai.responses_objects import ending, response_object
from spendhub.gateway.stream_events import named_event

_BEGINNINGS = ("response.created", "response.queued", "response.in_progress")
# What is said word by word: the list of parts it belongs to ("" for none), and its field there, or in the item.
_SAID: Mapping[str, tuple[str, str]] = {
    "response.output_text": ("content", "text"),
    "response.refusal": ("content", "refusal"),
    "response.reasoning_text": ("content", "text"),
    "response.reasoning_summary_text": ("summary", "text"),
    "response.function_call_arguments": ("", "arguments"),
    "response.custom_tool_call_input": ("", "input"),
}
# Parts, by the list that they stand in.
_PARTS: Mapping[str, str] = {"content": "response.content_part", "summary": "response.reasoning_summary_part"}
_ANNOTATION = "response.output_text.annotation"
_LIST_OF: Mapping[str, str] = {event: name for name, event in _PARTS.items()}


@dataclass
class _Words:
    """One text that is being said; `place` is where (see _SAID)."""

    event: str
    place: Mapping[str, Any]
    said: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    is_open: bool = True


@dataclass
class _Part:
    event: str
    value: dict[str, Any]
    place: Mapping[str, Any]
    words: _Words | None = None
    is_open: bool = True

    def as_told(self) -> dict[str, Any]:
        return self.value if self.words is None or not self.is_open else self.value | _filled(self.words)


@dataclass
class _Item:
    value: dict[str, Any]
    parts: dict[tuple[str, Any], _Part] = field(default_factory=dict)
    words: _Words | None = None  # of an item without parts
    is_open: bool = True

    def as_told(self) -> dict[str, Any]:
        """The item with all that was said of it."""
        if not self.is_open:
            return self.value
        told = dict(self.value)
        for name in {listed for listed, _ in self.parts}:
            told[name] = [part.as_told() for (listed, _), part in self.parts.items() if listed == name]
        if self.words is not None:
            told |= _filled(self.words)
        return {**told, "status": "incomplete"} if "status" in told else told


class ResponsesSoFar:
    """The response as its client knows it."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._items: dict[Any, _Item] = {}
        self._sequence = 0

    def follow(self, sent: bytes) -> None:
        """Takes whole events."""
        for event in events_in(sent):
            told = readable_object(event.data)
            if told is not None:
                number = told.get("sequence_number")
                self._sequence = number + 1 if isinstance(number, int) else self._sequence + 1
                self._take(str(told.get("type") or event.event), told)

    def end(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """The events that end what is open, and the response."""
        pieces: list[bytes] = []
        for index, item in self._items.items():
            if item.is_open:
                self._end_item(index, item, pieces)
        response = self._response or response_object(response_id or "", {}, model, "in_progress", [])
        output = [item.value for item in self._items.values()]
        told = {"status": "incomplete", "output": output, **ending("length", usage), "spendhub": money}
        self._tell(pieces, "response.incomplete", {"response": response | told})
        return b"".join(pieces)

    def _take(self, kind: str, told: dict[str, Any]) -> None:
        name, _, last = kind.rpartition(".")
        if kind in _BEGINNINGS and isinstance(told.get("response"), dict):
            self._response = told["response"]
        elif name == "response.output_item" and isinstance(told.get("item"), dict):
            self._items[told.get("output_index")] = _Item(told["item"], is_open=last == "added")
        elif name in _LIST_OF or name in _SAID or name == _ANNOTATION:
            item = self._items.get(told.get("output_index"))
            if item is not None and item.is_open:
                _note(item, name, last, told)

    def _end_item(self, index: Any, item: _Item, pieces: list[bytes]) -> None:
        for part in item.parts.values():
            if part.is_open:
                if part.words is not None:
                    self._end_words(part.words, pieces)
                self._tell(pieces, f"{part.event}.done", {**part.place, "part": part.as_told()})
        if item.words is not None:
            self._end_words(item.words, pieces, item.value)
        item.value, item.is_open = item.as_told(), False
        self._tell(pieces, "response.output_item.done", {"output_index": index, "item": item.value})

    def _end_words(self, words: _Words, pieces: list[bytes], item: Mapping[str, Any] | None = None) -> None:
        if words.is_open:
            named = {"name": item["name"]} if item is not None and "name" in item else {}
            self._tell(pieces, f"{words.event}.done", {**words.place, **named, **_filled(words)})

    def _tell(self, pieces: list[bytes], kind: str, facts: Mapping[str, Any]) -> None:
        pieces.append(named_event(kind, {"type": kind, "sequence_number": self._sequence, **facts}))
        self._sequence += 1


def _note(item: _Item, name: str, last: str, told: dict[str, Any]) -> None:
    """What one event of an open item's says."""
    if name == _ANNOTATION:
        found = item.parts.get(("content", told.get("content_index")))
        if found is not None:
            found.value = {**found.value, "annotations": [*found.value.get("annotations", ()), told.get("annotation")]}
        return
    if name in _LIST_OF:
        key = (_LIST_OF[name], told.get(f"{_LIST_OF[name]}_index"))
        if isinstance(told.get("part"), dict):
            item.parts[key] = _Part(name, told["part"], _place(told, key[0]), is_open=last == "added")
        return
    listed, field_name = _SAID[name]
    if listed:
        key = (listed, told.get(f"{listed}_index"))
        holder: _Item | _Part = item.parts.setdefault(key, _Part(_PARTS[listed], {}, _place(told, listed)))
    else:
        holder = item
    if holder.words is None:
        holder.words = _Words(name, _place(told, listed))
    words = holder.words
    if last == "delta":
        words.said.append(str(told.get("delta", "")))
        if isinstance(told.get("logprobs"), list):
            words.logprobs += told["logprobs"]
    elif last == "done":
        words.said, words.is_open = [str(told.get(field_name, ""))], False


def _filled(words: _Words) -> dict[str, Any]:
    """What was said, under its name."""
    filled: dict[str, Any] = {_SAID[words.event][1]: "".join(words.said)}
    return {**filled, "logprobs": words.logprobs} if words.event == "response.output_text" else filled


def _place(told: Mapping[str, Any], listed: str) -> dict[str, Any]:
    names = ("item_id", "output_index", f"{listed}_index") if listed else ("item_id", "output_index")
    return {name: told.get(name) for name in names}
