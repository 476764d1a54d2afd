"""The contents of a generateContent request, and their parts, in no vendor's words.

What one model said may come back in many contents, as it was streamed: it is one turn again here, its words and
thoughts in one piece. Source: ai.google.dev API reference, "Content".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from routing.conversation import (
    Audio,
    Block,
    File,
    Image,
    Message,
    NotTranslatable,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from routing.upstreams.foreign_thoughts import MARK_IN_BASE64
from routing.upstreams.signatures import marked
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import refuse_others
from spendhub.gateway.gemini.thought_signatures import standard_base64, thought_told
from spendhub.gateway.request_bodies import (
    flag_in,
    name_at,
    object_at,
    object_field,
    objects_in,
    optional_text_at,
    text_at,
)

TOWARDS = "another dialect"
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
# They say something about a part's data.
_BESIDE = frozenset(("thought", "thoughtSignature"))
_ROLES: Mapping[Any, Role] = {None: "user", "": "user", "user": "user", "function": "user", "model": "assistant"}
_SOUNDS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
_encoder = msgspec.json.Encoder()


def read_system(given: Mapping[str, Any], place: str) -> tuple[Text, ...]:
    """The system instruction, whose parts are texts."""
    refuse_others(given, ("role", "parts"), place)
    found = []
    for position, part in enumerate(objects_in(given, "parts")):
        inner = f"{place}.parts[{position}]"
        kind = _kind(part, inner)
        if kind != "text":
            raise NotTranslatable(f"{inner}.{kind}", TOWARDS)
        found.append(Text(text_at(part["text"], f"{inner}.text")))
    return tuple(found)


def read_contents(given: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The turns. Raises NotTranslatable or Invalid, naming the place."""
    calls = _Calls()
    turns: list[tuple[Role, list[Block]]] = []
    for position, content in enumerate(given):
        place = f"contents[{position}]"
        refuse_others(content, ("role", "parts"), place)
        name = content.get("role")
        role = _ROLES.get(name) if name is None or isinstance(name, str) else None
        if role is None:
            raise Invalid(f"{place}.role must be user or model", field=f"{place}.role")
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        blocks = turns[-1][1]
        try:
            parts = objects_in(content, "parts")
        except Invalid:
            raise Invalid(f"{place}.parts must be a list of objects", field=f"{place}.parts") from None
        for number, part in enumerate(parts):
            inner = f"{place}.parts[{number}]"
            if role == "user":
                blocks.append(_asked(part, calls, inner))
            else:
                _add_said(blocks, part, calls, inner)
    return tuple(Message(role, tuple(blocks)) for role, blocks in turns if blocks)


class _Calls:
    """Which call each answer belongs to. Google's clients may leave out ids: then the order in which calls of a name
    were made counts."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def called(self, call_id: str, name: str) -> str:
        """A call's id, its own or one of ours."""
        self._count += 1
        call_id = call_id or f"call_{self._count}"
        self._open.append((call_id, name))
        return call_id

    def answered(self, call_id: str, name: str) -> str:
        """The id of the call that is answered, "" where there is none."""
        for call in self._open:
            if call_id == call[0] if call_id else name == call[1]:
                self._open.remove(call)
                return call[0]
        return call_id


def _asked(part: Mapping[str, Any], calls: _Calls, place: str) -> Block:
    kind = _kind(part, place)
    match kind:
        case "text":
            return Text(text_at(part["text"], f"{place}.text"))
        case "functionResponse":
            return _result(object_at(part[kind], f"{place}.{kind}"), calls, f"{place}.{kind}")
        case "inlineData" | "fileData":
            return _media(part, place)
        case _:
            raise NotTranslatable(f"{place}.{kind}", TOWARDS)


