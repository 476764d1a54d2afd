"""Where calls leave the process: one pooled HTTP client, or the sandbox inside.

httpx with the `httpx-aiohttp` transport, at about a quarter of httpx's own CPU. Requests go to the transport itself:
the client around it merges headers, cookies, redirects and authentication, which no vendor's API has, for a tenth of a
call's CPU.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from routing.errors import AnswerTooLarge, UpstreamError, UpstreamTimeout
from routing.upstreams.base import UpstreamRequest, UpstreamResponse
from routing.upstreams.sandbox.dialect import SANDBOX_SCHEME
from routing.upstreams.sandbox.responder import respond

# A line of log per call would cost more CPU than sending it; the span says the same.
logging.getLogger("httpx").setLevel(logging.WARNING)

CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 1_000
IDLE_SECONDS = 30.0
# A vendor that closes sooner has done nothing yet: most often the end of an idle connection has crossed the request.
AT_WORK_SECONDS = 1.0
MAX_BODY_BYTES = 64 * 1024 * 1024
# Of one header, or the status line; aiohttp's own limit is 8,190.
MAX_HEADER_BYTES = 64 * 1024
# What aiohttp raises for an answer that is no HTTP, and httpx-aiohttp has no word for.
_UNREADABLE = (aiohttp.ClientError, HttpProcessingError)
# What is said of a call that is cancelled before it has a connection.
_UNSENT = "still waiting for a connection"


class Transport(Protocol):
    """Sends requests. Tests may pass another one; the product has `HttpTransport`."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """The vendor's answer, its body unread. Raises UpstreamTimeout or UpstreamError."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


class HttpResponse:
    """An UpstreamResponse on an httpx response that is still open."""

    def __init__(self, response: httpx.Response, provider_url: str) -> None:
        self._response = response
        self._url = provider_url
        self.status = response.status_code
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
        }

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """See UpstreamResponse."""
        stream = self._response.stream
        try:
            if "content-encoding" not in self.headers and isinstance(stream, httpx.AsyncByteStream):
                # Nothing to decode: past httpx's decoders, which cost as much as the rest of reading.
                async for chunk in stream:
                    yield chunk
                return
            async for chunk in self._response.aiter_bytes():
                yield chunk
        except httpx.TimeoutException as error:
            raise UpstreamTimeout(f"{self._url} stopped answering: {type(error).__name__}") from error
        except (httpx.HTTPError, httpx.StreamError, *_UNREADABLE) as error:
            raise UpstreamError(f"{self._url} broke off: {type(error).__name__}") from error

    async def aread(self) -> bytes:
        """See UpstreamResponse."""
        pieces, size = [], 0
        async for chunk in self.aiter_bytes():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                await self.aclose()
                raise AnswerTooLarge(f"{self._url} answered with more than {MAX_BODY_BYTES} bytes")
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """See UpstreamResponse."""
        await self._response.aclose()


class HttpTransport:
    """One pooled client for the process's event loop; made on first use, inside that loop."""

    def __init__(self) -> None:
        self._transport: AiohttpTransport | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """See Transport."""
        if request.url.startswith(SANDBOX_SCHEME):
            return await respond(request)
        if self._transport is None:
            self._transport = AiohttpTransport(client=_new_session)
        began = time.monotonic()
        try:
            response = await self._transport.handle_async_request(await _to_send(request))
        except httpx.TimeoutException as error:
            if _is_lost_connection(error):
                lost = UpstreamError(f"{_host(request.url)} cannot be reached, or closed the connection")
                lost.was_asked = _had_time_to_work(error, began)
                raise lost from error
            too_slow = UpstreamTimeout(f"{_host(request.url)} did not answer: {type(error).__name__}")
            too_slow.was_asked = not isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout))
            raise too_slow from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UpstreamError(f"{_host(request.url)} cannot be reached: {type(error).__name__}") from error
        except _UNREADABLE as error:
            raise UpstreamError(f"{_host(request.url)} answered what cannot be read as HTTP") from error
        return HttpResponse(response, _host(request.url))

    async def aclose(self) -> None:
        """See Transport."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None


def was_unsent(cancelled: BaseException | None) -> bool:
    """Whether `send` was cancelled by `cancelled` before a byte of its request could have left this process."""
    return isinstance(cancelled, asyncio.CancelledError) and cancelled.args == (_UNSENT,)


class _Protocol(ResponseHandler):
    """aiohttp's, but for a body whose connection ends before it: when it is because of something within the body that
    is no HTTP, aiohttp closes the connection and tells nobody who reads the body, who would then wait for ever."""

    def connection_lost(self, exc: BaseException | None) -> None:
        body = self._payload
        super().connection_lost(exc)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the connection ended before the body"))


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = functools.partial(_Protocol, loop=self._loop)  # type: ignore[assignment]  # it makes one all the same

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own signature
    ) -> aiohttp.connector.Connection:
        try:
            return await super().connect(req, traces, timeout)
        except asyncio.CancelledError:
            # Said by the exception itself: no other call's state is touched, and calls that are not cancelled pay
            # nothing. Its class may be no other one, or asyncio.timeout would not know it.
            raise asyncio.CancelledError(_UNSENT) from None


def _new_session() -> aiohttp.ClientSession:
    # No cookies: one tenant's call must leave nothing for the next. The transport follows no redirects either; a
    # vendor's API has none, and following one would carry the key elsewhere.
    connector = _Connector(
        limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS, ssl=httpx.create_ssl_context(trust_env=False)
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
        max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES,
    )  # fmt: skip


_HEADERS = {"accept-encoding": "gzip, deflate", "user-agent": "SpendHub"}


async def _to_send(request: UpstreamRequest) -> httpx.Request:
    """Raises httpx.InvalidURL. Host and length are left to aiohttp to say: httpx, which says them of all that is given
    as `content`, takes two thirds of its time for it."""
    made = httpx.Request(
        request.method,
        _parsed(request.url),
        headers={**_HEADERS, **request.headers},
        stream=httpx.ByteStream(request.body),
        extensions={"timeout": _timeout(request.timeout_seconds)},
    )
    await made.aread()
    return made


@functools.lru_cache(maxsize=1_024)
def _parsed(url: str) -> httpx.URL:
    """Every call of a model goes to the same address. Raises httpx.InvalidURL."""
    return httpx.URL(url)


@functools.lru_cache(maxsize=256)
def _timeout(seconds: float) -> Mapping[str, float | None]:
    return httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)).as_dict()


def _is_lost_connection(error: httpx.TimeoutException) -> bool:
    """httpx-aiohttp calls every lost or refused connection a ConnectTimeout; what it came from knows better."""
    cause = error.__cause__
    return isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, aiohttp.ServerTimeoutError)


def _had_time_to_work(error: httpx.TimeoutException, began: float) -> bool:
    """Whether there was a connection, and it was closed a while after the request had begun (monotonic seconds)."""
    is_refused = isinstance(error.__cause__, aiohttp.ClientConnectorError)
    return not is_refused and time.monotonic() - began >= AT_WORK_SECONDS


@functools.lru_cache(maxsize=1_024)
def _host(url: str) -> str:
    """Where an address leads, for a client to read: no path, which names deployments, no name and no password."""
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
