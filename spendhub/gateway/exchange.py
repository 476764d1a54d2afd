"""One HTTP request and its answer, as close to ASGI as it gets: every object more is CPU per call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from spendhub.api.errors import BodyTooLarge, WrongContentEncoding
from spendhub.errors import Invalid

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def header_text(value: str) -> bytes:
    """Any text as a header value: what is not printable ASCII is replaced, so that nobody can add a line."""
    if value.isascii() and value.isprintable():
        return value.encode("ascii")
    return "".join(character if " " <= character <= "~" else "?" for character in value).encode("ascii")


MAX_BODY_BYTES = 8 * 1024 * 1024
# A body that is too large is read on and thrown away up to here: a client that is cut off while it
# is still sending would never see why.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


async def pause_while_wanted(seconds: float, client_left: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Pauses for so many seconds. Raises ClientLeft once `client_left` returns: nobody wants what comes after."""
    leaving = asyncio.ensure_future(client_left())
    try:
        await pause_until_left(seconds, leaving)
    finally:
        leaving.cancel()


async def while_wanted(work: Coroutine[Any, Any, None], client_left: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does some work to its end. Raises ClientLeft once `client_left` returns before: the work is then left at once, as
    it is when the caller is cancelled."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(client_left())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        leaving.cancel()
        if not working.done():
            await _leave(working)
    raise ClientLeft


async def _leave(working: asyncio.Future[None]) -> None:
    """Cancels some work and waits for its end. A caller that is cancelled meanwhile cancels it once more: it never goes
    on alone."""
    working.cancel()
    again: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait((working,))
        except asyncio.CancelledError as cancelled:
            again = cancelled
            working.cancel()
    if not working.cancelled():
        working.exception()  # of work that nobody wants; asyncio would log it as one that nobody has looked at
    if again is not None:
        raise again


async def pause_until_left(seconds: float, leaving: asyncio.Future[None]) -> None:
    """Pauses for so many seconds, as one of several pauses: `leaving` goes on after it. Raises ClientLeft once it is
    done."""
    await asyncio.wait((leaving,), timeout=seconds)
    if leaving.done():
        raise ClientLeft


# Some clients say the body's character set in this header, or "none".
_COMPRESSIONS = (b"gzip", b"deflate", b"compress", b"br", b"zstd")
# What a client may say in several headers of one name as well as in one (RFC 9110, section 5.3).
_LISTS = frozenset((b"anthropic-beta", b"openai-beta"))


class Exchange:
    """One request on its way to one answer. `headers` has lower-case names; the last of a name wins, but lists are
    joined. `outlives_its_client`: it goes on, to its end, when its client has left."""

    __slots__ = (
        "_query", "_receive", "_send", "client", "has_begun", "headers", "method", "outlives_its_client", "path",
    )  # fmt: skip

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        given = scope["headers"]
        self.headers: dict[bytes, bytes] = dict(given)
        if len(self.headers) < len(given):
            for name in _LISTS & self.headers.keys():
                self.headers[name] = b",".join(value for each, value in given if each == name)
        self.client: str | None = (scope.get("client") or (None,))[0]
        self.has_begun = False
        self._query: bytes = scope.get("query_string", b"")
        self._receive = receive
        self._send = send
        self.outlives_its_client = False

    def stand_in_for(self, other: Exchange) -> None:
        """Makes this the same exchange as `other`; for subclasses that tell its answer in another way."""
        for name in Exchange.__slots__:
            setattr(self, name, getattr(other, name))

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of a name wins."""
        return dict(parse_qsl(self._query.decode("latin-1"), keep_blank_values=True))

    def header(self, name: bytes) -> str | None:
        """A header as text, None when it is absent. Raises Invalid for one that is no UTF-8."""
        value = self.headers.get(name)
        if value is None:
            return None
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            named = name.decode("latin-1")
            raise Invalid(f"header {named} is not UTF-8", field=named) from None

    async def read_body(self) -> bytes:
        """The whole body. Raises BodyTooLarge above MAX_BODY_BYTES, WrongContentEncoding for one that is compressed,
        Invalid when it breaks off: its client has left, or its chunks are none, which servers do not tell apart."""
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Invalid("the body broke off before its end")
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size <= MAX_BODY_BYTES:
                pieces.append(piece)
            elif size > MAX_DISCARDED_BYTES:
                break
            if not message.get("more_body", False):
                break
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes", max_bytes=MAX_BODY_BYTES)
        encoding = self.headers.get(b"content-encoding", b"")
        if any(word in encoding.lower() for word in _COMPRESSIONS):
            # Only now: a client that is still sending would not read why.
            told = encoding[:40].decode("latin-1")
            raise WrongContentEncoding(f"send the body as it is, not in another form (content-encoding: {told})")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """A complete answer. `headers` without the length."""
        headers.append((b"content-length", str(len(body)).encode()))
        self.has_begun = True
        await self._tell({"type": "http.response.start", "status": status, "headers": headers})
        await self._tell({"type": "http.response.body", "body": body})

    async def begin(self, headers: Headers) -> None:
        """Begins an answer that is sent piece by piece."""
        self.has_begun = True
        await self._tell({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, piece: bytes) -> None:
        """One more piece."""
        await self._tell({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self, last_piece: bytes) -> None:
        """The last piece."""
        await self._tell({"type": "http.response.body", "body": last_piece})

    async def fail(self, last_piece: bytes) -> None:
        """The last piece of an answer that broke off: an error."""
        await self.end(last_piece)

    def note_booked(self, request_id: str, cost_nano_usd: int) -> None:
        """What the answer was booked as, said before its end. For those who keep answers (KeptExchange)."""

    async def _tell(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # ASGI servers raise one or the other on a closed connection
            raise ClientLeft from error

    async def client_left(self) -> None:
        """Returns once the client has closed the connection; call it after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
