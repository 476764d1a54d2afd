"""Whether a client takes what it is sent. One that does not, without leaving (a laptop that sleeps, a connection that
nobody has ended), would hold money, and its vendor's connection, for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from spendhub.gateway.exchange import ClientLeft

# For one piece of a stream. docs/gateway.md, "When something goes wrong".
STALLED_SECONDS = 120.0


class Delivery:
    """The piece that is on its way to the client."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def begins(self) -> None:
        """A piece is handed over."""
        self._since = time.monotonic()

    def ends(self) -> None:
        """The client, or what lies between, has taken it."""
        self._since = None

    async def given_up(self, client_left: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Returns once the client has left, or has taken nothing of one piece for STALLED_SECONDS."""
        leaving = asyncio.ensure_future(client_left())
        try:
            while not (leaving.done() or self._is_stalled()):
                await asyncio.wait((leaving,), timeout=STALLED_SECONDS / 4)
        finally:
            leaving.cancel()

    def _is_stalled(self) -> bool:
        return self._since is not None and time.monotonic() - self._since >= STALLED_SECONDS


async def deliver_last(sending: Coroutine[Any, Any, None]) -> None:
    """Sends a piece after which nothing is to be done. Raises ClientLeft where it is not taken in STALLED_SECONDS."""
    try:
        async with asyncio.timeout(STALLED_SECONDS) as limit:
            await sending
    except TimeoutError:
        if not limit.expired():
            raise
        raise ClientLeft from None
