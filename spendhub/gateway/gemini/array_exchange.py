"""A stream of Google's for whoever asks without `alt=sse`: one JSON array that grows.

    [{"candidates": ...}
    ,
    {"candidates": ..., "usageMetadata": ..., "spendhub": ...}
    ]

Its elements are what the events of the same stream carry, and so is an error in its middle, as the last of them. An
error before it has begun is an array as well, of that error alone: clients that read arrays read nothing else.
Source: ai.google.dev API reference, "streamGenerateContent"; how elements are parted, and where errors stand, as
Google's servers were seen to write them.
"""

from __future__ import annotations

from routing.upstreams.decoders import SERVER_SENT_EVENTS
from routing.upstreams.sse import events_in
from spendhub.gateway.exchange import Exchange, Headers

CONTENT_TYPE = b"application/json; charset=UTF-8"
_BEGIN, _BETWEEN, _END = b"[", b"\n,\r\n", b"\n]"
_EVENTS = SERVER_SENT_EVENTS.encode()


class ArrayExchange(Exchange):
    """Passes everything on to `outer`, the events of a stream as elements of an array. Each piece that it is given
    holds whole events, each of them one JSON object."""

    __slots__ = ("_outer", "_separator")

    def __init__(self, outer: Exchange) -> None:
        self.stand_in_for(outer)
        self._outer = outer
        self._separator = _BEGIN

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See Exchange. A stream that is given again as a whole comes as events too."""
        self.has_begun = True
        if any(name == b"content-type" and value.startswith(_EVENTS) for name, value in headers):
            body, headers = self._elements(body) + self._ending(), _as_json(headers)
        elif body.startswith(b"{"):
            body = _BEGIN + body + _END
        await self._outer.answer(status, body, headers)

    async def begin(self, headers: Headers) -> None:
        """See Exchange."""
        self.has_begun = True
        await self._outer.begin(_as_json(headers))

    async def write(self, piece: bytes) -> None:
        """See Exchange."""
        await self._outer.write(self._elements(piece))

    async def end(self, last_piece: bytes) -> None:
        """See Exchange."""
        await self._outer.end(self._elements(last_piece) + self._ending())

    async def fail(self, last_piece: bytes) -> None:
        """See Exchange."""
        await self._outer.fail(self._elements(last_piece) + self._ending())

    def _elements(self, piece: bytes) -> bytes:
        told = []
        for event in events_in(piece):
            told += [self._separator, event.data]
            self._separator = _BETWEEN
        return b"".join(told)

    def _ending(self) -> bytes:
        return _END if self._separator is _BETWEEN else _BEGIN + _END


def _as_json(headers: Headers) -> Headers:
    return [(name, CONTENT_TYPE if name == b"content-type" else value) for name, value in headers]
