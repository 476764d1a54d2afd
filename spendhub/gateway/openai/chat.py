"""POST /v1/chat/completions: how a client of OpenAI's chat asks and is answered.

What we must know of a request is checked here; all else goes to a vendor of the same wire untouched.
Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from routing.conversation import SPEECH, Conversation, Reply, beside_words
from routing.model_facts import ModelFacts
from routing.upstreams.base import CHAT, UsageReader, Wire
from routing.upstreams.openai.compatible import NEW_LIMIT, OLD_LIMIT, is_known, limit_name
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames
from spendhub.gateway.openai.chat_conversation import OWN_NAMES, chat_conversation, limit_in
from spendhub.gateway.openai.chat_passing import ChatPassing
from spendhub.gateway.openai.chat_writing import ChatWriting, completion
from spendhub.gateway.openai.errors import error_answer, error_event
from spendhub.gateway.request_bodies import (
    flag_in,
    model_in,
    object_field,
    object_in,
    objects_in,
    some_objects_in,
    whole_in,
)

MAX_CHOICES = 128
_NEEDS_OF_PARTS = {"image_url": "vision", "input_audio": "audio", "file": "files"}
_WITHOUT_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


class ChatDialect:
    """OpenAI's chat completions."""

    wire: Wire = CHAT
    own_names: OwnNames = OWN_NAMES

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        body = object_in(raw)
        model = model_in(body)
        some_objects_in(body, "messages")
        is_stream = bool(flag_in(body, "stream"))
        options = object_field(body, "stream_options")
        metadata = object_field(body, "metadata")
        choices = whole_in(body, "n", MAX_CHOICES) or 1
        limit = limit_in(body)
        return CallRequest(
            wire=CHAT,
            body=body,
            model=model,
            is_stream=is_stream,
            wants_usage=bool(options and options.get("include_usage")),
            max_output_tokens=None if limit is None else limit * choices,
            choices=choices,
            tools=tuple(name for _, name in _named_tools(body) if name),
            user=body.get("user"),
            metadata=metadata,
        )

    def needs(self, request: CallRequest) -> frozenset[str]:
        """See ClientDialect."""
        body = request.body
        found = {"streaming"} if request.is_stream else set()
        if body.get("tools") or body.get("functions") or any(map(_tells_of_tools, body["messages"])):
            found.add("tools")
        wanted = body.get("response_format")
        if isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema"):
            found.add("json")
        if body.get("reasoning_effort") not in (None, "none"):
            found.add("reasoning")
        for part in _parts(body):
            need = _NEEDS_OF_PARTS.get(str(part.get("type")))
            if need:
                found.add(need)
        if isinstance(body.get("modalities"), list) and "audio" in body["modalities"]:
            found.update(("audio", SPEECH))
        return beside_words(request.choices, wants_logprobs=body.get("logprobs") is True).union(found)

    def text(self, request: CallRequest) -> str:
        """See ClientDialect."""
        return "\n".join(text for text in _texts(request.body) if text)

    def conversation(self, request: CallRequest) -> Conversation:
        """See ClientDialect. docs/gateway.md, "Across dialects", lists what is refused and what is dropped."""
        return chat_conversation(request.body)

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """See ClientDialect. A choice of a tool that is gone goes with it."""
        body = dict(request.body)
        for field in ("tools", "functions"):
            if body.get(field):
                body[field] = [tool for tool in body[field] if _tool_name(tool, field) not in names]
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and _tool_name(choice, "tools") in names:
            del body["tool_choice"]
        asked = body.get("function_call")
        if isinstance(asked, dict) and str(asked.get("name")) in names:
            del body["function_call"]
        if body.get("tools") == []:
            for field in _WITHOUT_TOOLS:
                body.pop(field, None)
        if body.get("functions") == []:
            body.pop("functions")
            body.pop("function_call", None)
        return replace(request, body=body, tools=tuple(name for name in request.tools if name not in names))

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """See ClientDialect. Each choice gets an equal share, at least one token."""
        each = max(1, tokens // request.choices)
        said = {name: request.body[name] for name in (OLD_LIMIT, NEW_LIMIT) if request.body.get(name) is not None}
        if model is not None and said == {OLD_LIMIT: each} and not is_known(model):
            return replace(request, max_output_tokens=each * request.choices)
        body = {name: value for name, value in request.body.items() if name not in (OLD_LIMIT, NEW_LIMIT)}
        body[NEW_LIMIT if model is None else limit_name(model)] = each
        return replace(request, body=body, max_output_tokens=each * request.choices)

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """See ClientDialect."""
        return completion(reply, model, asked=request.choices, is_legacy=_is_legacy(request))

    def passing(self, request: CallRequest) -> StreamOut:
        """See ClientDialect."""
        return ChatPassing(wants_usage=request.wants_usage)

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """See ClientDialect."""
        is_legacy = _is_legacy(request)
        return ChatWriting(reader, model, wants_usage=request.wants_usage, asked=request.choices, is_legacy=is_legacy)

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect."""
        return error_answer(error, CHAT)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return error_event(error)


CHAT_DIALECT = ChatDialect()


def _is_legacy(request: CallRequest) -> bool:
    """Whether the client offered `functions`, the tools of 2023, and so expects a `function_call`."""
    return bool(request.body.get("functions")) and not request.body.get("tools")


def _named_tools(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for field in ("tools", "functions"):
        for tool in objects_in(body, field):
            yield tool, _tool_name(tool, field)


def _tool_name(tool: dict[str, Any], field: str) -> str:
    """Its name, "" where it has none. A function or custom tool holds it one level down."""
    inner = tool if field == "functions" else tool.get("function") or tool.get("custom")
    return str(inner["name"]) if isinstance(inner, dict) and "name" in inner else ""


def _tells_of_tools(message: dict[str, Any]) -> bool:
    """Whether a tool is called in it, or answers."""
    is_called = bool(message.get("tool_calls") or message.get("function_call"))
    return is_called or message.get("role") in ("tool", "function")


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def _texts(body: dict[str, Any]) -> Iterator[str]:
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
