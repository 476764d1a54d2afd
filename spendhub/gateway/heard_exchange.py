"""An exchange that remembers what its client was sent, for whoever looks at the answer after it has gone out."""

from __future__ import annotations

from spendhub.gateway.exchange import Exchange, Headers

# A longer answer is sent, but not remembered. A stream of 4,000 tokens has about 1 MB; a scorer is shown 16,000
# characters in any case.
MAX_HEARD_BYTES = 1024 * 1024


class HeardExchange(Exchange):
    """Passes everything on to `outer`. `heard` is the answer's body as it was sent, all of it; None until it has gone
    out to its end, for an error, and where it is too long."""

    __slots__ = ("_outer", "_pieces", "_size", "heard")

    def __init__(self, outer: Exchange) -> None:
        self.stand_in_for(outer)
        self.heard: bytes | None = None
        self._outer = outer
        self._pieces: list[bytes] = []
        self._size = 0

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See Exchange."""
        await self._outer.answer(status, body, headers)
        if status < 400 and len(body) <= MAX_HEARD_BYTES:
            self.heard = body

    async def begin(self, headers: Headers) -> None:
        """See Exchange."""
        await self._outer.begin(headers)

    async def write(self, piece: bytes) -> None:
        """See Exchange."""
        self._remember(piece)
        await self._outer.write(piece)

    async def end(self, last_piece: bytes) -> None:
        """See Exchange."""
        self._remember(last_piece)
        await self._outer.end(last_piece)
        if self._size <= MAX_HEARD_BYTES:
            self.heard = b"".join(self._pieces)
            self._pieces.clear()

    async def fail(self, last_piece: bytes) -> None:
        """See Exchange."""
        await self._outer.fail(last_piece)

    def note_booked(self, request_id: str, cost_nano_usd: int) -> None:
        """See Exchange."""
        self._outer.note_booked(request_id, cost_nano_usd)

    async def client_left(self) -> None:
        """See Exchange."""
        await self._outer.client_left()

    def _remember(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_HEARD_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
