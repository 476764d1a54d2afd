"""Waits for PostgreSQL that end.

A server that stands still with its connections open says nothing, and TCP keeps them alive: a statement would wait for
as long as it stands. Where callers wait for a statement (a booking, a check, the fence of the counters), the wait is
bounded; reports, migrations and the like may take as long as they need.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from psycopg.pq import TransactionStatus


class _Bound(threading.local):
    seconds: float | None = None


_bound = _Bound()


@contextmanager
def bounded_waits(seconds: float | None = None) -> Iterator[None]:
    """Within it no statement of this thread is waited for longer than that, or DATABASE_TIMEOUT_SECONDS; what is
    raised then is the OperationalError of a lost connection. SQLite's waits are bounded everywhere (settings.py)."""
    before, _bound.seconds = _bound.seconds, seconds or settings.DATABASE_TIMEOUT_SECONDS
    try:
        yield
    finally:
        _bound.seconds = before


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose waits end where its thread has bounded them."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's. A connection that is given up on is closed: its answer could still come, to the wrong ear."""
        try:
            return super().wait(gen, interval, _bound.seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise
