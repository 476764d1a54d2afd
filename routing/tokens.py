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

PIECE = re.compile(r"\w{1,4}|[^\w\s]")
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
# No vendor charges much more for a picture in its usual resolution; audio and files are counted by their size.
TOKENS_PER_IMAGE = 1_500
BYTES_PER_TOKEN_AT_LEAST = 3


def count_tokens(text: str) -> int:
    """Tokens of `text` as the sandbox counts them."""
    return len(PIECE.findall(text))


def count_chat_tokens(body: Mapping[str, Any]) -> int:
    """Input tokens of a chat request as the sandbox counts them."""
    total = TOKENS_PER_REQUEST
    for message in _messages(body):
        total += TOKENS_PER_MESSAGE + sum(count_tokens(text) for text in _texts(message))
    if body.get("tools"):
        total += count_tokens(json.dumps(body["tools"]))
    return total


def estimate_input_tokens(body: Mapping[str, Any]) -> int:
    """An upper estimate of the input tokens of a chat, responses or embeddings request.

    The larger of `count_tokens` and a token per three bytes of UTF-8, for every text in it, plus a
    fixed number per message and image.
    """
    total = TOKENS_PER_REQUEST
    for message in _messages(body):
        total += TOKENS_PER_MESSAGE + sum(_upper(text) for text in _texts(message))
        content = message.get("content")
        if isinstance(content, list):
            total += TOKENS_PER_IMAGE * sum(1 for part in content if _is_image(part))
    for name in ("tools", "functions", "response_format", "instructions", "input"):
        given = body.get(name)
        if given:
            total += _upper(given if isinstance(given, str) else json.dumps(given, default=str))
    return total


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
            elif isinstance(part, Mapping) and not _is_image(part):
                text = part.get("text")
                yield text if isinstance(text, str) else json.dumps(part, default=str)
    for name in ("tool_calls", "name", "refusal"):
        if message.get(name):
            yield json.dumps(message[name], default=str)


def _is_image(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("image_url", "input_image", "image")
