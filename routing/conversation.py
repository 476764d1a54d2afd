"""A chat between people, models and tools, in no vendor's words: the middle of every translation.

A client's dialect turns its request into a `Conversation`, a vendor's dialect turns that into its own
request; the way back is a `Reply`, or a stream of `Delta`s. Where client and vendor speak the same
wire format nothing of this is used: bodies then pass untouched. docs/gateway.md, "Across dialects".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from routing.token_usage import TokenUsage
from spendhub.errors import Invalid

Role = Literal["user", "assistant"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Choosing = Literal["auto", "none", "required", "named"]


class NotTranslatable(Invalid):
    """The request has a field that the chosen model's vendor has no word for; `details.field` names it."""

    code = "not_translatable"

    def __init__(self, field: str, towards: str) -> None:
        super().__init__(f"{field} cannot be said to a model of {towards}; leave it out, or name another model",
                         field=field, dialect=towards)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """Words. `is_cache_point`: what comes before and including this may be kept in the vendor's prompt cache."""

    text: str
    is_cache_point: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 `data` with its `media_type`, or the `url` of one."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A document, e.g. a PDF: base64 `data` with its `media_type`, or the `url` of one, or plain `text`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound: base64 `data` in `format` (wav, mp3)."""

    data: str
    format: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought. Its vendor recognises it by `signature`; `is_redacted`: that is all there is."""

    text: str = ""
    signature: str = ""
    is_redacted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A model's words for why it does not answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a tool. `arguments` is JSON text; `signature` as in Thinking (Gemini signs its calls)."""

    id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call `call_id`."""

    call_id: str
    content: tuple[Text | Image | File, ...]
    is_error: bool = False
    name: str = ""


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as an object: {} for none, {"_": text} for text that is no object."""
    try:
        found = json.loads(call.arguments or "{}")
    except ValueError:
        return {"_": call.arguments}
    return found if isinstance(found, dict) else {"_": call.arguments}


Block = Text | Image | File | Audio | Thinking | Refusal | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. Tool results are the user's."""

    role: Role
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_strict: bool | None = None
    is_cache_point: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools may, must not or must be used; `name` where one is named."""

    choosing: Choosing
    name: str = ""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """JSON is wanted: any object, or one of a `schema`."""

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    description: str = ""
    is_strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much thinking is wanted: in words (none, minimal, low, medium, high), in tokens, or both unset (adaptive).
    `is_shown`: the client wants to see (a summary of) it."""

    effort: str = ""
    budget_tokens: int | None = None
    is_shown: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything a chat request asks that more than one vendor has a word for. None: not said."""

    messages: tuple[Message, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    is_parallel: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    output: OutputFormat | None = None
    reasoning: Reasoning | None = None
    logprobs: int | None = None
    choices: int = 1
    user: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `blocks` are Thinking, Text, Refusal and ToolCall, in the order they were said."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    finish: Finish
    usage: TokenUsage | None
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Began:
    """The first delta of every stream."""

    id: str
    model: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More words of the current text."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More words of a refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More thoughts, or the signature that ends them."""

    text: str = ""
    signature: str = ""
    is_redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallBegan:
    """The model begins to ask for a tool; `index` counts the calls of this answer from 0."""

    index: int
    id: str
    name: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More JSON text of call `index`."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last delta: why it ended. Usage is the reader's."""

    finish: Finish
    stop_sequence: str | None = None


Delta = Began | TextDelta | RefusalDelta | ThinkingDelta | ToolCallBegan | ToolCallDelta | Ended
