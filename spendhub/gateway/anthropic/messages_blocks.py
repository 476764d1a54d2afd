"""The messages of a messages request, and their content blocks, in no vendor's words.

Source: Anthropic's API reference, "Create a message", the content block types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from routing.conversation import Block, File, Image, Message, NotTranslatable, Text, Thinking, ToolCall, ToolResult
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import TOWARDS, refuse_others
from spendhub.gateway.request_bodies import (
    flag_in,
    list_at,
    name_at,
    object_at,
    object_field,
    optional_text_at,
    text_at,
)

# Of a message; what the system says among them is never cleared away, unless it is asked for.
_MESSAGE = ("role", "content")
_SYSTEM_MESSAGE = (*_MESSAGE, "clear_at")
# What we read of a block, and what its SDK writes down beside it that changes no answer.
_TEXT = ("type", "text", "cache_control", "citations", "parsed_output")
_IMAGE = ("type", "source", "cache_control")
_DOCUMENT = ("type", "source", "title", "context", "citations", "cache_control")
_CALL = ("type", "id", "name", "input", "cache_control", "signature")
_RESULT = ("type", "tool_use_id", "content", "is_error", "cache_control")
_SOURCE = ("type", "media_type", "data", "url", "content")
# What every vendor does with a picture that is too large; and that the model has called a tool itself.
_SAYS_NOTHING: Mapping[str, Any] = {"transformations": {"oversized_image": "downsize"}, "caller": {"type": "direct"}}
_encoder = msgspec.json.Encoder()


def read_system(given: Any, place: str) -> tuple[Text, ...]:
    """The system prompt: a text, or text blocks."""
    found = []
    for inner, block in _blocks(given, place):
        if block.get("type") != "text":
            raise _not_said(block, inner)
        found.append(_text(block, inner))
    return tuple(found)


def read_messages(given: Sequence[Mapping[str, Any]]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """What the system says among them, and the turns. Raises NotTranslatable or Invalid, naming the place."""
    system: list[Text] = []
    turns: list[Message] = []
    names: dict[str, str] = {}
    for position, message in enumerate(given):
        place = f"messages[{position}]"
        role, content = message.get("role"), message.get("content")
        refuse_others(message, _SYSTEM_MESSAGE if message.get("clear_at") == "never" else _MESSAGE, place)
        if content is None:
            raise Invalid(f"{place}.content must be a text or a list of blocks", field=f"{place}.content")
        blocks = list(_blocks(content, f"{place}.content"))
        if role == "user":
            said = [each for inner, block in blocks for each in _asked(block, names, inner)]
            turns.append(Message("user", tuple(said)))
        elif role == "assistant":
            turns.append(Message("assistant", tuple(_said(block, names, inner) for inner, block in blocks)))
        elif role == "system":
            system += read_system(content, f"{place}.content")
        else:
            raise Invalid(f"{place}.role must be user, assistant or system", field=f"{place}.role")
    return tuple(system), tuple(turns)


def _asked(block: Mapping[str, Any], names: Mapping[str, str], place: str) -> Iterator[Block]:
    if block.get("type") == "tool_result":
        call_id = name_at(block.get("tool_use_id"), f"{place}.tool_use_id")
        content = [each for inner, part in _blocks(block.get("content"), f"{place}.content")
                   for each in _shown(part, inner)]  # fmt: skip
        _refuse_others(block, _RESULT, place)
        yield ToolResult(
            call_id, tuple(content), is_error=bool(flag_in(block, "is_error")), name=names.get(call_id, ""),
            is_cache_point=_marks_cache(block),
        )  # fmt: skip
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
            _refuse_others(block, _CALL, place)
            signature = optional_text_at(block.get("signature"), f"{place}.signature")
            return ToolCall(call_id, name, arguments, signature, is_cache_point=_marks_cache(block))
        case _:
            raise _not_said(block, place)


def _text(block: Mapping[str, Any], place: str) -> Text:
    _refuse_others(block, _TEXT, place)
    return Text(text_at(block.get("text"), f"{place}.text"), is_cache_point=_marks_cache(block))


def _marks_cache(block: Mapping[str, Any]) -> bool:
    return bool(block.get("cache_control"))


def _refuse_others(block: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    harmless = [name for name, value in _SAYS_NOTHING.items() if block.get(name) == value]
    refuse_others(block, (*known, *harmless), place)


def _image(block: Mapping[str, Any], place: str) -> Image:
    _refuse_others(block, _IMAGE, place)
    is_cache_point = _marks_cache(block)
    place = f"{place}.source"
    source = object_at(block.get("source"), place)
    refuse_others(source, (*_SOURCE, "file_id"), place)
    match source.get("type"):
        case "base64":
            media_type = text_at(source.get("media_type"), f"{place}.media_type")
            data = text_at(source.get("data"), f"{place}.data")
            return Image(media_type=media_type, data=data, is_cache_point=is_cache_point)
        case "url":
            return Image(url=text_at(source.get("url"), f"{place}.url"), is_cache_point=is_cache_point)
        case other:
            raise NotTranslatable(f"{place}.type {str(other)[:40]!r}", TOWARDS)


def _document(block: Mapping[str, Any], place: str) -> Iterator[Text | Image | File]:
    _refuse_others(block, _DOCUMENT, place)
    citations = object_field(block, "citations")
    if citations is not None and citations.get("enabled"):
        raise NotTranslatable(f"{place}.citations", TOWARDS)
    name = optional_text_at(block.get("title"), f"{place}.title")
    context = optional_text_at(block.get("context"), f"{place}.context")
    if context:
        yield Text(context)
    mark = _marks_cache(block)
    place = f"{place}.source"
    source = object_at(block.get("source"), place)
    refuse_others(source, (*_SOURCE, "file_id"), place)
    match source.get("type"):
        case "base64":
            media_type = text_at(source.get("media_type"), f"{place}.media_type")
            data = text_at(source.get("data"), f"{place}.data")
            yield File(media_type=media_type, data=data, name=name, is_cache_point=mark)
        case "text":
            text = text_at(source.get("data"), f"{place}.data")
            yield File(media_type="text/plain", text=text, name=name, is_cache_point=mark)
        case "url":
            url = text_at(source.get("url"), f"{place}.url")
            yield File(media_type="application/pdf", url=url, name=name, is_cache_point=mark)
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
