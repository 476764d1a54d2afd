"""POST /v1/responses: how a client of OpenAI's responses asks and is answered.

What we must know of a request is checked here; all else goes to a vendor of the same wire untouched.
Source: OpenAI's API reference, "Create a model response".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from routing.conversation import Conversation, Reply, beside_words
from routing.model_facts import ModelFacts
from routing.upstreams.base import RESPONSES, UsageReader, Wire
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames
from spendhub.gateway.openai.errors import error_answer, typed_error_event
from spendhub.gateway.openai.responses_conversation import OWN_NAMES, responses_conversation, wants_logprobs
from spendhub.gateway.openai.responses_objects import response
from spendhub.gateway.openai.responses_passing import ResponsesPassing
from spendhub.gateway.openai.responses_writing import ResponsesWriting
from spendhub.gateway.request_bodies import flag_in, model_in, object_field, object_in, objects_in, whole_in

_NEEDS_OF_PARTS = {"input_image": "vision", "input_file": "files", "input_audio": "audio"}
# Where the vendor keeps what was said before, this request may say nothing more.
_SAYS_INPUT_ELSEWHERE = ("prompt", "previous_response_id", "conversation")
_WITHOUT_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


class ResponsesDialect:
    """OpenAI's responses."""

    wire: Wire = RESPONSES
    own_names: OwnNames = OWN_NAMES

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        body = object_in(raw)
        model = model_in(body)
        _check_input(body)
        _refuse_background(body)
        if body.get("instructions") is not None and not isinstance(body["instructions"], str):
            raise Invalid("instructions must be a text", field="instructions")
        return CallRequest(
            wire=RESPONSES,
            body=body,
            model=model,
            is_stream=bool(flag_in(body, "stream")),
            max_output_tokens=whole_in(body, "max_output_tokens"),
            tools=tuple(name for tool in objects_in(body, "tools") if (name := _tool_name(tool))),
            user=body.get("user"),
            metadata=object_field(body, "metadata"),
        )

    def needs(self, request: CallRequest) -> frozenset[str]:
        """See ClientDialect."""
        body = request.body
        found = {"streaming"} if request.is_stream else set()
        if body.get("tools") or any(map(_tells_of_tools, _items(body))):
            found.add("tools")
        reasoning, text = body.get("reasoning"), body.get("text")
        if isinstance(reasoning, dict) and reasoning.get("effort") not in (None, "none"):
            found.add("reasoning")
        wanted = text.get("format") if isinstance(text, dict) else None
        if isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema"):
            found.add("json")
        for part in _parts(body):
            need = _NEEDS_OF_PARTS.get(str(part.get("type")))
            if need:
                found.add(need)
        return beside_words(request.choices, wants_logprobs=wants_logprobs(body)).union(found)

    def text(self, request: CallRequest) -> str:
        """See ClientDialect."""
        return "\n".join(text for text in _texts(request.body) if text)

    def conversation(self, request: CallRequest) -> Conversation:
        """See ClientDialect. docs/gateway.md, "Across dialects", lists what is refused and what is dropped."""
        return responses_conversation(request.body)

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """See ClientDialect. A choice of a tool that is gone goes with it."""
        body = dict(request.body)
        if body.get("tools"):
            body["tools"] = [tool for tool in body["tools"] if _tool_name(tool) not in names]
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and _tool_name(choice) in names:
            del body["tool_choice"]
        if body.get("tools") == []:
            for field in _WITHOUT_TOOLS:
                body.pop(field, None)
        return replace(request, body=body, tools=tuple(name for name in request.tools if name not in names))

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """See ClientDialect."""
        limit = max(1, tokens)
        return replace(request, body={**request.body, "max_output_tokens": limit}, max_output_tokens=limit)

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """See ClientDialect."""
        return response(reply, request.body, model)

    def passing(self, request: CallRequest) -> StreamOut:
        """See ClientDialect."""
        return ResponsesPassing()

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """See ClientDialect."""
        return ResponsesWriting(reader, request.body, model)

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect."""
        return error_answer(error, RESPONSES)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return typed_error_event(error)


RESPONSES_DIALECT = ResponsesDialect()


def _check_input(body: dict[str, Any]) -> None:
    given = body.get("input")
    if given is None and any(body.get(name) is not None for name in _SAYS_INPUT_ELSEWHERE):
        return
    if isinstance(given, str) and given:
        return
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise Invalid("input must be a text, or a list of at least one object", field="input")


def _refuse_background(body: dict[str, Any]) -> None:
    if flag_in(body, "background"):
        raise Invalid(
            "background must be false: the answer would have to be fetched from the vendor later, past the budgets, "
            "and here it cannot be; stream a long answer instead",
            field="background",
        )


def _tool_name(tool: dict[str, Any]) -> str:
    """Its name; the tools that OpenAI runs itself have none but their type."""
    return str(tool.get("name") or tool.get("type") or "")


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    return given if isinstance(given, list) else []


def _tells_of_tools(item: dict[str, Any]) -> bool:
    """Whether a tool is called in it, or answers: `function_call`, `custom_tool_call_output`, `web_search_call` ..."""
    return str(item.get("type")).endswith(("_call", "_call_output"))


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Parts of all messages, and those that tools answered with."""
    for item in _items(body):
        for name in ("content", "output"):
            parts = item.get(name)
            yield from (part for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ()


def _texts(body: dict[str, Any]) -> Iterator[str]:
    for said in (body.get("instructions"), body.get("input")):
        if isinstance(said, str):
            yield said
    yield from (item["content"] for item in _items(body) if isinstance(item.get("content"), str))
    yield from (part["text"] for part in _parts(body) if isinstance(part.get("text"), str))
