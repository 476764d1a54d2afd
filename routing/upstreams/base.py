"""What every dialect offers, and what travels between a dialect and the transport.

A dialect is pure: it turns a request into an HTTP request for one vendor, and reads usage and words out
of the answer. `transport.py` does the I/O. To add a dialect, copy the folder of the one that is
nearest, and name it in `DIALECTS` (registry.py); tests/routing/upstreams/test_dialect_contract.py then holds it.

A wire format is what a client's SDK speaks. A dialect that speaks a client's wire format gets its body
untouched (`native_request`); for all others the request is translated (`translated_request`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from routing.conversation import Conversation, Delta, Reply
from routing.model_facts import ModelFacts
from routing.token_usage import TokenUsage

# OpenAI's chat completions, responses and embeddings; Anthropic's messages; Google's generateContent.
Wire = Literal["chat", "responses", "embeddings", "messages", "generate"]
CHAT: Wire = "chat"
RESPONSES: Wire = "responses"
EMBEDDINGS: Wire = "embeddings"
MESSAGES: Wire = "messages"
GENERATE: Wire = "generate"


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request to a vendor. A `sandbox:` URL is answered in this process. `reader` makes a reader of its
    answer, where a translated one is answered in another format than `Dialect.reader(None)` reads."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_seconds: float
    reader: Callable[[], UsageReader] | None = None


class UpstreamResponse(Protocol):
    """A vendor's answer whose body has not been read yet. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UpstreamError when the connection breaks."""
        ...

    async def aread(self) -> bytes:
        """The whole body. Raises UpstreamError when the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Gives the connection back, or drops it when the body was not read to its end."""
        ...


class UsageReader(Protocol):
    """Watches one answer go by and knows in the end what it used; for translation it also says what was said.

    One answer is read in one way: `read_body` then `reply`, or `read_event` for each event of a stream,
    followed by `deltas` of the same event where the stream is translated.
    """

    usage: TokenUsage | None  # None until the vendor has said it; cumulative counts replace earlier ones
    usage_so_far: TokenUsage | None  # what was said of a stream that has not ended; its input is exact
    finish_reason: str | None  # in the vendor's own word
    response_id: str | None
    is_complete: bool  # a stream has reached the end that its wire format has a sign for
    service_tier: str | None  # as prices name it, "" the standard one; None: the vendor has not said
    not_priced: tuple[str, ...]  # what was used and is billed by prices that we do not have
    told_cost: Mapping[str, Any]  # the vendor's own words for the usage, where they say what it costs; else empty
    left_out: tuple[str, ...]  # what `reply` has no words for in a whole answer, by its vendor's names
    # A stream has no sign for its end but that of its body: once it has said why it ends, it is whole however its
    # connection ends.
    ends_with_body: bool

    def logs_as(self, told_by: str) -> None:
        """Names the vendor's model for the log. Until then nothing is logged: somebody else reads the same answer."""
        ...

    def searched(self) -> int:
        """How many searches of the web were seen, for an answer that never reached its usage."""
        ...

    def read_body(self, body: bytes) -> dict[str, Any]:
        """Takes a whole answer and returns it parsed. Raises UpstreamError unless it is a JSON object."""
        ...

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """Takes the data of one stream event; returns it parsed when it carries usage, else None.

        Raises UpstreamError for an error that the vendor sends in mid-stream. Counts that cannot be are none
        (billed.py): what was told before them is then in `usage_so_far`.
        """
        ...

    def passes_over(self, complete: bytes) -> bool:
        """Takes whole events of a native stream unread, where nothing in them has to be known before the stream
        ends; False, and nothing taken, where they have to be read one by one."""
        ...

    def missing_end(self) -> bytes:
        """Asked where a stream has ended without `is_complete`: the data of the last event, where the vendor has left
        out nothing but that one; b"" where it has not said why it ends."""
        ...

    def produced_tokens(self) -> int:
        """An estimate of the output so far, for an answer that never reached its usage."""
        ...

    def reply(self) -> Reply:
        """The answer that `read_body` took, in no vendor's words. Raises UpstreamError for one of no known shape."""
        ...

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """What one stream event adds, in no vendor's words. The first of a stream is Began, the last Ended."""
        ...


class Dialect(Protocol):
    """A vendor's wire format."""

    name: str
    wires: frozenset[Wire]  # what passes through to it untouched

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """The client's own body for `model`, with its model name set and a stream's usage asked for. `wire` is
        one of `wires`."""
        ...

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """The request that says `conversation` to `model`. Raises NotTranslatable for what cannot be said."""
        ...

    def reader(self, wire: Wire | None) -> UsageReader:
        """A reader for one answer to a native request of `wire`, or (None) to a translated one that names no `reader`
        of its own."""
        ...

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """What `model` cannot be asked for, of BESIDE_WORDS: the vendor has no word for it."""
        ...
