"""An exchange whose answer is kept as it is sent, for whoever asks the same again.

It stands between the call's journey and the client's real exchange. Whatever is answered well is kept before its last
byte is sent; before an error's last byte is sent its key is given back, for the client may use it at once. A client who
leaves is not missed: it named its call so that it can come back for the answer, and leaving the vendor half-way would
have it pay for a part now and for the whole later.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from spendhub.gateway.delivery import deliver_last
from spendhub.gateway.exchange import ClientLeft, Exchange, Headers
from spendhub.sealing import SealBroken, open_for, seal_for

# Larger answers are sent, but not kept. A stream of 4,000 tokens has about 1 MB.
MAX_KEPT_BYTES = 4 * 1024 * 1024


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer as it was sent, its headers without the length."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptAnswer)

Keep = Callable[["KeptAnswer | None", str, "int | None"], Awaitable[None]]


def pack(answer: KeptAnswer, place: str) -> bytes:
    """An answer as it is stored: sealed for the `place` it is kept at, and small.

    A stream's events repeat each other: level 1 makes a tenth of them.
    """
    return seal_for(place, zlib.compress(_encoder.encode(answer), 1))


def unpack(packed: bytes, place: str) -> KeptAnswer | None:
    """The answer in what `pack` made for `place`; None where it cannot be opened or read."""
    try:
        return _decoder.decode(zlib.decompress(open_for(place, packed)))
    except (SealBroken, zlib.error, msgspec.DecodeError):
        return None


class KeptExchange(Exchange):
    """Passes everything on to `outer`. Before its last piece `keep` is called, with the answer (None: too large), its
    span's request id and its cost, or `give_back` for an error; `is_decided` says that one of them was."""

    __slots__ = ("_booked", "_give_back", "_has_left", "_headers", "_keep", "_outer", "_pieces", "_size", "is_decided")

    def __init__(self, outer: Exchange, keep: Keep, give_back: Callable[[], Awaitable[None]]) -> None:
        self.stand_in_for(outer)
        self.outlives_its_client = True
        self.is_decided = False
        self._outer, self._keep, self._give_back = outer, keep, give_back
        self._booked: tuple[str, int | None] = ("", None)
        self._has_left = False
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._size = 0

    def note_booked(self, request_id: str, cost_nano_usd: int) -> None:
        self._booked = (request_id, cost_nano_usd)

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        if status < 400:
            self._headers = list(headers)
            self._remember(body)
            await self._keep_all(status)
        else:
            await self._keep_nothing()
        await self._outer.answer(status, body, headers)

    async def begin(self, headers: Headers) -> None:
        self._headers = list(headers)
        await self._pass_on(self._outer.begin, headers)

    async def write(self, piece: bytes) -> None:
        self._remember(piece)
        await self._pass_on(self._outer.write, piece)

    async def end(self, last_piece: bytes) -> None:
        self._remember(last_piece)
        await self._keep_all(200)
        await self._pass_on(self._outer.end, last_piece)

    async def fail(self, last_piece: bytes) -> None:
        await self._keep_nothing()
        await self._pass_on(self._outer.fail, last_piece)

    async def client_left(self) -> None:
        """Never returns: the call goes on without its client."""
        await asyncio.Event().wait()

    def _remember(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_KEPT_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    async def _keep_all(self, status: int) -> None:
        is_whole = self._size <= MAX_KEPT_BYTES
        kept = KeptAnswer(status, self._headers, b"".join(self._pieces)) if is_whole else None
        self.is_decided = True
        await self._keep(kept, *self._booked)

    async def _keep_nothing(self) -> None:
        await self._give_back()
        self.is_decided = True

    async def _pass_on(self, send: Callable[..., Coroutine[Any, Any, None]], *told: bytes | Headers) -> None:
        if self._has_left:
            return
        try:
            await deliver_last(send(*told))
        except ClientLeft:
            self._has_left = True
