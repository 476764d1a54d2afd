"""The messages of a messages request, and their content blocks, in no vendor's words.

Source: Anthropic's API reference, "Create a message", the content block types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from routing.conversation import Block, File, Image, Message, NotTranslatable, Text, Thinking, ToolCall, ToolResult
from spendhub.errors import Invalid
from spendhub.gateway.request_bodies import (
    flag_in,
    list_at,
    name_at,
    object_at,
    object_field,
    optional_text_at,
    text_at,
)

TOWARDS = "another dialect"
_encoder = msgspec.json.Encoder()


def read_system(given: Any, place: str) -> tuple[Text, ...]:
    """The system prompt: a text, or text blocks."""
    found = []
    for inner, block in _blocks(given, place):
        if block.get("type") != "text":
            raise _not_said(block, inner)
        found.append(_text(block, inner))
    return tuple(found)


def read_messages(given: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The turns. Raises NotTranslatable or Invalid, naming the place."""
    turns: list[Message] = []
    names: dict[str, str] = {}
    for position, message in enumerate(given):
        place = f"messages[{position}]"
        role, content = message.get("role"), message.get("content")
        if content is None:
            raise Invalid(f"{place}.content must be a text or a list of blocks", field=f"{place}.content")
        blocks = list(_blocks(content, f"{place}.content"))
        if role == "user":
            said = [each for inner, block in blocks for each in _asked(block, names, inner)]
            turns.append(Message("user", tuple(said)))
        elif role == "assistant":
            turns.append(Message("assistant", tuple(_said(block, names, inner) for inner, block in blocks)))
        else:
            raise Invalid(f"{place}.role must be user or assistant", field=f"{place}.role")
    return tuple(turns)


def _asked(block: Mapping[str, Any], names: Mapping[str, str], place: str) -> Iterator[Block]:
    if block.get("type") == "tool_result":
        call_id = name_at(block.get("tool_use_id"), f"{place}.tool_use_id")
        content = [each for inner, part in _blocks(block.get("content"), f"{place}.content")
                   for each in _shown(part, inner)]  # fmt: skip
        is_error = bool(flag_in(block, "is_error"))
        yield ToolResult(call_id, tuple(content), is_error=is_error, name=names.get(call_id, ""))
    else:
        yield from _shown(block, place)


def _shown(block: Mapping[str, Any], place: str) -> Iterator[Text | Image | File]:
    match block.get("type"):
        case "text":
            yield _text(block, place)
        case "image":
            yield _image(block, place)
        case "document":
            yield from _document(block, place)
        case _:
            raise _not_said(block, place)


def _said(block: Mapping[str, Any], names: dict[str, str], place: str) -> Block:
    match block.get("type"):
        case "text":
            return _text(block, place)
        case "thinking":
            thought = optional_text_at(block.get("thinking"), f"{place}.thinking")
            return Thinking(thought, optional_text_at(block.get("signature"), f"{place}.signature"))
        case "redacted_thinking":
            return Thinking(signature=text_at(block.get("data"), f"{place}.data"), is_redacted=True)
        case "tool_use":
            call_id = name_at(block.get("id"), f"{place}.id")
            names[call_id] = name = name_at(block.get("name"), f"{place}.name")
            arguments = _encoder.encode(object_field(block, "input") or {}).decode()
            return ToolCall(call_id, name, arguments, optional_text_at(block.get("signature"), f"{place}.signature"))
        case _:
            raise _not_said(block, place)


def _text(block: Mapping[str, Any], place: str) -> Text:
    return Text(text_at(block.get("text"), f"{place}.text"), is_cache_point=bool(block.get("cache_control")))


def _image(block: Mapping[str, Any], place: str) -> Image:
    place = f"{place}.source"
    source = object_at(block.get("source"), place)
    match source.get("type"):
        case "base64":
            media_type = text_at(source.get("media_type"), f"{place}.media_type")
            return Image(media_type=media_type, data=text_at(source.get("data"), f"{place}.data"))
        case "url":
            return Image(url=text_at(source.get("url"), f"{place}.url"))
        case other:
            raise NotTranslatable(f"{place}.type {str(other)[:40]!r}", TOWARDS)


def _document(block: Mapping[str, Any], place: str) -> Iterator[Text | Image | File]:
    citations = object_field(block, "citations")
    if citations is not None and citations.get("enabled"):
        raise NotTranslatable(f"{place}.citations", TOWARDS)
    name = optional_text_at(block.get("title"), f"{place}.title")
    context = optional_text_at(block.get("context"), f"{place}.context")
    if context:
        yield Text(context)
    place = f"{place}.source"
    source = object_at(block.get("source"), place)
    match source.get("type"):
        case "base64":
            media_type = text_at(source.get("media_type"), f"{place}.media_type")
            yield File(media_type=media_type, data=text_at(source.get("data"), f"{place}.data"), name=name)
        case "text":
            yield File(media_type="text/plain", text=text_at(source.get("data"), f"{place}.data"), name=name)
        case "url":
            yield File(media_type="application/pdf", url=text_at(source.get("url"), f"{place}.url"), name=name)
        case "content":
            for inner, part in _blocks(source.get("content"), f"{place}.content"):
                if part.get("type") not in ("text", "image"):
                    raise _not_said(part, inner)
                yield from _shown(part, inner)
        case other:
            raise NotTranslatable(f"{place}.type {str(other)[:40]!r}", TOWARDS)


def _blocks(content: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Content as blocks, each with its place: a text is one, an empty one none."""
    if content is None or content == "":
        return
    if isinstance(content, str):
        yield place, {"type": "text", "text": content}
        return
    for position, block in enumerate(list_at(content, place)):
        yield f"{place}[{position}]", object_at(block, f"{place}[{position}]")


def _not_said(block: Mapping[str, Any], place: str) -> NotTranslatable:
    return NotTranslatable(f"{place}.type {str(block.get('type'))[:40]!r}", TOWARDS)