def _add_said(blocks: list[Block], part: Mapping[str, Any], calls: _Calls, place: str) -> None:
    signature = optional_text_at(part.get("thoughtSignature"), f"{place}.thoughtSignature")
    kind = "text" if set(part) <= _BESIDE else _kind(part, place)
    if kind == "functionCall":
        call = object_at(part[kind], f"{place}.{kind}")
        refuse_others(call, ("id", "name", "args"), f"{place}.{kind}")
        name = name_at(call.get("name"), f"{place}.{kind}.name")
        call_id = calls.called(optional_text_at(call.get("id"), f"{place}.{kind}.id"), name)
        arguments = _encoder.encode(object_field(call, "args") or {}).decode()
        own = "" if signature.startswith(MARK_IN_BASE64) else marked("gemini", signature)
        blocks.append(ToolCall(call_id, name, arguments, own))
        return
    if kind != "text":
        raise NotTranslatable(f"{place}.{kind}", TOWARDS)
    text = optional_text_at(part.get("text"), f"{place}.text")
    last = blocks[-1] if blocks else None
    if flag_in(part, "thought"):
        thought = thought_told(signature, text)
        if isinstance(last, Thinking) and not last.signature and not thought.is_redacted:
            blocks[-1] = Thinking(last.text + thought.text, thought.signature)
        else:
            blocks.append(thought)
        return
    if isinstance(last, Text):
        blocks[-1] = replace(last, text=last.text + text)
    elif text:
        blocks.append(Text(text))
    if signature:
        # The signature of all thoughts before may come with the words that follow them.
        blocks.append(thought_told(signature, ""))


def _kind(part: Mapping[str, Any], place: str) -> str:
    """Which data a part holds. Raises NotTranslatable for what only Google has a word for."""
    names = [name for name, value in part.items() if value is not None and name not in _BESIDE]
    unknown = next((name for name in names if name not in _DATA), None)
    if unknown is not None:
        raise NotTranslatable(f"{place}.{unknown[:40]}", TOWARDS)
    if len(names) != 1:
        raise Invalid(f"{place} must hold exactly one of {', '.join(_DATA)}", field=place)
    return names[0]


def _result(answer: Mapping[str, Any], calls: _Calls, place: str) -> ToolResult:
    name = name_at(answer.get("name"), f"{place}.name")
    call_id = calls.answered(optional_text_at(answer.get("id"), f"{place}.id"), name)
    if not call_id:
        raise NotTranslatable(f"{place} without the call it answers", TOWARDS)
    refuse_others(answer, ("id", "name", "response", "parts"), place)
    text, is_error = _response_text(object_field(answer, "response") or {})
    media = []
    for number, part in enumerate(objects_in(answer, "parts")):
        refuse_others(part, ("inlineData", "fileData"), f"{place}.parts[{number}]")
        media.append(_media(part, f"{place}.parts[{number}]"))
    shown = [each for each in media if not isinstance(each, Audio)]
    if len(shown) != len(media):
        raise NotTranslatable(f"{place}.parts: audio", TOWARDS)
    return ToolResult(call_id, (Text(text), *shown), is_error=is_error, name=name)


def _response_text(response: Mapping[str, Any]) -> tuple[str, bool]:
    """What a function answered, and whether that it failed: Google's words for both are `output` and `error`, its
    SDK's `result` and `error`."""
    if len(response) == 1:
        (name, value), *_ = response.items()
        if name in ("output", "result", "error"):
            text = value if isinstance(value, str) else _encoder.encode(value).decode()
            return text, name == "error"
    return _encoder.encode(response).decode(), False


def _media(part: Mapping[str, Any], place: str) -> Image | File | Audio:
    kind = "inlineData" if part.get("inlineData") is not None else "fileData"
    place = f"{place}.{kind}"
    given = object_at(part.get(kind), place)
    refuse_others(given, ("mimeType", "displayName", "data" if kind == "inlineData" else "fileUri"), place)
    media_type = optional_text_at(given.get("mimeType"), f"{place}.mimeType").lower().partition(";")[0].strip()
    family, _, form = media_type.partition("/")
    name = optional_text_at(given.get("displayName"), f"{place}.displayName")
    if kind == "fileData":
        url = text_at(given.get("fileUri"), f"{place}.fileUri")
        if not url.startswith(("https://", "http://")) or "googleapis.com/" in url or family in ("audio", "video"):
            # A file that Google keeps, and that no other vendor can fetch, or a film.
            raise NotTranslatable(f"{place}.fileUri", TOWARDS)
        return Image(url=url) if family == "image" else File(media_type or "application/pdf", url=url, name=name)
    data = standard_base64(text_at(given.get("data"), f"{place}.data"))
    if family == "image":
        return Image(media_type, data)
    if family == "audio":
        return Audio(data, _SOUNDS.get(form, form))
    if family == "video" or not media_type:
        raise NotTranslatable(f"{place}.mimeType {media_type[:40]!r}", TOWARDS)
    return File(media_type, data, name=name)
