"""Answers with a 200 that say nothing but that their vendor refuses: heard before anybody is told of them. Pure.

Gemini blocks the question (`promptFeedback`) or ends with SAFETY and the like, Claude stops with `refusal`, Bedrock
with `guardrail_intervened` or `content_filtered`, OpenAI and those who follow it say a `refusal` or end with
`content_filter`. A second reader of the answer says all of that in our words; the first one reads on for the client.
Only calls whose route goes on to another model then have an Ear (docs/routing.md, "When a call fails").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from routing.content_refusals import refuses_content
from routing.conversation import (
    Choice,
    Delta,
    Ended,
    Finish,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
)
from routing.errors import UpstreamError
from routing.model_facts import ModelFacts
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES, UsageReader, Wire
from routing.upstreams.json_objects import object_in, objects_among, readable_object
from routing.upstreams.odd_answers import guarded
from routing.upstreams.registry import dialect_of
from routing.upstreams.sse import SseEvent

FILTERED: Finish = "content_filter"


class Ear(Protocol):
    """Hears one answer, whole or as it comes. `has_begun`: a stream has said words, thoughts among them, or called a
    tool, so that the client must have it. `refuses`: the answer is at its end, and was nothing but a refusal."""

    has_begun: bool

    @property
    def refuses(self) -> bool:
        """See Ear."""
        ...

    def hear(self, events: Iterable[tuple[SseEvent, Any]]) -> None:
        """The next events of a stream. Raises nothing: what is wrong with them, their own reader tells."""
        ...

    def hear_whole(self, body: bytes) -> None:
        """A whole answer. Raises nothing, as `hear`."""
        ...


def choice_refuses(choice: Choice) -> bool:
    """Whether a whole answer, one of its choices, refuses for its content, whatever else it says."""
    return choice.finish == FILTERED or any(isinstance(block, Refusal) for block in choice.blocks)


def response_refuses(response: Mapping[str, Any]) -> bool:
    """The same of one of OpenAI's Responses, as the vendor writes it."""
    details = response.get("incomplete_details")
    return (
        any(part.get("type") == "refusal" for part in _parts_of(response))
        or (isinstance(details, dict) and details.get("reason") == FILTERED)
        or (response.get("status") == "failed" and refuses_content(response))
    )


def ear_for(model: ModelFacts, wire: Wire | None, reader_of_it: Callable[[], UsageReader] | None = None) -> Ear:
    """An Ear for one answer of `model`. `wire` is what the client gets untouched; None: the answer is translated, and
    read by what `reader_of_it` makes, or by its dialect's usual reader."""
    if wire == RESPONSES:
        return _ResponsesEar()
    reader = guarded(reader_of_it() if reader_of_it else dialect_of(model).reader(None))
    return _ReadersEar(reader, _MORE.get(wire, _nothing_more))


class _ReadersEar:
    """By what a reader says. `says_more` knows what a client gets besides, whose vendor speaks its wire format."""

    def __init__(self, reader: UsageReader, says_more: Callable[[Mapping[str, Any]], bool]) -> None:
        self.has_begun = False
        self._reader, self._says_more = reader, says_more
        # By choice: whether it has said a refusal, and why it has ended.
        self._refused: set[int] = set()
        self._ended: dict[int, Finish] = {}

    @property
    def refuses(self) -> bool:
        """See Ear."""
        ended = self._ended
        return (
            not self.has_begun
            and bool(ended)
            and all(finish == FILTERED or number in self._refused for number, finish in ended.items())
        )

    def hear(self, events: Iterable[tuple[SseEvent, Any]]) -> None:
        """See Ear."""
        try:
            for event, _ in events:
                self._reader.read_event(event.data)
                for delta in self._reader.deltas(event.data):
                    self._take(delta)
                if self._says_more(readable_object(event.data) or {}):
                    self.has_begun = True
        except UpstreamError:
            self.has_begun = True

    def hear_whole(self, body: bytes) -> None:
        """See Ear."""
        try:
            answer = self._reader.read_body(body)
            choices = self._reader.reply().choices
        except UpstreamError:
            return
        self._ended = {number: choice.finish for number, choice in enumerate(choices)}
        self._refused = {number for number, choice in enumerate(choices) if choice_refuses(choice)}
        self.has_begun = self._says_more(answer) or any(_says_words(choice) for choice in choices)

    def _take(self, delta: Delta) -> None:
        match delta:
            case TextDelta() | ThinkingDelta() if delta.text:
                self.has_begun = True
            case ToolCallBegan():
                self.has_begun = True
            case RefusalDelta():
                self._refused.add(delta.choice)
            case Ended():
                self._ended[delta.choice] = delta.finish


