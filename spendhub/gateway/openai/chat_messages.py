"""The messages of a chat completion request in no vendor's words.

System and developer messages are told first, wherever they stood: other vendors have one place for them.
Tool messages that follow each other become one turn of the user.
Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import (
    Audio,
    Block,
    File,
    Image,
    Message,
    NotTranslatable,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import TOWARDS, refuse_others
from spendhub.gateway.request_bodies import (
    data_url_parts,
    list_at,
    name_at,
    object_at,
    objects_in,
    optional_text_at,
    text_at,
)

# What we read of a message, and what SDKs, models and proxies write down beside it that changes no answer.
_MESSAGE = frozenset(
    ("role", "content", "name", "refusal", "tool_calls", "tool_call_id", "function_call", "audio", "thinking_blocks",
     "reasoning_content", "reasoning", "reasoning_details", "annotations", "parsed", "provider_specific_fields")
)  # fmt: skip
_CALL = frozenset(("id", "type", "function", "index", "extra_content", "provider_specific_fields"))
_FUNCTION = ("name", "arguments", "parsed_arguments")
_THOUGHT = ("type", "thinking", "signature", "data", "index")
# Of every part: where a vendor's prompt cache may begin, in the words of other vendors' clients and of OpenAI's own.
_CACHE_POINTS = ("cache_control", "prompt_cache_breakpoint")


def read_messages(given: Sequence[Mapping[str, Any]]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """System texts and turns. Raises NotTranslatable or Invalid, naming the place."""
    return _Reading().read(given)


class _Reading:
    def __init__(self) -> None:
        self._system: list[Text] = []
        self._turns: list[Message] = []
        self._names: dict[str, str] = {}
        self._results: list[Block] = []
        self._legacy_calls = 0

    def read(self, given: Sequence[Mapping[str, Any]]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
        for position, message in enumerate(given):
            self._take(message, f"messages[{position}]")
        self._end_results()
        return tuple(self._system), tuple(self._turns)

    def _take(self, message: Mapping[str, Any], place: str) -> None:
        role = message.get("role")
        content = message.get("content")
        refuse_others(message, _MESSAGE, place)
        if role in ("tool", "function"):
            self._results.append(self._result(message, place))
            return
        self._end_results()
        if role in ("system", "developer"):
            self._system += _texts(content, f"{place}.content")
        elif role == "user":
            self._turns.append(Message("user", tuple(_user_parts(content, f"{place}.content"))))
        elif role == "assistant":
            self._turns.append(Message("assistant", tuple(self._said(message, place))))
        else:
            raise Invalid(
                f"{place}.role must be system, developer, user, assistant, tool or function", field=f"{place}.role"
            )

    def _end_results(self) -> None:
        if self._results:
            self._turns.append(Message("user", tuple(self._results)))
            self._results = []

    def _result(self, message: Mapping[str, Any], place: str) -> ToolResult:
        if message.get("role") == "function":
            name = name_at(message.get("name"), f"{place}.name")
            call_id = next((id for id, known in reversed(self._names.items()) if known == name), f"call_{name}")
        else:
            call_id = name_at(message.get("tool_call_id"), f"{place}.tool_call_id")
            name = self._names.get(call_id, "")
        return ToolResult(call_id, tuple(_texts(message.get("content"), f"{place}.content")), name=name)

    def _said(self, message: Mapping[str, Any], place: str) -> list[Block]:
        if message.get("audio") is not None:
            raise NotTranslatable(f"{place}.audio", TOWARDS)
        blocks: list[Block] = [_thought(each, place) for each in objects_in(message, "thinking_blocks")]
        blocks += _assistant_parts(message.get("content"), f"{place}.content")
        refusal = optional_text_at(message.get("refusal"), f"{place}.refusal")
        if refusal:
            blocks.append(Refusal(refusal))
        for position, call in enumerate(objects_in(message, "tool_calls")):
            blocks.append(self._call(call, f"{place}.tool_calls[{position}]"))
        legacy = message.get("function_call")
        if legacy is not None:
            self._legacy_calls += 1
            function = object_at(legacy, f"{place}.function_call")
            blocks.append(self._function(function, f"call_{self._legacy_calls}", "", f"{place}.function_call"))
        return blocks

    def _call(self, call: Mapping[str, Any], place: str) -> ToolCall:
        kind = call.get("type", "function")
        if kind != "function":
            raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
        refuse_others(call, _CALL, place)
        call_id = name_at(call.get("id"), f"{place}.id")
        function = object_at(call.get("function"), f"{place}.function")
        return self._function(function, call_id, _signature(call), f"{place}.function")

    def _function(self, function: Mapping[str, Any], call_id: str, signature: str, place: str) -> ToolCall:
        refuse_others(function, _FUNCTION, place)
        name = name_at(function.get("name"), f"{place}.name")
        self._names[call_id] = name
        return ToolCall(call_id, name, optional_text_at(function.get("arguments"), f"{place}.arguments"), signature)


def _signature(call: Mapping[str, Any]) -> str:
    """What Gemini signed its call with, where the client has kept it."""
    found: Any = call
    for name in ("extra_content", "google", "thought_signature"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _thought(block: Mapping[str, Any], place: str) -> Thinking:
    place = f"{place}.thinking_blocks"
    refuse_others(block, _THOUGHT, place)
    if block.get("type") == "redacted_thinking":
        return Thinking(signature=text_at(block.get("data"), f"{place}.data"), is_redacted=True)
    return Thinking(
        optional_text_at(block.get("thinking"), f"{place}.thinking"),
        optional_text_at(block.get("signature"), f"{place}.signature"),
    )


def _texts(content: Any, place: str) -> list[Text]:
    """Of a role that can only say words."""
    found = []
    for position, part in enumerate(_parts(content, place)):
        if part.get("type") != "text":
            raise NotTranslatable(f"{place}[{position}].type {str(part.get('type'))[:40]!r}", TOWARDS)
        found.append(_text(part, f"{place}[{position}]"))
    return found


def _assistant_parts(content: Any, place: str) -> list[Block]:
    found: list[Block] = []
    for position, part in enumerate(_parts(content, place)):
        if part.get("type") == "refusal":
            refuse_others(part, ("type", "refusal"), f"{place}[{position}]")
            found.append(Refusal(text_at(part.get("refusal"), f"{place}[{position}].refusal")))
        elif part.get("type") == "text":
            found.append(_text(part, f"{place}[{position}]"))
        else:
            raise NotTranslatable(f"{place}[{position}].type {str(part.get('type'))[:40]!r}", TOWARDS)
    return found


def _user_parts(content: Any, place: str) -> list[Block]:
    if content is None:
        raise Invalid(f"{place} must be a text or a list of parts", field=place)
    return [_user_part(part, f"{place}[{position}]") for position, part in enumerate(_parts(content, place))]


def _user_part(part: Mapping[str, Any], place: str) -> Block:
    kind = part.get("type")
    if kind == "text":
        return _text(part, place)
    if kind not in ("image_url", "input_audio", "file"):
        raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
    refuse_others(part, ("type", kind, *_CACHE_POINTS), place)
    is_cache_point = marks_cache(part)
    place = f"{place}.{kind}"
    given = object_at(part.get(kind), place)
    if kind == "image_url":
        refuse_others(given, ("url", "detail"), place)
        detail = optional_text_at(given.get("detail"), f"{place}.detail")
        return image_of(text_at(given.get("url"), f"{place}.url"), detail, is_cache_point=is_cache_point)
    if kind == "input_audio":
        refuse_others(given, ("data", "format"), place)
        return Audio(text_at(given.get("data"), f"{place}.data"), text_at(given.get("format"), f"{place}.format"))
    refuse_others(given, ("file_data", "filename"), place)
    name = optional_text_at(given.get("filename"), f"{place}.filename")
    return file_of(text_at(given.get("file_data"), f"{place}.file_data"), name, is_cache_point=is_cache_point)


def _text(part: Mapping[str, Any], place: str) -> Text:
    refuse_others(part, ("type", "text", *_CACHE_POINTS), place)
    return Text(text_at(part.get("text"), f"{place}.text"), is_cache_point=marks_cache(part))


def marks_cache(part: Mapping[str, Any]) -> bool:
    """Whether a vendor's prompt cache may hold what comes up to this part."""
    return any(part.get(name) for name in _CACHE_POINTS)


def _parts(content: Any, place: str) -> list[Mapping[str, Any]]:
    """Content as parts: a text is one, an empty one none."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [object_at(part, f"{place}[{position}]") for position, part in enumerate(list_at(content, place))]


def image_of(url: str, detail: str = "", *, is_cache_point: bool = False) -> Image:
    """A picture by its address, which may hold the picture itself."""
    inline = data_url_parts(url)
    if inline is None:
        return Image(url=url, detail=detail, is_cache_point=is_cache_point)
    return Image(media_type=inline[0], data=inline[1], detail=detail, is_cache_point=is_cache_point)


def file_of(data: str, name: str, *, is_cache_point: bool = False) -> File:
    """A document in a `data:` URL, or as bare base64: a PDF then."""
    inline = data_url_parts(data)
    if inline is None:
        return File(media_type="application/pdf", data=data, name=name, is_cache_point=is_cache_point)
    return File(media_type=inline[0], data=inline[1], name=name, is_cache_point=is_cache_point)
