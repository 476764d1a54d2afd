"""Spans on disk and in the ledger, written by the data plane's event loop itself: the group commit's short cut.

Most calls are booked in one way: their spans are new, the budgets are those this process knows, and no line is crossed.
All of a moment's calls of that kind go to PostgreSQL in one message, which is one transaction: spans, the look at the
budgets' version, the ledger's rows. The last two undo everything where it is not so (a division by zero), a repeated
span does by its unique key; and then, as for every other kind of call, the group commit does it (span_store.py).
docs/decisions/0050-the-data-planes-event-loop-books-usual-calls-itself.md says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from budgets.ledger import Charge, sum_up
from budgets.quiet import Quiet, QuietWindows
from budgets.snapshot import BUDGETS
from spendhub import group_commit
from spendhub.loop_postgres import ConnectionLost, LoopConnection, StatementFailed, connect
from spendhub.steps import await_future
from telemetry.booking_statements import booking_message, booking_statements, read_standings
from telemetry.span_store import SpanBatch, StoredBatch, charges_for, store_spans, stored_as

logger = logging.getLogger(__name__)

MAX_CALLS = 500
RECONNECT_SECONDS = 1.0
# Promises that did not hold: a repeated span, and a division by zero of ours.
_BROKEN_PROMISES = frozenset({"23505", "22012"})


class _Job(NamedTuple):
    """`since` is when its caller began to wait, in monotonic seconds."""

    batch: SpanBatch
    stored: asyncio.Future[StoredBatch]
    since: float


class _Booking(NamedTuple):
    """A job, what it charges, and what is known of the windows that it charges."""

    job: _Job
    charges: Sequence[Charge]
    quiet: Sequence[Quiet]


class LoopLedger:
    """Books calls for one event loop; `booked` of them itself, and `left` to the group commit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.booked = 0
        self.left = 0
        self._queue: list[_Job] = []
        self._work: asyncio.Task[None] | None = None
        self._connection: LoopConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._connect_again_at = 0.0
        self._windows = QuietWindows()

    def submit(self, batch: SpanBatch) -> asyncio.Future[StoredBatch]:
        """Books one batch; the future has what became of it once it is committed, or raises what the group commit's
        does. Cancelling who waits does not undo it."""
        stored: asyncio.Future[StoredBatch] = self._loop.create_future()
        self._queue.append(_Job(batch, stored, time.monotonic()))
        if self._work is None:
            self._work = self._loop.create_task(self._book_all())
        return stored

    async def connected(self) -> None:
        """Waits for the connection that the next calls will find; returns at once where there will be none."""
        self._connect_soon()
        if self._connecting is not None:
            await self._connecting

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()

    async def _book_all(self) -> None:
        try:
            while self._queue:
                jobs, self._queue = self._queue[:MAX_CALLS], self._queue[MAX_CALLS:]
                connection = self._open_connection()
                # Before the first snapshot the budgets would have to be read, which a loop must not wait for.
                if connection is None or BUDGETS.version < 0:
                    self._connect_soon()
                    self._leave(jobs)
                else:
                    await self._book_or_leave(jobs, connection)
        finally:
            self._work = None

    async def _book_or_leave(self, jobs: Sequence[_Job], connection: LoopConnection) -> None:
        try:
            await self._book(jobs, connection)
        except Exception:  # one call that cannot be written must not leave its neighbours waiting: each goes alone
            logger.exception("calls are booked by the group commit")
            self._leave([job for job in jobs if not job.stored.done()])

    async def _book(self, jobs: Sequence[_Job], connection: LoopConnection) -> None:
        version = BUDGETS.version
        bookings, others = self._sort(jobs)
        self._leave(others)
        if not bookings:
            return
        sums = sum_up([charge for booking in bookings for charge in booking.charges])
        quiet = {each.stands.id: each for booking in bookings for each in booking.quiet}
        message = booking_message([booking.job.batch for booking in bookings], sums, quiet.values(), version)
        try:
            results = await connection.run(message)
        except (StatementFailed, ConnectionLost) as error:
            if not isinstance(error, StatementFailed) or error.sqlstate not in _BROKEN_PROMISES:
                logger.warning("calls are booked by the group commit: %s", error)
            self._windows.forget(sums.nano_usd)
            self._leave([booking.job for booking in bookings])
            return
        standings = read_standings(results, quiet, sums)
        self.booked += len(bookings)
        for job, charges, _ in bookings:
            ids = tuple([draft.id for draft in job.batch.drafts])
            _tell(job, stored_as(ids, len(ids), charges, standings))

    def _sort(self, jobs: Sequence[_Job]) -> tuple[list[_Booking], list[_Job]]:
        """Which jobs can be booked here: all of whose windows are known to have nothing to tell."""
        budgets = BUDGETS.current()
        bookings: list[_Booking] = []
        others: list[_Job] = []
        for job in jobs:
            batch = job.batch
            charges = [
                charge
                for draft in batch.drafts
                for charge in charges_for(budgets, batch.tenant_id, draft, draft.cost_nano_usd)
            ]
            quiet = [self._windows.find(charge.window_key, charge.matched) for charge in charges]
            known = [each for each in quiet if each is not None]
            if len(known) == len(charges) and batch.reservation_id is None:
                bookings.append(_Booking(job, charges, known))
            else:
                others.append(job)
        return bookings, others

    def _leave(self, jobs: Iterable[_Job]) -> None:
        """Leaves jobs to the group commit, and learns from what it did."""
        for job in jobs:
            self.left += 1
            # Its own task: nobody behind these has to wait for the other writer.
            task = self._loop.create_task(self._await_group_commit(job))
            _waiting.add(task)
            task.add_done_callback(_waiting.discard)

    async def _await_group_commit(self, job: _Job) -> None:
        try:
            weight = len(job.batch.drafts)
            stored = await await_future(group_commit.submit(store_spans, job.batch, weight, since=job.since))
        except Exception as error:  # whatever it is belongs to who waits for this job
            if not job.stored.done():
                job.stored.set_exception(error)
            return
        self._windows.learn(stored.standings)
        _tell(job, stored)

    def _open_connection(self) -> LoopConnection | None:
        return self._connection if self._connection is not None and self._connection.is_open else None

    def _connect_soon(self) -> None:
        if self._open_connection() or self._connecting is not None or time.monotonic() < self._connect_again_at:
            return
        if _is_postgres():
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            made = await asyncio.to_thread(connect, booking_statements())
            self._connection = LoopConnection(made, self._loop, settings.DATABASE_TIMEOUT_SECONDS)
        except ConnectionLost as error:
            logger.warning("the event loop has no connection to PostgreSQL: %s", error)
            self._connect_again_at = time.monotonic() + RECONNECT_SECONDS
        finally:
            self._connecting = None


# The loop itself keeps only weak references to tasks.
_waiting: set[asyncio.Task[None]] = set()
_by_loop: dict[asyncio.AbstractEventLoop, LoopLedger] = {}


def book_on_loop(batch: SpanBatch) -> asyncio.Future[StoredBatch]:
    """Books a batch from the running event loop; see LoopLedger.submit."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        for ended in [each for each in _by_loop if each.is_closed()]:
            del _by_loop[ended]
        found = _by_loop[loop] = LoopLedger(loop)
    return found.submit(batch)


def _tell(job: _Job, stored: StoredBatch) -> None:
    if not job.stored.done():
        job.stored.set_result(stored)


@cache
def _is_postgres() -> bool:
    return connection.vendor == "postgresql"
