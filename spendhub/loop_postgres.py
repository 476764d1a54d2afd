"""One PostgreSQL connection that belongs to an event loop: its statements are sent and answered without a thread.

A thread would have to be woken for each statement, and would have to wait for the interpreter's lock each time that it
comes back from the server; under load that takes longer than the statement. Drives libpq by `psycopg.pq`, in the order
that libpq asks for (PostgreSQL manual, "Asynchronous Command Processing").
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from django.db import connection
from psycopg import OperationalError, pq
from psycopg.conninfo import make_conninfo

# What Django passes to psycopg and libpq does not know.
_NOT_FOR_LIBPQ = frozenset({"context", "cursor_factory", "prepare_threshold"})


# How this connection shows in pg_stat_activity.
APPLICATION_NAME = "spendhub event loop"


class StatementFailed(Exception):
    """The server refused a statement; nothing of what was sent with it has happened. `sqlstate` says why."""

    def __init__(self, sqlstate: str, message: str) -> None:
        self.sqlstate = sqlstate
        super().__init__(f"{sqlstate}: {message}")


class ConnectionLost(Exception):
    """The connection ended; whether what was sent last has happened is not known."""


def connect() -> pq.abc.PGconn:
    """A connection to Django's default database; blocks, so call it in a thread. Raises ConnectionLost."""
    told = {"application_name": APPLICATION_NAME}
    told |= {name: value for name, value in connection.get_connection_params().items() if name not in _NOT_FOR_LIBPQ}
    made = pq.PGconn.connect(make_conninfo("", **told).encode())
    if made.status != pq.ConnStatus.OK:
        message = made.get_error_message()
        made.finish()
        raise ConnectionLost(message)
    return made


class LoopConnection:
    """Sends statements one after the other: `run` may be called again once the last one was answered.

    It ends where no answer has come within `limit_seconds`: a server that stands still says nothing.
    """

    def __init__(self, made: pq.abc.PGconn, loop: asyncio.AbstractEventLoop, limit_seconds: float) -> None:
        self._libpq = made
        self._limit_seconds = limit_seconds
        self._loop = loop
        self._socket = made.socket
        self._results: list[pq.abc.PGresult] = []
        self._waiting: asyncio.Future[Sequence[pq.abc.PGresult]] | None = None
        self._escape = pq.Escaping(made).escape_literal
        self.is_open = True
        made.nonblocking = 1
        loop.add_reader(self._socket, self._read)

    def literal(self, text: bytes) -> bytes:
        """The text as a literal of SQL."""
        return bytes(self._escape(text))

    async def run(self, statements: bytes) -> Sequence[pq.abc.PGresult]:
        """One result per statement. Without a BEGIN among them they are one transaction.

        Raises StatementFailed and ConnectionLost.
        """
        if not self.is_open:
            raise ConnectionLost("closed")
        self._waiting = self._loop.create_future()
        try:
            self._libpq.send_query(statements)
            if self._libpq.flush():
                self._loop.add_writer(self._socket, self._write)
        except OperationalError as error:
            self.close(str(error))
        overdue = self._loop.call_later(self._limit_seconds, self.close, f"no answer within {self._limit_seconds:g} s")
        try:
            results = await self._waiting
        finally:
            overdue.cancel()
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
                raise StatementFailed(state.decode(), result.get_error_message())
        return results

    def _write(self) -> None:
        try:
            if not self._libpq.flush():
                self._loop.remove_writer(self._socket)
        except OperationalError as error:
            self.close(str(error))

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            while self._waiting is not None and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    self._answer()
                    return
                self._results.append(result)
        except OperationalError as error:
            self.close(str(error))

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, None
        results, self._results = self._results, []
        if waiting is not None and not waiting.done():
            waiting.set_result(results)

    def close(self, reason: str = "closed") -> None:
        """Ends the connection; who waits on it is told ConnectionLost."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._libpq.finish()
        waiting, self._waiting = self._waiting, None
        self._results = []
        if waiting is not None and not waiting.done():
            waiting.set_exception(ConnectionLost(reason))


__all__ = ["ConnectionLost", "LoopConnection", "StatementFailed", "connect"]
