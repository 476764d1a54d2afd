"""The words of an answer as its client was sent it, whole or as a stream, in whichever format. Pure.

Each format is read by the dialect of the vendor that made it: whoever has answered, that is what the client was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routing.conversation import Delta, Ended, RefusalDelta, Reply, TextDelta, ToolCallBegan, ToolCallDelta
from routing.refused_answers import choice_refuses, response_refuses
from routing.reviewing import words_of, words_of_called, words_of_response
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES, UsageReader, Wire
from routing.upstreams.json_objects import object_in
from routing.upstreams.odd_answers import guarded
from routing.upstreams.registry import DIALECTS
from routing.upstreams.sse import events_in

_SPEAKERS: Mapping[Wire, str] = {CHAT: "openai", MESSAGES: "anthropic", GENERATE: "gemini"}
_LAST = frozenset((b'"response.completed"', b'"response.incomplete"'))


def words_sent(wire: Wire, sent: bytes, *, is_stream: bool) -> str:
    """What the client of `wire` was told in `sent`: of several choices the first, thoughts left out; "" for an answer
    that says nothing, or refuses. Raises UpstreamError for one of no known shape."""
    if wire == RESPONSES:
        return _of_response(_last_response(sent) if is_stream else object_in(sent))
    reader = guarded(DIALECTS[_SPEAKERS[wire]].reader(None))
    if is_stream:
        return _of_deltas(_deltas(reader, sent))
    reader.read_body(sent)
    return words_of_reply(reader.reply())


def words_of_reply(reply: Reply) -> str:
    """The same of an answer in no vendor's words."""
    return "" if choice_refuses(reply.choices[0]) else words_of(reply)


def _deltas(reader: UsageReader, sent: bytes) -> Iterator[Delta]:
    for event in events_in(sent):
        reader.read_event(event.data)
        yield from reader.deltas(event.data)
    if not reader.is_complete and (end := reader.missing_end()):
        yield from reader.deltas(end)


def _of_deltas(deltas: Iterable[Delta]) -> str:
    words: list[str] = []
    calls: dict[int, tuple[str, list[str]]] = {}
    for delta in deltas:
        match delta:
            case RefusalDelta(choice=0) | Ended(finish="content_filter", choice=0):
                return ""
            case TextDelta(choice=0):
                words.append(delta.text)
            case ToolCallBegan(choice=0):
                calls[delta.index] = (delta.name, [])
            case ToolCallDelta(choice=0) if delta.index in calls:
                calls[delta.index][1].append(delta.arguments)
    called = [words_of_called(name, "".join(pieces)) for name, pieces in calls.values()]
    return "\n".join([*filter(None, ["".join(words)]), *called])


def _last_response(sent: bytes) -> dict[str, Any]:
    """The response in the last event, which has all of it; {} where there is none."""
    for event in reversed(events_in(sent)):
        if any(name in event.data for name in _LAST):
            response = object_in(event.data).get("response")
            return response if isinstance(response, dict) else {}
    return {}


def _of_response(response: Mapping[str, Any]) -> str:
    return "" if response_refuses(response) else words_of_response(response)
