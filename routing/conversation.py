"""A chat between people, models and tools, in no vendor's words: the middle of every translation.

A client's dialect turns its request into a `Conversation`, a vendor's dialect turns that into its own
request; the way back is a `Reply`, or a stream of `Delta`s. Where client and vendor speak the same
wire format nothing of this is used: bodies then pass untouched. docs/gateway.md, "Across dialects".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from routing.logprobs import Logprobs
from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import readable_object
from spendhub.errors import Invalid

Role = Literal["user", "assistant"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Choosing = Literal["auto", "none", "required", "named"]

# What can be asked for beside words, and not of every vendor. The first two are fields of a Conversation, by which a
# refusal names them; an answer that is spoken has none, and can only be asked of a vendor of the client's own dialect.
CHOICES, LOGPROBS, SPEECH = "choices", "logprobs", "speech"
BESIDE_WORDS = frozenset((CHOICES, LOGPROBS, SPEECH))


class NotTranslatable(Invalid):
    """The request has a `field` that the chosen model's vendor has no word for.

    Who reads a client's request names it as the client does. Who writes a vendor's names a field of a Conversation, or
    `top_logprobs` where `logprobs` asks for too many of the likeliest, and may say more behind a colon: see `renamed`.
    """

    code = "not_translatable"

    def __init__(self, field: str, towards: str) -> None:
        self.field, self.towards = field, towards
        super().__init__(f"{field} cannot be said to a model of {towards}; leave it out, or name another model",
                         field=field, dialect=towards)  # fmt: skip

    def renamed(self, own_name: Callable[[str], str]) -> NotTranslatable:
        """The same, with the client's own name of the field."""
        name, colon, rest = self.field.partition(":")
        return NotTranslatable(own_name(name) + colon + rest, self.towards)


@dataclass(frozen=True, slots=True)
class Text:
    """Words. `is_cache_point`, here and below: what comes up to the end of this may be kept in the vendor's prompt
    cache."""

    text: str
    is_cache_point: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 `data` with its `media_type`, or the `url` of one."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""
    is_cache_point: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A document, e.g. a PDF: base64 `data` with its `media_type`, or the `url` of one, or plain `text`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    text: str = ""
    is_cache_point: bool = False


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
    is_cache_point: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call `call_id`."""

    call_id: str
    content: tuple[Text | Image | File, ...]
    is_error: bool = False
    name: str = ""
    is_cache_point: bool = False


def beside_words(choices: int, *, wants_logprobs: bool) -> frozenset[str]:
    """Which of BESIDE_WORDS are asked for by a request that says this."""
    return frozenset(name for name, is_asked in ((CHOICES, choices > 1), (LOGPROBS, wants_logprobs)) if is_asked)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as an object: {} for none, {"_": text} for text that is no object, or none that can be written
    again. Half an emoji, as models that are cut off leave it, is read as U+FFFD."""
    found = readable_object((call.arguments or "{}").encode("utf-8", "replace"))
    return {"_": call.arguments} if found is None else found


Block = Text | Image | File | Audio | Thinking | Refusal | ToolCall | ToolResult


def is_cache_point(block: Block) -> bool:
    """Whether a vendor's prompt cache may hold what comes up to the end of `block`."""
    return isinstance(block, Text | Image | File | ToolCall | ToolResult) and block.is_cache_point


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
    """Everything a chat request asks that more than one vendor has a word for. None: not said.

    `logprobs`: how likely each token was is wanted, with so many of the likeliest in its place. `choices`: so many
    answers to the same question are."""

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

    def asked_beside(self) -> frozenset[str]:
        """Which of BESIDE_WORDS are asked for."""
        return beside_words(self.choices, wants_logprobs=self.logprobs is not None)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers to the same question; as in Reply."""

    blocks: tuple[Block, ...]
    finish: Finish
    logprobs: Logprobs = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `blocks` are Thinking, Text, Refusal and ToolCall, in the order they were said.

    `logprobs` are of the tokens of its texts and refusals, if they were asked for. `others` are further answers, where
    more than one was: `usage` is that of all of them."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    finish: Finish
    usage: TokenUsage | None
    stop_sequence: str | None = None
    logprobs: Logprobs = ()
    others: tuple[Choice, ...] = ()

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All answers, this one first."""
        return (Choice(self.blocks, self.finish, self.logprobs), *self.others)


@dataclass(frozen=True, slots=True)
class Began:
    """The first delta of every stream."""

    id: str
    model: str


# Of several answers to the same question the others are told between each other: each delta but the first has the
# number of its own as `choice`.


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More words of the current text, if any, and how likely their tokens were, if that was asked for."""

    text: str
    choice: int = 0
    logprobs: Logprobs = ()


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More words of a refusal."""

    text: str
    choice: int = 0
    logprobs: Logprobs = ()


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More thoughts, or the signature that ends them."""

    text: str = ""
    signature: str = ""
    is_redacted: bool = False
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallBegan:
    """The model begins to ask for a tool; `index` counts the calls of this answer from 0."""

    index: int
    id: str
    name: str
    signature: str = ""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More JSON text of call `index`."""

    index: int
    arguments: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The last delta of an answer: why it ended. Usage is the reader's. `is_last`: no other answer is still being
    said; a vendor that does not say so leaves it to whoever knows how many were asked for."""

    finish: Finish
    stop_sequence: str | None = None
    choice: int = 0
    is_last: bool = True


Delta = Began | TextDelta | RefusalDelta | ThinkingDelta | ToolCallBegan | ToolCallDelta | Ended
