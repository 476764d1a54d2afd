"""What a chat completion request says, as far as we must know it; all else goes to the vendor untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from spendhub.api.bodies import InvalidJson
from spendhub.errors import Invalid

MAX_TOKENS = 1_000_000_000
MAX_CHOICES = 128
MAX_MODEL_NAME = 200
MAX_DEPTH = 64

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request. `body` is all of it; `max_output_tokens` is over all choices, None when the client set no limit."""

    body: dict[str, Any]
    model: str
    is_stream: bool
    wants_usage: bool
    max_output_tokens: int | None
    choices: int
    tools: tuple[str, ...]


def parse_chat(raw: bytes) -> ChatRequest:
    """The request in `raw`. Raises InvalidJson, or Invalid naming the field that cannot be."""
    try:
        body = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("the body is not valid JSON in UTF-8" if raw else "the body is empty; send JSON") from None
    except RecursionError:
        raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object")
    model = body.get("model")
    if not isinstance(model, str) or not model.strip() or len(model) > MAX_MODEL_NAME:
        raise Invalid(f"model must be the name of a model, 1 to {MAX_MODEL_NAME} characters", field="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise Invalid("messages must be a list of at least one object", field="messages")
    stream, options = body.get("stream"), body.get("stream_options")
    if stream is not None and not isinstance(stream, bool):
        raise Invalid("stream must be true or false", field="stream")
    if options is not None and not isinstance(options, dict):
        raise Invalid("stream_options must be an object", field="stream_options")
    if body.get("metadata") is not None and not isinstance(body["metadata"], dict):
        raise Invalid("metadata must be an object", field="metadata")
    choices = _whole(body, "n", MAX_CHOICES) or 1
    limit = _whole(body, "max_completion_tokens", MAX_TOKENS) or _whole(body, "max_tokens", MAX_TOKENS)
    return ChatRequest(
        body=body,
        model=model.strip(),
        is_stream=bool(stream),
        wants_usage=bool(options and options.get("include_usage")),
        max_output_tokens=None if limit is None else limit * choices,
        choices=choices,
        tools=_tools(body),
    )


def _whole(body: dict[str, Any], name: str, at_most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= at_most:
        raise Invalid(f"{name} must be a whole number from 1 to {at_most}", field=name)
    return value


def _tools(body: dict[str, Any]) -> tuple[str, ...]:
    tools = body.get("tools")
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Invalid("tools must be a list of objects", field="tools")
    functions = (tool.get("function") for tool in tools)
    return tuple(str(function["name"]) for function in functions if isinstance(function, dict) and "name" in function)
