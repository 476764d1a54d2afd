"""What each client dialect offers: one way to be asked and answered by an SDK that knows nothing of us.

A dialect is pure. Its folder (openai/, anthropic/) holds one module per route; each route is named in
app.py. The journey of a call (calls.py) is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from routing.conversation import Conversation, Reply
from routing.model_facts import ModelFacts
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader, Wire
from routing.upstreams.sse import SseEvent
from spendhub.errors import SpendHubError
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames

# Events that arrived together, each with its parsed form where it carries usage.
Burst = Sequence[tuple[SseEvent, dict[str, Any] | None]]


class CallRequest(msgspec.Struct, frozen=True):
    """One request, as far as we must know it; `body` is all of it and goes to a vendor of the same wire untouched.

    `max_output_tokens` is over all choices, None when the client set no limit. `wants_usage`: the client asked for
    usage in its stream. `user` and `metadata` are the body's own fields for who the call is for, unchecked;
    `metadata_field` is what the client calls the latter.
    """

    wire: Wire
    body: dict[str, Any]
    model: str
    is_stream: bool = False
    wants_usage: bool = True
    max_output_tokens: int | None = None
    choices: int = 1
    tools: tuple[str, ...] = ()
    user: Any = None
    metadata: Any = None
    metadata_field: str = "metadata"
    kind: str = "chat"  # as routing's Model.kind
    is_limit_ours: bool = False  # no client has chosen the word for the output limit


class StreamOut(Protocol):
    """One stream on its way to its client. `is_done` says that the vendor has said all."""

    is_done: bool

    def pass_on(self, burst: Burst) -> bytes:
        """What the client is sent for these events; may be empty. Raises UpstreamError for an error in mid-stream."""
        ...

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """What is sent once the call is on disk: the end of the stream, with `money` as an object `spendhub` in the
        event that carries usage."""
        ...

    def follow(self, sent: bytes) -> None:
        """Is told what the client has been sent, where the stream may be ended early (growth.py)."""
        ...

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """The end of a stream whose vendor is left in the middle: what was kept back so far, and then what stands there
        when a model has reached its limit. `money` is told in any case."""
        ...

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """The error as the last event of the stream, with `money` among its facts, as `spendhub`. Where the vendor
        speaks this dialect too, its own error keeps its words."""
        ...


class ClientDialect(Protocol):
    """How one route is asked and answered."""

    wire: Wire
    own_names: OwnNames  # has each word by which a vendor may refuse what can be asked for here

    def parse(self, raw: bytes) -> CallRequest:
        """The request in `raw`. Raises InvalidJson, or Invalid naming the field that cannot be."""
        ...

    def needs(self, request: CallRequest) -> frozenset[str]:
        """The capabilities that the request shows it needs of a model (see routing's CAPABILITIES), and what it asks
        for beside words (`conversation.BESIDE_WORDS`)."""
        ...

    def text(self, request: CallRequest) -> str:
        """Its words, for strategies that weigh them."""
        ...

    def conversation(self, request: CallRequest) -> Conversation:
        """The request in no vendor's words. Raises NotTranslatable for a field that only its own vendor understands."""
        ...

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """The request as if these tools had not been offered."""
        ...

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """The request with its output limited to `tokens` over all choices, by the one name that the vendor of `model`
        obeys where the dialect has several: a client's own limit too, since a vendor may pass over the name that it has
        chosen. Only the older name, which all obey or refuse, stays where nothing is known of the vendor."""
        ...

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """A translated answer as this dialect's body."""
        ...

    def passing(self, request: CallRequest) -> StreamOut:
        """A stream whose vendor speaks this dialect too."""
        ...

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """A stream that is translated: what `reader.deltas` says, in this dialect's events."""
        ...

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """Status, body and headers of an error in this dialect's own shape; a vendor's own error of the same wire
        keeps its status, its body and its Retry-After."""
        ...

    def error_event(self, error: SpendHubError) -> bytes:
        """The error as the last event of a stream that has begun already, in our words; see StreamOut."""
        ...
