"""One call at one vendor: send it, keep what it says about usage, translate what goes wrong.

Thin for now: one candidate, one try. Retries, fallback and deadlines will sit here.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from routing.errors import CredentialMissing, UpstreamError, UpstreamRefused
from routing.snapshot import ModelFacts
from routing.upstreams.base import UpstreamResponse, UsageReader
from routing.upstreams.registry import dialect_of
from routing.upstreams.sse import BrokenStream, SseDecoder, SseEvent
from routing.upstreams.transport import Transport

# A refusal's body is kept for the caller; nobody needs more of it than this.
MAX_REFUSAL_BYTES = 64 * 1024


@dataclass
class Execution:
    """A vendor's answer on its way; `reader` knows what it used once it has been read."""

    model: ModelFacts
    response: UpstreamResponse
    reader: UsageReader

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

    async def bursts(self) -> AsyncGenerator[list[tuple[SseEvent, dict[str, Any] | None]]]:
        """The stream's events, those that arrived together in one list, each with its parsed form when it
        carries usage (else None).

        Raises UpstreamError when the connection breaks or the stream is not one; whatever came
        before has been handed on. Closes the response at the end, also when the caller leaves.
        """
        decoder = SseDecoder()
        try:
            async for chunk in self.response.aiter_bytes():
                burst: list[tuple[SseEvent, dict[str, Any] | None]] = []
                try:
                    for event in decoder.feed(chunk):
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


async def execute(model: ModelFacts, body: Mapping[str, Any], *, is_stream: bool, transport: Transport) -> Execution:
    """Asks `model` for what the client's chat request says; returns once the answer begins.

    Raises DialectNotSpoken and CredentialMissing before anything is sent, UpstreamRefused with the
    vendor's own status, headers and body for an error, UpstreamTimeout and UpstreamError for none at all.
    """
    dialect = dialect_of(model)
    request = dialect.chat_request(model, credential_of(model), body, is_stream=is_stream)
    response = await transport.send(request)
    if response.status >= 400 or 300 <= response.status < 400:
        raise UpstreamRefused(model.provider.name, response.status, response.headers, await _refusal(response))
    if is_stream and "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
        await response.aclose()
        raise UpstreamError(f"{model.provider.name} answered {response.headers['content-type'][:60]}, not a stream")
    return Execution(model, response, dialect.usage_reader())


def credential_of(model: ModelFacts) -> str:
    """The vendor's key, "" when the provider needs none. Raises CredentialMissing when its variable is empty."""
    if not model.api_key_env:
        if not model.base_url and model.provider.dialect != "sandbox":
            raise CredentialMissing(f"provider {model.provider.name} has no address", provider=model.provider.name)
        return ""
    credential = os.environ.get(model.api_key_env, "").strip()
    if not credential:
        raise CredentialMissing(
            f"provider {model.provider.name} has no key: the environment variable {model.api_key_env} is empty",
            provider=model.provider.name,
        )
    return credential


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
