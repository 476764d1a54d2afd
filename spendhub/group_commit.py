"""Many small writes, one transaction: callers wait for the commit they share with their neighbours.

One writer thread per process has its own database connection. A job names an applier, a function
that writes a whole batch inside the shared transaction and answers one result (or exception) per
payload. A future is resolved only after the commit. Appliers are idempotent (unique keys), so a
batch whose commit is in doubt after a lost connection is simply applied again.
docs/decisions/0002-writes-share-a-commit.md says why.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from spendhub.bounded_postgres import bounded_waits
from spendhub.errors import Unavailable

logger = logging.getLogger(__name__)

# Larger batches no longer save anything, and hold row locks longer.
MAX_BATCH = 1_000
# A commit costs the same for one and for ten: where company is likely to come within this time, it is waited for.
LINGER_SECONDS = 0.002
# As many arrivals within that time, as the last batches have come, are worth the wait.
LIKELY_COMPANY = 0.5
# How long a write is retried against a database that does not answer before its caller is told.
RETRY_SECONDS = 10.0

Applier = Callable[[Sequence[Any]], Sequence[Any]]


class LedgerUnavailable(Unavailable):
    """The database did not take the write in time; whether it happened is settled by retrying."""

    code = "ledger_unavailable"


class _Job:
    __slots__ = ("applier", "future", "payload", "since", "weight")

    def __init__(self, applier: Applier, payload: Any, weight: int, since: float) -> None:
        self.applier = applier
        self.payload = payload
        self.weight = weight
        self.since = since
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        # From here on it cannot be cancelled: what is handed over shares its commit with others, and is done.
        self.future.set_running_or_notify_cancel()


class GroupCommit:
    """The writer thread and its queue. Use the process-wide one: `submit(...)`."""

    def __init__(
        self, max_batch: int = MAX_BATCH, retry_seconds: float = RETRY_SECONDS, limit_seconds: float | None = None
    ) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._max_batch = max_batch
        self._retry_seconds = retry_seconds
        self._limit_seconds = limit_seconds
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._per_second = 0.0
        self._began = time.monotonic()

    def submit(
        self, applier: Applier, payload: Any, weight: int = 1, *, since: float | None = None
    ) -> concurrent.futures.Future[Any]:
        """Queues one payload; the future has the applier's result for it once it is committed.

        `weight` is how many rows it is, for batching; `since` (monotonic seconds) is when its caller began to wait,
        where that was earlier. The future raises what the applier answered for this payload, or LedgerUnavailable
        when the database stayed away.
        """
        job = _Job(applier, payload, weight, time.monotonic() if since is None else since)
        self._jobs.put(job)
        if self._thread is None or not self._thread.is_alive():
            self._start()
        return job.future

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
                self._thread.start()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Writes what is queued, then ends the thread and closes its connection."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._jobs.put(None)
            thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            closing = False
            while not closing:
                batch, closing = self._next_batch()
                if batch:
                    with bounded_waits(self._limit_seconds):
                        self._write(batch)
        finally:
            connection.close()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        weight = 0
        may_linger = self._per_second * LINGER_SECONDS >= LIKELY_COMPANY
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            weight += job.weight
            if weight >= self._max_batch:
                break
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                if not may_linger:
                    break
                may_linger = False
                time.sleep(LINGER_SECONDS)
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
        self._note_arrivals(len(batch))
        return batch, job is None

    def _note_arrivals(self, count: int) -> None:
        """Keeps a running mean of how many jobs come in a second; the last ten batches or so decide it."""
        now = time.monotonic()
        seconds, self._began = max(now - self._began, 1e-6), now
        self._per_second += 0.1 * (count / seconds - self._per_second)

    def _write(self, batch: list[_Job]) -> None:
        pause = 0.05
        while batch:
            try:
                results = self._apply(batch)
            except (OperationalError, InterfaceError) as error:
                # The server went away, or a deadlock was broken: nothing of ours is lost, apply again.
                connection.close()
                batch = self._without_overdue(batch, time.monotonic() + pause, error)
                if batch:
                    logger.warning("ledger writer retries %d jobs: %s", len(batch), error)
                    time.sleep(pause)
                    pause = min(pause * 2, 1.0)
            except Exception as error:  # any other failure belongs to one of the jobs: find which
                self._isolate(batch, error)
                return
            else:
                for job, result in zip(batch, results, strict=True):
                    if isinstance(result, BaseException):
                        job.future.set_exception(result)
                    else:
                        job.future.set_result(result)
                return

    def _without_overdue(self, batch: list[_Job], now: float, error: Exception) -> list[_Job]:
        """The jobs that may be tried again; those who have waited long enough, in the queue too, are told."""
        # A failure that took long to show must not use up the time for another try.
        began_before = now - self._retry_seconds - (self._limit_seconds or settings.DATABASE_TIMEOUT_SECONDS)
        overdue = [job for job in batch if job.since <= began_before]
        if overdue:
            logger.error("ledger writer gives up on %d jobs: %s", len(overdue), error)
        for job in overdue:
            job.future.set_exception(LedgerUnavailable("the ledger does not answer"))
        return [job for job in batch if job.since > began_before]

    def _isolate(self, batch: list[_Job], error: Exception) -> None:
        """One payload must not take its neighbours down: apply each alone, and tell only the culprit."""
        if len(batch) == 1:
            if isinstance(error, DatabaseError):
                logger.error("ledger writer refused a job: %s", error)
            batch[0].future.set_exception(error)
            return
        for job in batch:
            self._write([job])

    def _apply(self, batch: list[_Job]) -> list[Any]:
        by_applier: dict[Applier, list[int]] = {}
        for position, job in enumerate(batch):
            by_applier.setdefault(job.applier, []).append(position)
        results: list[Any] = [None] * len(batch)
        with transaction.atomic():
            try:
                # A fixed order of appliers keeps two processes from locking in opposite orders.
                for applier in sorted(by_applier, key=lambda each: (each.__module__, each.__qualname__)):
                    positions = by_applier[applier]
                    answers = applier([batch[position].payload for position in positions])
                    for position, answer in zip(positions, answers, strict=True):
                        results[position] = answer
            except (OperationalError, InterfaceError):
                # Closed in here, it is only left; outside, Django would wait for a new one to end the transaction with.
                connection.close()
                raise
        return results


_writer = GroupCommit()


def writer() -> GroupCommit:
    """This process's group commit; a forked child gets its own."""
    global _writer
    if _writer._pid != os.getpid():
        _writer = GroupCommit()
    return _writer


def submit(
    applier: Applier, payload: Any, weight: int = 1, *, since: float | None = None
) -> concurrent.futures.Future[Any]:
    """Queues one write on this process's group commit; see GroupCommit.submit."""
    return writer().submit(applier, payload, weight, since=since)
