"""How many tokens a text has, roughly: for holds, for the sandbox, and where a vendor did not say.

No vendor's tokenizer is used. `count_tokens` is deterministic: each run of up to four word characters is
a token, and so is every other visible character. `estimate_input_tokens` is meant to be
above what vendors count, since a hold that is too small could let a budget be overshot.
Source: docs/pricing.md, "Counting tokens without the vendor".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from routing.packed import PACKED_TYPES, Packed, packed_by_google, packed_in
from spendhub.errors import Invalid

PIECE = re.compile(r"\w{1,4}|[^\w\s]")
# For ASCII, byte for byte: w a word character, a space what counts as one, a dot everything else.
_KINDS = bytes(
    ord("w" if re.match(r"\w", each) else " " if each.isspace() else ".") for each in map(chr, range(128))
) + bytes(128)
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
# No vendor charges much more for a picture in its usual resolution. What else is packed: routing/packed.py.
TOKENS_PER_IMAGE = 1_500
# The most that Anthropic adds by itself to a request with tools. Source: its documentation, "Tool use", "Pricing".
TOKENS_OF_ANTHROPICS_TOOL_PROMPT = 530
BYTES_PER_TOKEN_AT_LEAST = 3
_DRAWN = "image_generation_call"  # a picture of the vendor's own, sent back
_IMAGES = ("image_url", "input_image", "image", "computer_screenshot", _DRAWN)
_GOOGLES_SCHEMAS = ("responseSchema", "responseJsonSchema")
# Beside a picture's own, the fields of its part are texts like all others.
_PICTURES_OWN = ("image_url", "input_image", "image", "source", "file_id", "detail")
# They come with each message, and are in what it costs.
_ROLES = ("user", "assistant", "tool", "system", "developer", "function", "model")
MOST_CHARACTERS_OF_A_TYPE = 64
# What holds the content of a part that has parts itself.
_HOLDERS = {
    "tool_result": "content",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
    "computer_call_output": "output",
    "web_fetch_tool_result": "content",
    "web_fetch_result": "content",
    "message": "content",
    None: "content",
}


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
        total += sum(packed.tokens() for packed in _packed(message) if not packed.is_text and not packed.is_picture)
    for name in ("tools", "functions"):
        if body.get(name):
            total += count_tokens(json.dumps(body[name]))
    return total


def estimate_input_tokens(body: Mapping[str, Any]) -> int:
    """An upper estimate of the input tokens of a chat, messages, responses, embeddings or generateContent request.

    The larger of `count_tokens` and a token per three bytes of UTF-8, for every text in it, plus a
    fixed number per message and image, and what documents, sounds and films are taken for by their size (`Packed`).
    Raises Invalid for a body that is nested without end.
    """
    return _Reading().of(body)


def packed_tokens_in(body: Mapping[str, Any]) -> int:
    """How many of `estimate_input_tokens` are documents, sounds and films; found without counting the rest. Raises
    Invalid for a body that is nested without end."""
    reading = _Reading(counts_texts=False)
    reading.of(body)
    return reading.packed


class PackedTokens:
    """`packed_tokens_in` for a body, counted when it is first asked for."""

    __slots__ = ("_body", "_tokens")

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._tokens: int | None = None

    def __call__(self) -> int:
        if self._tokens is None:
            self._tokens = packed_tokens_in(self._body)
        return self._tokens


def at_most(tokens: int, body: Mapping[str, Any], context_tokens: int | None) -> int:
    """The input `tokens` of a request at a model with this context (None: unknown): what documents, sounds and films
    are taken for there is no more than its texts leave, since a vendor refuses what is more, unbilled."""
    return within(context_tokens, tokens, lambda: packed_tokens_in(body))


def within(context_tokens: int | None, tokens: int, packed_tokens: Callable[[], int]) -> int:
    """As `at_most`, for whoever knows how many of `tokens` are packed; that is asked only where it matters."""
    if context_tokens is None or tokens <= context_tokens:
        return tokens
    return max(context_tokens, tokens - packed_tokens())


class _Reading:
    """One pass over a request. `packed` grows by what documents, sounds and films are taken for; without
    `counts_texts` nothing else matters, and no text is looked at."""

    def __init__(self, *, counts_texts: bool = True) -> None:
        self.packed = 0
        self._counts_texts = counts_texts

    def of(self, body: Mapping[str, Any]) -> int:
        try:
            return self._request(body)
        except RecursionError:
            raise Invalid("the body is nested too deeply") from None

    def _request(self, body: Mapping[str, Any]) -> int:
        total = TOKENS_PER_REQUEST
        for message in _messages(body):
            total += TOKENS_PER_MESSAGE
            for name, value in message.items():
                if name == "content":
                    total += self._content(value)
                elif value and not (name == "role" and value in _ROLES):
                    # Calls, thoughts under their many names, and what vendors think of next: no text is free.
                    total += self._written(value)
        total += self._content(body.get("system"))
        total += self._input(body.get("input"))
        for name in ("tools", "functions", "response_format", "text", "output_config", "output_format", "instructions"):
            if body.get(name):
                total += self._written(body[name])
        if "contents" in body:
            total += self._googles(body)
        tools = body.get("tools")
        if isinstance(tools, list) and tools and isinstance(tools[0], Mapping) and "input_schema" in tools[0]:
            total += TOKENS_OF_ANTHROPICS_TOOL_PROMPT
        return total

    def _googles(self, body: Mapping[str, Any]) -> int:
        """What a generateContent request says beside its tools."""
        total, contents, config = 0, body["contents"], body.get("generationConfig")
        for content in (body.get("systemInstruction"), *(contents if isinstance(contents, list) else ())):
            if not isinstance(content, Mapping):
                continue
            parts = content.get("parts")
            total += TOKENS_PER_MESSAGE + self._beside(content, ("parts",))
            total += sum(map(self._googles_part, parts)) if isinstance(parts, list) else self._content(parts)
        if isinstance(config, Mapping):
            total += sum(self._written(config[name]) for name in _GOOGLES_SCHEMAS if config.get(name))
        return total

    def _googles_part(self, part: Any) -> int:
        if not isinstance(part, Mapping):
            return self._content(part)
        name = "inlineData" if part.get("inlineData") else "fileData"
        media, response = part.get(name), part.get("functionResponse")
        if isinstance(media, Mapping):
            if str(media.get("mimeType")).startswith("image/"):
                return TOKENS_PER_IMAGE + self._beside(part, (name,))
            if (packed := packed_by_google(part)) is not None:
                return self._unpacked(part, packed)
        if isinstance(response, Mapping) and isinstance(response.get("parts"), list):
            beside = self._beside(part, ("functionResponse",)) + self._beside(response, ("parts",))
            return sum(map(self._googles_part, response["parts"])) + beside
        text = part.get("text")
        # Thoughts are billed as input when they are sent back, sealed as they are.
        return self._upper(text) + self._beside(part, ("text",)) if isinstance(text, str) else self._written(part)

    def _input(self, given: Any) -> int:
        """Of a responses request, where each item is a message, or of an embeddings request, which may hold tokens."""
        if isinstance(given, list):
            return sum((TOKENS_PER_MESSAGE if isinstance(item, Mapping) else 0) + self._part(item) for item in given)
        return self._content(given)

    def _content(self, content: Any) -> int:
        if isinstance(content, list):
            return sum(map(self._part, content))
        return self._written(content) if content else 0

    def _part(self, part: Any) -> int:
        if isinstance(part, int):
            return 1  # a token as it is
        if not isinstance(part, Mapping):
            return self._content(part)
        kind = part.get("type")
        if kind in _IMAGES:
            return TOKENS_PER_IMAGE + self._beside(part, ("result",) if kind == _DRAWN else _PICTURES_OWN)
        if kind is None or isinstance(kind, str):
            holder = _HOLDERS.get(kind)
            held = part.get(holder) if holder is not None else None
            if isinstance(held, (str, list, Mapping)):
                inner = self._part(held) if isinstance(held, Mapping) else self._content(held)
                return inner + self._beside(part, (str(holder),))
            if kind in PACKED_TYPES and (found := self._document(part)) is not None:
                return found
        text = part.get("text")
        return self._upper(text) + self._beside(part, ("text",)) if isinstance(text, str) else self._written(part)

    def _document(self, part: Mapping[str, Any]) -> int | None:
        """A document, a sound or a film; None where its words stand there, or it is somewhere else."""
        source = part.get("source")
        if isinstance(source, Mapping) and isinstance(source.get("content"), list):
            beside = self._beside(source, ("content",)) + self._beside(part, ("source",))
            return self._content(source["content"]) + beside
        packed = packed_in(part)
        return None if packed is None else self._unpacked(part, packed)

    def _unpacked(self, part: Mapping[str, Any], packed: Packed) -> int:
        beside = self._beside(part, (packed.within or packed.field,))
        if packed.within:
            beside += self._beside(packed.holder, (packed.field,))
        if packed.is_picture:
            return TOKENS_PER_IMAGE + beside
        if packed.is_text:
            return (self._upper(packed.text()) if self._counts_texts else 0) + beside
        tokens = packed.tokens()
        self.packed += tokens
        return tokens + beside

    def _beside(self, part: Mapping[str, Any], counted: tuple[str, ...]) -> int:
        """All that a part or an item says in fields that are not `counted`: which of them a vendor reads nobody knows,
        so no text is free."""
        total = 0
        for name, value in part.items():
            if not value or value is True or name in counted:
                continue
            if name == "type" and isinstance(value, str) and len(value) <= MOST_CHARACTERS_OF_A_TYPE:
                continue
            if not (name == "role" and value in _ROLES):
                total += self._written(value)
        return total

    def _written(self, value: Any) -> int:
        if not self._counts_texts:
            return 0
        return self._upper(value if isinstance(value, str) else json.dumps(value, default=str))

    def _upper(self, text: str) -> int:
        if not self._counts_texts:
            return 0
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
            elif isinstance(part, Mapping) and part.get("type") not in _IMAGES and packed_in(part) is None:
                text = part.get("text")
                yield text if isinstance(text, str) else json.dumps(part, default=str)
    yield from (packed.text() for packed in _packed(message) if packed.is_text)
    for name in ("tool_calls", "function_call", "name", "refusal"):
        if message.get(name):
            yield json.dumps(message[name], default=str)


def _packed(message: Mapping[str, Any]) -> Iterator[Packed]:
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, Mapping) and (packed := packed_in(part)) is not None:
            yield packed
