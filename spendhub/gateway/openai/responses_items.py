"""The input items of a responses request in no vendor's words.

Items that follow each other on one side become one turn. System and developer messages are told first, wherever
they stood: other vendors have one place for them. Source: OpenAI's API reference, "Create a model response", `input`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.conversation import (
    Audio,
    Block,
    File,
    Image,
    Message,
    NotTranslatable,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import TOWARDS, refuse_others
from spendhub.gateway.openai.chat_messages import file_of, image_of, marks_cache
from spendhub.gateway.openai.sealed_thoughts import unsealed
from spendhub.gateway.request_bodies import (
    list_at,
    name_at,
    object_at,
    objects_in,
    optional_text_at,
    text_at,
)

# What we read of an item, and what OpenAI and its SDK write down beside it that changes no answer.
_OF_EVERY_ITEM = ("type", "id", "status")
_MESSAGE = (*_OF_EVERY_ITEM, "role", "content", "phase")
_CALL = (*_OF_EVERY_ITEM, "call_id", "name", "arguments", "parsed_arguments", "signature")
_RESULT = (*_OF_EVERY_ITEM, "call_id", "output")
_REASONING = (*_OF_EVERY_ITEM, "summary", "encrypted_content", "content")
# That the model has called a tool itself, and no program of the vendor's.
_DIRECT = {"type": "direct"}
_TEXT = ("type", "text", "prompt_cache_breakpoint", "annotations", "logprobs", "parsed")


def read_input(given: Any) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """System texts and turns. Raises NotTranslatable or Invalid, naming the place."""
    if isinstance(given, str):
        return (), (Message("user", (Text(given),)),)
    reading = _Reading()
    for position, item in enumerate(list_at(given, "input")):
        reading.take(object_at(item, f"input[{position}]"), f"input[{position}]")
    return tuple(reading.system), tuple(Message(role, tuple(blocks)) for role, blocks in reading.turns)


class _Reading:
    def __init__(self) -> None:
        self.system: list[Text] = []
        self.turns: list[tuple[Role, list[Block]]] = []
        self._names: dict[str, str] = {}
        self._may_join = False  # whether the next item can be part of the last turn

    def take(self, item: Mapping[str, Any], place: str) -> None:
        kind = item.get("type")
        if kind == "message" or (kind is None and "role" in item):
            self._message(item, place)
        elif kind == "function_call":
            refuse_others(item, _with_caller(item, _CALL), place)
            call_id = name_at(item.get("call_id"), f"{place}.call_id")
            self._names[call_id] = name = name_at(item.get("name"), f"{place}.name")
            arguments = optional_text_at(item.get("arguments"), f"{place}.arguments")
            signature = optional_text_at(item.get("signature"), f"{place}.signature")
            self._add("assistant", ToolCall(call_id, name, arguments, signature))
        elif kind == "function_call_output":
            refuse_others(item, _with_caller(item, _RESULT), place)
            call_id = name_at(item.get("call_id"), f"{place}.call_id")
            content = _shown(item.get("output"), f"{place}.output")
            self._add("user", ToolResult(call_id, tuple(content), name=self._names.get(call_id, "")))
        elif kind == "reasoning":
            self._reasoning(item, place)
        else:
            raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        refuse_others(item, _MESSAGE, place)
        role, content = item.get("role"), item.get("content")
        place = f"{place}.content"
        if role in ("system", "developer"):
            for block in _shown(content, place):
                if not isinstance(block, Text):
                    raise NotTranslatable(f"{place}: {type(block).__name__.lower()}s from {role}", TOWARDS)
                self.system.append(block)
        elif role == "user":
            self.turns.append(("user", list(_asked(content, place))))
            self._may_join = False
        elif role == "assistant":
            self._add("assistant", *_said(content, place))
        else:
            raise Invalid(f"{place} must be of system, developer, user or assistant", field=place)

    def _reasoning(self, item: Mapping[str, Any], place: str) -> None:
        refuse_others(item, _REASONING, place)
        sealed = optional_text_at(item.get("encrypted_content"), f"{place}.encrypted_content")
        parts = objects_in(item, "summary")
        text = "\n\n".join(text_at(part.get("text"), f"{place}.summary.text") for part in parts)
        # What OpenAI has encrypted nobody else can read, and thoughts without a signature no vendor takes back.
        thought = unsealed(sealed, text)
        if thought is not None:
            self._add("assistant", thought)

    def _add(self, role: Role, *blocks: Block) -> None:
        if not (self._may_join and self.turns and self.turns[-1][0] == role):
            self.turns.append((role, []))
        self.turns[-1][1].extend(blocks)
        self._may_join = True


def _with_caller(item: Mapping[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    return (*known, "caller") if item.get("caller") == _DIRECT else known


def _said(content: Any, place: str) -> list[Block]:
    found: list[Block] = []
    for position, part in enumerate(_parts(content, place)):
        inner = f"{place}[{position}]"
        if part.get("type") == "refusal":
            refuse_others(part, ("type", "refusal"), inner)
            found.append(Refusal(text_at(part.get("refusal"), f"{inner}.refusal")))
        elif part.get("type") in ("output_text", "input_text"):
            found.append(_text(part, inner))
        else:
            raise NotTranslatable(f"{inner}.type {str(part.get('type'))[:40]!r}", TOWARDS)
    return found


def _asked(content: Any, place: str) -> list[Block]:
    found: list[Block] = []
    for position, part in enumerate(_parts(content, place)):
        inner = f"{place}[{position}]"
        if part.get("type") == "input_audio":
            refuse_others(part, ("type", "input_audio", "prompt_cache_breakpoint"), inner)
            sound = object_at(part.get("input_audio"), f"{inner}.input_audio")
            data = text_at(sound.get("data"), f"{inner}.input_audio.data")
            found.append(Audio(data, text_at(sound.get("format"), f"{inner}.input_audio.format")))
        else:
            found.append(_part(part, inner))
    return found


def _shown(content: Any, place: str) -> list[Text | Image | File]:
    return [_part(part, f"{place}[{position}]") for position, part in enumerate(_parts(content, place))]


def _part(part: Mapping[str, Any], place: str) -> Text | Image | File:
    if part.get("file_id") is not None:
        raise NotTranslatable(f"{place}.file_id", TOWARDS)
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return _text(part, place)
        case "input_image":
            refuse_others(part, ("type", "image_url", "detail", "prompt_cache_breakpoint"), place)
            detail = optional_text_at(part.get("detail"), f"{place}.detail")
            url = text_at(part.get("image_url"), f"{place}.image_url")
            return image_of(url, detail, is_cache_point=marks_cache(part))
        case "input_file":
            known = ("type", "filename", "file_data", "file_url", "detail", "prompt_cache_breakpoint")
            refuse_others(part, known, place)
            return _file(part, place)
        case other:
            raise NotTranslatable(f"{place}.type {str(other)[:40]!r}", TOWARDS)


def _file(part: Mapping[str, Any], place: str) -> File:
    name, is_cache_point = optional_text_at(part.get("filename"), f"{place}.filename"), marks_cache(part)
    if part.get("file_url") is None:
        return file_of(text_at(part.get("file_data"), f"{place}.file_data"), name, is_cache_point=is_cache_point)
    url = text_at(part["file_url"], f"{place}.file_url")
    return File("application/pdf", url=url, name=name, is_cache_point=is_cache_point)


def _text(part: Mapping[str, Any], place: str) -> Text:
    refuse_others(part, _TEXT, place)
    return Text(text_at(part.get("text"), f"{place}.text"), is_cache_point=marks_cache(part))


def _parts(content: Any, place: str) -> list[Mapping[str, Any]]:
    """Content as parts: a text is one, an empty one none."""
    if content is None:
        raise Invalid(f"{place} must be a text or a list of parts", field=place)
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}] if content else []
    return [object_at(part, f"{place}[{position}]") for position, part in enumerate(list_at(content, place))]
