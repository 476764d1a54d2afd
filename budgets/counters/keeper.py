"""The two threads each process runs for the counters.

One reads the fence, so that the lease stays fresh and a change of hands is seen within half a
second. The other does what may block for longer: it says that our calls are still alive, probes
Redis while the database counts, and repeats what a store has not heard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import connections

from budgets.counters.base import CounterStoreDown
from budgets.counters.breaker import Recovery
from budgets.counters.charge import FencedStore, counters
from budgets.counters.drive import drive, scripts
from budgets.counters.fence import DATABASE, REDIS
from budgets.counters.live_holds import by_tenant
from spendhub.bounded_postgres import bounded_waits

logger = logging.getLogger(__name__)

FENCE_POLL_SECONDS = 0.5
KEEP_SECONDS = 1.0


class Keeper:
    """The work of the second thread, one `step` at a time."""

    def __init__(self, store: FencedStore) -> None:
        self._store = store
        self._recovery = Recovery()
        self._next_heartbeat = 0.0

    def step(self, now: float) -> None:
        """Does what is due. `now` is monotonic seconds."""
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + settings.CALL_HOLD_SECONDS / 3
            self.extend_calls()
        self._store.tell_the_untold()
        self._probe(now)

    def extend_calls(self) -> None:
        """Moves the end of our calls in flight, so that nobody takes them for orphans."""
        expires_at = time.time() + settings.CALL_HOLD_SECONDS
        for holds in by_tenant(self._store.holds.calls()).values():
            drive(self._store.extend(holds, expires_at))

    def _probe(self, now: float) -> None:
        """Gives the counters back to Redis once it has been well for a while."""
        charge = self._store.charge
        redis_scripts = scripts()
        if redis_scripts is None or charge is None or charge.store != DATABASE or not charge.is_open:
            self._recovery.forget()
            return
        try:
            redis_scripts.ping()
        except CounterStoreDown:
            is_healthy = False
        else:
            is_healthy = True
        if self._recovery.probed(is_healthy, now):
            self._recovery.forget()
            self._store.change_hands(charge, REDIS, "Redis answers again")


class _Repeating(threading.Thread):
    def __init__(self, name: str, every_seconds: float, step: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._every_seconds = every_seconds
        self._step = step
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            while True:
                try:
                    with bounded_waits():
                        self._step()
                except Exception:  # the thread must outlive whatever one round met
                    logger.exception("%s", self.name)
                    connections.close_all()
                if self._stopped.wait(self._every_seconds):
                    return
        finally:
            connections.close_all()

    def stop(self) -> None:
        self._stopped.set()
        self.join(5.0)


_threads: list[_Repeating] = []


def start_threads() -> None:
    """Starts both threads; a second call changes nothing."""
    if _threads:
        return
    store = counters()
    keeper = Keeper(store)
    _threads.append(_Repeating("counter-fence", FENCE_POLL_SECONDS, store.refresh))
    _threads.append(_Repeating("counter-keeper", KEEP_SECONDS, lambda: keeper.step(time.monotonic())))
    for thread in _threads:
        thread.start()


def stop_threads() -> None:
    """Ends both threads."""
    while _threads:
        _threads.pop().stop()
