"""The web plane's requests wait here until their body is there: Django's few threads are for whole requests.

Who sends half a body and then nothing, and needs no key for it, would else keep a thread for as long as the connection
is open. Small bodies (all but lists of spans) are read side by side; of large ones no more than there are threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from django.conf import settings

from spendhub.api.errors import BodyTooLarge, BodyTooSlow, body_of, headers_of, status_of
from spendhub.errors import SpendHubError, Unavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

BODY_SECONDS = 60
# The rest is for what a process has to do at its end.
SHARE_OF_DRAIN = 0.8
SMALL_BODY_BYTES = 64 * 1024
# A body that is too large is read on and thrown away up to here, so that its sender sees why it was refused.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024


class _ClientLeft(Exception):
    """The client closed the connection before its body was there."""


class WholeRequests:
    """`web`, which is asked only once a request's whole body is there, and is given it in one piece.

    A body that takes longer than `body_seconds` is answered 408, one larger than Django takes 413; where too many
    large ones are under way, 503.
    """

    def __init__(self, web: Application, body_seconds: float = BODY_SECONDS) -> None:
        self._web = web
        self._body_seconds = body_seconds
        self._large_bodies = asyncio.Semaphore(settings.WEB_THREADS)
        self._asked: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        length = _declared_bytes(scope)
        try:
            async with _room_for(length, self._large_bodies, self._body_seconds):
                body = await _read(receive, length, self._body_seconds)
                await self._ask(scope, _given_again(body), send)
        except _ClientLeft:
            pass
        except (BodyTooLarge, BodyTooSlow, _TooManyLarge) as error:
            await _refuse(scope["path"], error, send)

    async def all_answered(self) -> None:
        """Returns when Django is busy with no request any more, or after most of the time that a stop may take. A
        server that stops does not wait for those whose client has left, and their threads would wait for its event loop
        for ever."""
        if self._asked:
            await asyncio.wait(self._asked, timeout=settings.DRAIN_SECONDS * SHARE_OF_DRAIN)

    async def _ask(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None, "ASGI applications run in tasks"
        self._asked.add(task)
        try:
            await self._web(scope, receive, send)
        finally:
            self._asked.discard(task)


class _TooManyLarge(Unavailable):
    """As many large bodies are under way as this process reads at a time."""


def _declared_bytes(scope: MutableMapping[str, Any]) -> int:
    """What `content-length` says; 0 without one, where Django reads nothing either."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(declared) if declared.isdigit() else 0


@contextlib.asynccontextmanager
async def _room_for(length: int, large_bodies: asyncio.Semaphore, seconds: float) -> AsyncIterator[None]:
    """A place among the large bodies, kept until the request is answered; a small one needs none."""
    if not SMALL_BODY_BYTES < length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        yield
        return
    try:
        await asyncio.wait_for(large_bodies.acquire(), seconds)
    except TimeoutError:
        raise _TooManyLarge("too many large bodies are on their way here; please try again") from None
    try:
        yield
    finally:
        large_bodies.release()


async def _read(receive: Receive, length: int, seconds: float) -> bytes:
    if length == 0:
        return b""
    try:
        async with asyncio.timeout(seconds):
            if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
                await _throw_away(receive)
                most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
                raise BodyTooLarge(f"the body has {length} bytes; at most {most} are taken", max_bytes=most)
            return b"".join([piece async for piece in _pieces(receive)])
    except TimeoutError:
        raise BodyTooSlow(f"the body did not come in within {seconds:g} s") from None


async def _throw_away(receive: Receive) -> None:
    size = 0
    async for piece in _pieces(receive):
        size += len(piece)
        if size > MAX_DISCARDED_BYTES:
            return


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    has_more = True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        yield message.get("body", b"")
        has_more = message.get("more_body", False)


def _given_again(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _refuse(path: str, error: SpendHubError, send: Send) -> None:
    """JSON below /api/, plain text elsewhere. The connection ends: the rest of the body may still be under way."""
    is_api = path.startswith("/api/")
    told = msgspec.json.encode(body_of(error), enc_hook=str) if is_api else f"{error.message}\n".encode()
    content_type = b"application/json" if is_api else b"text/plain; charset=utf-8"
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), (b"connection", b"close")]
    headers += [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    headers.append((b"content-length", str(len(told)).encode()))
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": told})
