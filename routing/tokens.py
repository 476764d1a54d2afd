"""How many tokens a text has, roughly: for holds, for the sandbox, and where a vendor did not say.

No vendor's tokenizer is used. `count_tokens` is deterministic: each run of up to four word characters is
a token, and so is every other visible character. `estimate_input_tokens` is meant to be
above what vendors count, since a hold that is too small could let a budget be overshot.
Source: docs/pricing.md, "Counting tokens without the vendor".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from spendhub.errors import Invalid

PIECE = re.compile(r"\w{1,4}|[^\w\s]")
# For ASCII, byte for byte: w a word character, a space what counts as one, a dot everything else.
_KINDS = bytes(
    ord("w" if re.match(r"\w", each) else " " if each.isspace() else ".") for each in map(chr, range(128))
) + bytes(128)
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
# No vendor charges much more for a picture in its usual resolution; audio and files are counted by their size.
TOKENS_PER_IMAGE = 1_500
# The most that Anthropic adds by itself to a request with tools. Source: its documentation, "Tool use", "Pricing".
TOKENS_OF_ANTHROPICS_TOOL_PROMPT = 530
BYTES_PER_TOKEN_AT_LEAST = 3
_IMAGES = ("image_url", "input_image", "image")
_GOOGLES_SCHEMAS = ("responseSchema", "responseJsonSchema")
# Beside a picture's own, the fields of its part are texts like all others.
_PICTURES_OWN = (*_IMAGES, "source", "file_id", "detail")
# They come with each message, and are in what it costs.
_ROLES = ("user", "assistant", "tool", "system", "developer", "function", "model")
MOST_CHARACTERS_OF_A_TYPE = 64
# What holds the content of a part that has parts itself.
_HOLDERS = {"tool_result": "content", "function_call_output": "output", "message": "content", None: "content"}


def count_tokens(text: str) -> int:
    """Tokens of `text` as the sandbox counts them."""
    if not text.isascii():
        return len(PIECE.findall(text))
    # The same count at a fifth of the CPU, without an object per token.
    kinds = text.encode("ascii").translate(_KINDS)
    others = kinds.count(b".")
    runs = kinds.replace(b"wwww", b"4").replace(b"www", b"4").replace(b"ww", b"4")
    return others + runs.count(b"4") + runs.count(b"w")


def count_chat_tokens(body: Mapping[str, Any]) -> int:
    """Input tokens of a chat request as the sandbox counts them."""
    total = TOKENS_PER_REQUEST
    for message in _messages(body):
        total += TOKENS_PER_MESSAGE + sum(count_tokens(text) for text in _texts(message))
    for name in ("tools", "functions"):
        if body.get(name):
            total += count_tokens(json.dumps(body[name]))
    return total


def estimate_input_tokens(body: Mapping[str, Any]) -> int:
    """An upper estimate of the input tokens of a chat, messages, responses, embeddings or generateContent request.

    The larger of `count_tokens` and a token per three bytes of UTF-8, for every text in it, plus a
    fixed number per message and image. Raises Invalid for a body that is nested without end.
    """
    try:
        return _estimate(body)
    except RecursionError:
        raise Invalid("the body is nested too deeply") from None


def _estimate(body: Mapping[str, Any]) -> int:
    total = TOKENS_PER_REQUEST
    for message in _messages(body):
        total += TOKENS_PER_MESSAGE
        for name, value in message.items():
            if name == "content":
                total += _content(value)
            elif value and not (name == "role" and value in _ROLES):
                # Calls, thoughts under their many names, and what vendors think of next: no text is free.
                total += _written(value)
    total += _content(body.get("system"))
    total += _input(body.get("input"))
    for name in ("tools", "functions", "response_format", "text", "output_config", "output_format", "instructions"):
        if body.get(name):
            total += _written(body[name])
    if "contents" in body:
        total += _googles(body)
    tools = body.get("tools")
    if isinstance(tools, list) and tools and isinstance(tools[0], Mapping) and "input_schema" in tools[0]:
        total += TOKENS_OF_ANTHROPICS_TOOL_PROMPT
    return total


def _googles(body: Mapping[str, Any]) -> int:
    """What a generateContent request says beside its tools."""
    total, contents, config = 0, body["contents"], body.get("generationConfig")
    for content in (body.get("systemInstruction"), *(contents if isinstance(contents, list) else ())):
        if not isinstance(content, Mapping):
            continue
        parts = content.get("parts")
        total += TOKENS_PER_MESSAGE + _beside(content, ("parts",))
        total += sum(map(_googles_part, parts)) if isinstance(parts, list) else _content(parts)
    if isinstance(config, Mapping):
        total += sum(_written(config[name]) for name in _GOOGLES_SCHEMAS if config.get(name))
    return total


def _googles_part(part: Any) -> int:
    if not isinstance(part, Mapping):
        return _content(part)
    name = "inlineData" if part.get("inlineData") else "fileData"
    media = part.get(name)
    if isinstance(media, Mapping) and str(media.get("mimeType")).startswith("image/"):
        return TOKENS_PER_IMAGE + _beside(part, (name,))
    text = part.get("text")
    # Thoughts are billed as input when they are sent back, sealed as they are.
    return _upper(text) + _beside(part, ("text",)) if isinstance(text, str) else _written(part)


def _input(given: Any) -> int:
    """Of a responses request, where each item is a message, or an embeddings request, which may hold bare tokens."""
    if isinstance(given, list):
        return sum((TOKENS_PER_MESSAGE if isinstance(item, Mapping) else 0) + _part(item) for item in given)
    return _content(given)


def _content(content: Any) -> int:
    if isinstance(content, list):
        return sum(_part(part) for part in content)
    return _written(content) if content else 0


def _part(part: Any) -> int:
    if isinstance(part, int):
        return 1  # a token as it is
    if not isinstance(part, Mapping):
        return _content(part)
    kind = part.get("type")
    if kind in _IMAGES:
        return TOKENS_PER_IMAGE + _beside(part, _PICTURES_OWN)
    if kind is None or isinstance(kind, str):
        holder = _HOLDERS.get(kind)
        if holder is not None and isinstance(part.get(holder), (str, list)):
            return _content(part[holder]) + _beside(part, (holder,))
    text = part.get("text")
    return _upper(text) + _beside(part, ("text",)) if isinstance(text, str) else _written(part)


def _beside(part: Mapping[str, Any], counted: tuple[str, ...]) -> int:
    """All that a part or an item says in fields that are not `counted`: which of them a vendor reads nobody knows, so
    no text is free."""
    total = 0
    for name, value in part.items():
        if not value or value is True or name in counted:
            continue
        if name == "type" and isinstance(value, str) and len(value) <= MOST_CHARACTERS_OF_A_TYPE:
            continue
        if not (name == "role" and value in _ROLES):
            total += _written(value)
    return total


def _written(value: Any) -> int:
    return _upper(value if isinstance(value, str) else json.dumps(value, default=str))


def _upper(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return max(-(-size // BYTES_PER_TOKEN_AT_LEAST), count_tokens(text))


def _messages(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, Mapping):
                yield message


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, Mapping) and part.get("type") not in _IMAGES:
                text = part.get("text")
                yield text if isinstance(text, str) else json.dumps(part, default=str)
    for name in ("tool_calls", "function_call", "name", "refusal"):
        if message.get(name):
            yield json.dumps(message[name], default=str)
