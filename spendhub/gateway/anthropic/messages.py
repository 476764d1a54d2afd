"""POST /v1/messages: how a client of Anthropic's messages asks and is answered.

What we must know of a request is checked here; all else goes to a vendor of the same wire untouched.
Source: Anthropic's API reference, "Create a message".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from routing.conversation import Conversation, Reply
from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.request import LEAST_THINKING_TOKENS
from routing.upstreams.anthropic.thinking import edits_without_thinking
from routing.upstreams.base import MESSAGES, UsageReader, Wire
from routing.upstreams.json_objects import objects_among
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.anthropic.errors import error_answer, error_event
from spendhub.gateway.anthropic.messages_conversation import OWN_NAMES, messages_conversation
from spendhub.gateway.anthropic.messages_passing import MessagesPassing
from spendhub.gateway.anthropic.messages_writing import MessagesWriting, message
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames
from spendhub.gateway.request_bodies import (
    flag_in,
    model_in,
    object_field,
    object_in,
    objects_in,
    some_objects_in,
    whole_in,
)

_NEEDS_OF_BLOCKS = {"image": "vision", "document": "files", "container_upload": "files"}
_NO_THINKING = {"thinking": {"type": "disabled"}}


class MessagesDialect:
    """Anthropic's messages."""

    wire: Wire = MESSAGES
    own_names: OwnNames = OWN_NAMES

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        return parse_messages(raw, needs_limit=True)

    def needs(self, request: CallRequest) -> frozenset[str]:
        """See ClientDialect."""
        body = request.body
        found = {"streaming"} if request.is_stream else set()
        if body.get("tools"):
            found.add("tools")
        thinking = body.get("thinking")
        if isinstance(thinking, dict) and thinking.get("type") != "disabled":
            found.add("reasoning")
        if _config(body).get("effort") not in (None, "none"):
            found.add("reasoning")
        if _wanted_format(body):
            found.add("json")
        for block in _blocks(body):
            kind = str(block.get("type"))
            # `server_tool_use`, `web_search_tool_result` ... as well.
            need = "tools" if kind.endswith(("tool_use", "tool_result")) else _NEEDS_OF_BLOCKS.get(kind)
            if need:
                found.add(need)
        return frozenset(found)

    def text(self, request: CallRequest) -> str:
        """See ClientDialect."""
        return "\n".join(text for text in _texts(request.body) if text)

    def conversation(self, request: CallRequest) -> Conversation:
        """See ClientDialect. docs/gateway.md, "Across dialects", lists what is refused and what is dropped."""
        return messages_conversation(request.body)

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """See ClientDialect. A choice of a tool that is gone goes with it."""
        body = dict(request.body)
        if body.get("tools"):
            body["tools"] = [tool for tool in body["tools"] if str(tool.get("name")) not in names]
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and str(choice.get("name")) in names:
            del body["tool_choice"]
        if body.get("tools") == []:
            del body["tools"]
            body.pop("tool_choice", None)
        return replace(request, body=body, tools=tuple(name for name in request.tools if name not in names))

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """See ClientDialect."""
        if tokens == request.max_output_tokens:
            return request
        limit = max(1, tokens)
        thinking = _thinking_within(limit, request.body)
        body = {**request.body, "max_tokens": limit, **thinking}
        if thinking == _NO_THINKING:
            body = edits_without_thinking(body)
        return replace(request, body=body, max_output_tokens=limit)

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """See ClientDialect."""
        return message(reply, model)

    def passing(self, request: CallRequest) -> StreamOut:
        """See ClientDialect."""
        return MessagesPassing()

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """See ClientDialect."""
        return MessagesWriting(reader, model)

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect."""
        return error_answer(error)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return error_event(error)


MESSAGES_DIALECT = MessagesDialect()


def _thinking_within(limit: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of `thinking` under a limit that is lower than the client's own: its budget has to be below it.
    Source: Anthropic's guide to extended thinking."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or not isinstance(thinking.get("budget_tokens"), int):
        return {}
    if thinking["budget_tokens"] < limit:
        return {}
    if limit <= LEAST_THINKING_TOKENS:
        return _NO_THINKING
    return {"thinking": {**thinking, "budget_tokens": limit - 1}}


def parse_messages(raw: bytes, *, needs_limit: bool) -> CallRequest:
    """The request in `raw`. `needs_limit`: without `max_tokens`, which this API demands, it is refused."""
    body = object_in(raw)
    model = model_in(body)
    some_objects_in(body, "messages")
    is_stream = bool(flag_in(body, "stream"))
    # With 0 nothing is said: what comes up to a cache point is put into the prompt cache.
    limit = whole_in(body, "max_tokens", at_least=0)
    if limit is None and needs_limit:
        raise Invalid("max_tokens is required: a whole number from 0", field="max_tokens")
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        objects_in(body, "system")
    metadata = object_field(body, "metadata") or {}
    return CallRequest(
        wire=MESSAGES,
        body=body,
        model=model,
        is_stream=is_stream,
        max_output_tokens=limit,
        tools=tuple(str(tool["name"]) for tool in objects_in(body, "tools") if "name" in tool),
        user=metadata.get("user_id"),
        metadata=metadata,
    )


def _config(body: dict[str, Any]) -> dict[str, Any]:
    config = body.get("output_config")
    return config if isinstance(config, dict) else {}


def _wanted_format(body: dict[str, Any]) -> Any:
    return body.get("output_format") or _config(body).get("format")


def _blocks(body: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Blocks of all messages, those that tools answered with, and those that documents are made of."""
    for turn in body["messages"]:
        for block in objects_among(turn.get("content")):
            yield block
            for inner in _inside(block):
                yield inner
                if inner.get("type") == "document":
                    yield from _inside(inner)


def _inside(block: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    kind = block.get("type")
    if kind == "tool_result":
        return objects_among(block.get("content"))
    is_made_of_them = kind == "document" and isinstance(block.get("source"), dict)
    return objects_among(block["source"].get("content")) if is_made_of_them else ()


def _texts(body: dict[str, Any]) -> Iterator[str]:
    for said in (body.get("system"), *(turn.get("content") for turn in body["messages"])):
        if isinstance(said, str):
            yield said
        elif isinstance(said, list):
            yield from (each["text"] for each in said if isinstance(each, dict) and isinstance(each.get("text"), str))
