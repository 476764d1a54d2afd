"""One call at one vendor: send it, keep what it says about usage, translate what goes wrong.

One candidate, one try: which candidate, and whether to try again, is the caller's (see attempts.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from routing.conversation import Conversation
from routing.errors import UpstreamError, UpstreamRefused
from routing.key_choice import NONE_AVOIDED, ChosenKey, choose_key, hide_key
from routing.snapshot import ModelFacts
from routing.upstreams.asked_to_wait import with_retry_after
from routing.upstreams.base import UpstreamResponse, UsageReader, Wire
from routing.upstreams.decoders import decoder_for
from routing.upstreams.registry import dialect_of, passes_untouched
from routing.upstreams.sse import BrokenStream, SseDecoder, SseEvent, UnreadEvents, events_in
from routing.upstreams.transport import Transport

# A refusal's body is kept for the caller; nobody needs more of it than this.
MAX_REFUSAL_BYTES = 64 * 1024


class Asked(msgspec.Struct, frozen=True):
    """What a client asks in its own wire format; `conversation()` says it in no vendor's words, when that is needed."""

    wire: Wire
    body: Mapping[str, Any]
    is_stream: bool
    conversation: Callable[[], Conversation]
    # The client's own words beside the body, e.g. anthropic-beta: passed on where the body passes untouched.
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


@dataclass
class Execution:
    """A vendor's answer on its way; `reader` knows what it used once it has been read. Where the client and
    the vendor speak different wire formats, `is_translated`: the reader then also says what was said."""

    model: ModelFacts
    response: UpstreamResponse
    reader: UsageReader
    is_translated: bool = False

    async def read(self) -> bytes:
        """The whole answer as the vendor wrote it. Raises UpstreamError when it is broken."""
        try:
            body = await self.response.aread()
        finally:
            await self.response.aclose()
        self.reader.read_body(body)
        return body

    async def events(self) -> AsyncIterator[tuple[SseEvent, dict[str, Any] | None]]:
        """The stream's events one by one; see `bursts`."""
        async with aclosing(self.bursts()) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    async def bursts(self) -> AsyncGenerator[Sequence[tuple[SseEvent, dict[str, Any] | None]]]:
        """The stream's events, those that arrived together in one list, each with its parsed form when it
        carries usage (else None).

        Raises UpstreamError when the connection breaks or the stream is not one; whatever came
        before has been handed on. Closes the response at the end, also when the caller leaves.
        """
        decoder = decoder_for(self.response.headers) or SseDecoder()
        try:
            async for chunk in self.response.aiter_bytes():
                complete = decoder.take(chunk)
                if not complete:
                    continue
                if not self.is_translated and self.reader.passes_over(complete):
                    if unread := UnreadEvents(complete):
                        yield unread
                    continue
                burst: list[tuple[SseEvent, dict[str, Any] | None]] = []
                try:
                    for event in events_in(complete):
                        burst.append((event, self.reader.read_event(event.data)))
                except UpstreamError:
                    if burst:
                        yield burst
                    raise
                if burst:
                    yield burst
            decoder.end()
        except BrokenStream as error:
            raise UpstreamError(f"{self.model.provider.name}: {error}") from error
        finally:
            await self.response.aclose()


async def execute(model: ModelFacts, asked: Asked, key: ChosenKey | None = None, *, transport: Transport) -> Execution:
    """Asks `model` for what the client's request says; returns once the answer begins. `key` is what was chosen for
    this attempt (key_choice.py), None for any.

    Raises DialectNotSpoken, CredentialMissing and NotTranslatable before anything is sent, UpstreamRefused with
    the vendor's own status, headers and body for an error, UpstreamTimeout and UpstreamError for none at all.
    """
    dialect = dialect_of(model)
    key = key or choose_key(model)
    credential = key.secret.reveal()
    is_native = passes_untouched(model, asked.wire)
    if is_native:
        request = dialect.native_request(model, credential, asked.wire, asked.body, is_stream=asked.is_stream)
        if asked.headers:
            request = replace(request, headers={**request.headers, **asked.headers})
    else:
        request = dialect.translated_request(model, credential, asked.conversation(), is_stream=asked.is_stream)
    response = await transport.send(request)
    if response.status >= 400 or 300 <= response.status < 400:
        body = hide_key(key.secret, await _refusal(response))
        wire = asked.wire if is_native else None
        headers = with_retry_after(response.headers, body)
        refused = UpstreamRefused(model.provider.name, response.status, headers, body, wire)
        refused.key_id = key.id
        raise refused
    if asked.is_stream and decoder_for(response.headers) is None:
        await response.aclose()
        raise UpstreamError(f"{model.provider.name} answered {response.headers['content-type'][:60]}, not a stream")
    return Execution(model, response, dialect.reader(asked.wire if is_native else None), is_translated=not is_native)


def credential_of(model: ModelFacts, avoid: frozenset[UUID] = NONE_AVOIDED) -> str:
    """A vendor's key for one attempt, "" when the provider needs none; see `choose_key` for how, and what it raises."""
    return choose_key(model, avoid).secret.reveal()


async def _refusal(response: UpstreamResponse) -> bytes:
    pieces, size = [], 0
    try:
        async for chunk in response.aiter_bytes():
            pieces.append(chunk)
            size += len(chunk)
            if size >= MAX_REFUSAL_BYTES:
                break
    except UpstreamError:
        pass  # Its status says enough; the body it promised never came.
    finally:
        await response.aclose()
    return b"".join(pieces)[:MAX_REFUSAL_BYTES]
