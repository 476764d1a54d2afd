"""One PostgreSQL connection that belongs to an event loop: its statements are sent and answered without a thread.

A thread would have to be woken for each statement, and would have to wait for the interpreter's lock each time that it
comes back from the server; under load that takes longer than the statement. And the server reads and plans each
statement but once, when the connection opens: for a call's few rows that was more than half of its work.

Drives libpq by `psycopg.pq`, in the order that libpq asks for (PostgreSQL manual, "Asynchronous Command Processing",
"Pipeline Mode").
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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


class Asked(NamedTuple):
    """One of the statements that were prepared, and its parameters as text."""

    statement: str
    parameters: Sequence[bytes]


def connect(statements: Mapping[str, str]) -> pq.abc.PGconn:
    """A connection to Django's default database that knows these statements (name: SQL); blocks, so call it in a
    thread. Raises ConnectionLost."""
    told = {"application_name": APPLICATION_NAME}
    told |= {name: value for name, value in connection.get_connection_params().items() if name not in _NOT_FOR_LIBPQ}
    made = pq.PGconn.connect(make_conninfo("", **told).encode())
    if made.status != pq.ConnStatus.OK:
        message = made.get_error_message()
        made.finish()
        raise ConnectionLost(message)
    for name, sql in statements.items():
        prepared = made.prepare(name.encode(), sql.encode())
        if prepared.status != pq.ExecStatus.COMMAND_OK:
            message = prepared.get_error_message()
            made.finish()
            raise ConnectionLost(message)
    made.enter_pipeline_mode()
    return made


class LoopConnection:
    """Sends statements in messages, one after the other: `run` may be called again once the last one was answered.

    It ends where no answer has come within `limit_seconds`: a server that stands still says nothing.
    """

    def __init__(self, made: pq.abc.PGconn, loop: asyncio.AbstractEventLoop, limit_seconds: float) -> None:
        self._libpq = made
        self._limit_seconds = limit_seconds
        self._loop = loop
        self._socket = made.socket
        self._results: list[pq.abc.PGresult] = []
        self._waiting: asyncio.Future[Sequence[pq.abc.PGresult]] | None = None
        self.is_open = True
        made.nonblocking = 1
        loop.add_reader(self._socket, self._read)

    async def run(self, message: Sequence[Asked]) -> Sequence[pq.abc.PGresult]:
        """One result per statement. Together they are one transaction.

        Raises StatementFailed and ConnectionLost.
        """
        if not self.is_open:
            raise ConnectionLost("closed")
        self._waiting = self._loop.create_future()
        try:
            for asked in message:
                self._libpq.send_query_prepared(asked.statement.encode(), asked.parameters)
            self._libpq.pipeline_sync()
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
            is_between = False
            while self._waiting is not None and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    # Once after each statement. Twice would be where nothing more comes, and would be so for ever.
                    if is_between:
                        self.close("the server answered less than it was asked")
                        return
                    is_between = True
                    continue
                is_between = False
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._answer()
                else:
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


__all__ = ["Asked", "ConnectionLost", "LoopConnection", "StatementFailed", "connect"]