class _ResponsesEar:
    """OpenAI's Responses where they pass untouched: what they say besides words is looked for too."""

    def __init__(self) -> None:
        self.has_begun = False
        self._has_refused = self._has_ended = False

    @property
    def refuses(self) -> bool:
        """See Ear."""
        return self._has_ended and self._has_refused and not self.has_begun

    def hear(self, events: Iterable[tuple[SseEvent, Any]]) -> None:
        """See Ear."""
        for event, _ in events:
            self._take(readable_object(event.data) or {})

    def hear_whole(self, body: bytes) -> None:
        """See Ear."""
        try:
            self._take_response(object_in(body))
        except UpstreamError:
            return

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, response = str(event.get("type")), event.get("response")
        if kind in ("response.output_item.added", "response.output_item.done"):
            self.has_begun = self.has_begun or _is_more_than_words(event.get("item"))
        elif kind == "response.refusal.delta":
            self._has_refused = True
        elif kind.endswith(".delta"):
            self.has_begun = self.has_begun or bool(event.get("delta"))
        elif kind in ("response.completed", "response.incomplete", "response.failed") and isinstance(response, dict):
            self._take_response(response)

    def _take_response(self, response: Mapping[str, Any]) -> None:
        self._has_ended = True
        self.has_begun = (
            self.has_begun
            or any(_is_more_than_words(item) for item in objects_among(response.get("output")))
            or any(part.get("type") != "refusal" and part.get("text") for part in _parts_of(response))
        )
        self._has_refused = self._has_refused or response_refuses(response)


def _parts_of(response: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the messages of a Response are made of."""
    for item in objects_among(response.get("output")):
        if item.get("type") == "message":
            yield from objects_among(item.get("content"))


def _is_more_than_words(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") not in ("message", "reasoning")


def _says_words(choice: Choice) -> bool:
    """Thoughts are not counted: of a whole answer nobody has seen them yet."""
    return any(isinstance(block, Text | ToolCall) for block in choice.blocks)


def _nothing_more(told: Mapping[str, Any]) -> bool:
    return False


def _more_in_chat(told: Mapping[str, Any]) -> bool:
    """The old form of a tool's call, sound and pictures."""
    choices = objects_among(told.get("choices"))
    said = objects_among([choice.get("delta") or choice.get("message") for choice in choices])
    return any(part.get(name) for part in said for name in ("function_call", "audio", "images"))


def _more_in_messages(told: Mapping[str, Any]) -> bool:
    """Tools that the vendor runs itself, and what they bring."""
    blocks = (*objects_among([told.get("content_block")]), *objects_among(told.get("content")))
    return any(block.get("type") not in ("text", "thinking", "redacted_thinking") for block in blocks)


def _more_in_contents(told: Mapping[str, Any]) -> bool:
    """Pictures, code that was run, whatever Google adds to it."""
    contents = objects_among([candidate.get("content") for candidate in objects_among(told.get("candidates"))])
    parts = [part for content in contents for part in objects_among(content.get("parts"))]
    return any(name not in ("text", "thought", "thoughtSignature") for part in parts for name in part)


_MORE: Mapping[Wire | None, Callable[[Mapping[str, Any]], bool]] = {
    CHAT: _more_in_chat,
    MESSAGES: _more_in_messages,
    GENERATE: _more_in_contents,
}
