"""Runs the Lua scripts from an event loop: one connection, and one write per tick for all callers.

redis.asyncio costs several times more CPU per call than the script itself; here a call is packed,
joined with those of its neighbours, and matched with its answer in order, by hiredis.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable
from typing import Any, cast

import hiredis
from django.conf import settings
from redis.connection import parse_url

from budgets.counters.base import CounterStoreDown
from budgets.counters.scripts import all_scripts, run_id_of, script
from spendhub.steps import RunScript

logger = logging.getLogger(__name__)

SECOND_LOOK_SECONDS = 0.05
_NOTHING = object()


class _Connection(asyncio.Protocol):
    """Sends commands, and gives each the answer that comes back in its turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._patience_seconds: float = settings.REDIS_TIMEOUT_SECONDS
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._outgoing: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.is_open = False
        self.run_id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def ask(self, command: tuple[str | int | bytes, ...]) -> asyncio.Future[Any]:
        """Queues one command for this tick's write; the future gets its answer."""
        future = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows 1-tuples only
        self._waiting.append((future, self._loop.time()))
        return future

    def _flush(self) -> None:
        if self._transport is None or not self._outgoing:
            return
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        self._transport.write(data)
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience_seconds, self._check_patience)

    def _check_patience(self, is_second_look: bool = False) -> None:
        self._timer = None
        if self._waiting:
            rest = self._waiting[0][1] + self._patience_seconds - self._loop.time()
            if rest > 0.005:
                self._timer = self._loop.call_later(rest, self._check_patience)
            elif not is_second_look:
                # It may be our own loop that stood still: what has arrived meanwhile is read before we look again.
                self._timer = self._loop.call_later(SECOND_LOOK_SECONDS, self._check_patience, True)
            else:
                self.abort("no answer in time")

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not _NOTHING:
            future, _ = self._waiting.popleft()
            if future.done():
                continue
            if isinstance(answer, hiredis.ReplyError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.abort(str(error or "the server closed the connection"))

    def abort(self, reason: str) -> None:
        """Drops the connection and tells everyone who waits on it."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._outgoing.clear()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionError(reason))


class AsyncRedisScripts:
    """Runs scripts for one event loop."""

    def __init__(self, url: str) -> None:
        self._where: dict[str, Any] = dict(parse_url(url))
        self._connection: _Connection | None = None
        self._connecting: asyncio.Lock | None = None

    async def run_script(self, step: RunScript) -> Any:
        """The script's result, as Redis gave it. Raises CounterStoreDown."""
        connection = self._connection
        if connection is None or not connection.is_open:
            try:
                connection = await self._connect()
            except (OSError, hiredis.HiredisError) as error:
                raise _down(step, error) from error
        return await _answer_to(step, connection, _ask(step, connection))

    def send_script(self, step: RunScript) -> Awaitable[Any]:
        """As `run_script`; where a connection is open, whatever is run on it later comes behind this script, and it is
        on the wire at the end of the loop's tick: with what its neighbours send, a message each would cost more.

        Once, a script may be run later than that: after somebody has told the server to forget its scripts."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return self.run_script(step)
        return _answer_to(step, connection, _ask(step, connection))

    async def _connect(self) -> _Connection:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            try:
                self._connection = await asyncio.wait_for(self._open(), settings.REDIS_TIMEOUT_SECONDS)
            except TimeoutError:
                raise ConnectionError("no connection in time") from None
            return self._connection

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        where = self._where
        if "path" in where:
            _, connection = await loop.create_unix_connection(lambda: _Connection(loop), where["path"])
        else:
            host, port = where.get("host", "localhost"), where.get("port", 6379)
            _, connection = await loop.create_connection(lambda: _Connection(loop), host, port, ssl=self._tls())
        try:
            if where.get("password"):
                user = (where["username"],) if where.get("username") else ()
                await connection.ask(("AUTH", *user, where["password"]))
            if where.get("db"):
                await connection.ask(("SELECT", where["db"]))
            # A script that the server did not know would be run behind what was sent after it.
            await asyncio.gather(*[connection.ask(("SCRIPT", "LOAD", each.text)) for each in all_scripts()])
            connection.run_id = run_id_of(await connection.ask(("INFO", "server")))
        except BaseException:
            connection.abort("the server refused us")
            raise
        return connection

    def _tls(self) -> ssl.SSLContext | None:
        if not str(self._where.get("connection_class", "")).count("SSL"):
            return None
        context = ssl.create_default_context(cafile=self._where.get("ssl_ca_certs"))
        if self._where.get("ssl_cert_reqs") == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.abort("closed")


def _arguments(step: RunScript, connection: _Connection) -> tuple[str | int | bytes, ...]:
    return (len(step.keys), *step.keys, connection.run_id, *step.args)


def _ask(step: RunScript, connection: _Connection) -> asyncio.Future[Any]:
    return connection.ask(("EVALSHA", script(step.name).sha, *_arguments(step, connection)))


async def _answer_to(step: RunScript, connection: _Connection, asked: asyncio.Future[Any]) -> Any:
    try:
        try:
            return await asked
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            return await connection.ask(("EVAL", script(step.name).text, *_arguments(step, connection)))
    except (OSError, hiredis.HiredisError) as error:
        raise _down(step, error) from error


def _down(step: RunScript, error: Exception) -> CounterStoreDown:
    logger.warning("Redis did not run %s: %s", step.name, error)
    return CounterStoreDown("the counter store does not answer")
