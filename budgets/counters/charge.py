"""The counters everybody uses: whichever store is in charge, and never two at once.

`counters()` keeps the contract of base.py on top of the fence (fence.py). A reserve that meets a
change of hands waits a little and then raises CountersChangingHands; it never passes uncounted. A
settle never fails its call: the span is on disk, and what the store missed is told to it later.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseProblem

from budgets.counters import moving
from budgets.counters.base import (
    Count,
    CounterLine,
    CountersChangingHands,
    CounterStore,
    CounterStoreDown,
    Hold,
    MemoryLost,
    NotInCharge,
    Reserved,
    WindowTotal,
)
from budgets.counters.breaker import Breaker
from budgets.counters.database import DatabaseCounters
from budgets.counters.drive import drive
from budgets.counters.fence import DATABASE, LEASE_SECONDS, REDIS, Charge, hand_over, open_epoch, read_charge
from budgets.counters.live_holds import LiveHolds
from budgets.counters.redis import RedisCounters
from spendhub.errors import Unavailable
from spendhub.steps import CallInThread, Journey, Pause

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# How long a reserve waits for a change of hands before it says 503.
PATIENCE_SECONDS = 3.0
PAUSE_SECONDS = 0.05
SETTLE_ATTEMPTS = 3


class FencedStore:
    """A CounterStore that asks the one in charge. One per process; threads and event loops share it."""

    def __init__(self) -> None:
        self.holds = LiveHolds()
        self.breaker = Breaker()
        # What a store missed, or may have done without our hearing of it: hold id -> (hold, totals).
        self.untold: dict[uuid.UUID, tuple[Hold, Sequence[WindowTotal]]] = {}
        self._charge: Charge | None = None
        self._store: CounterStore | None = None
        self._read_at = 0.0
        self._restored_epoch = 0
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()

    # --- the contract ------------------------------------------------------------------------------
    def look(self, tenant_id: int, lines: Sequence[CounterLine], now: float) -> Journey[tuple[Count, ...]]:
        return (yield from self._ask(lambda store: store.look(tenant_id, lines, now)))

    def reserve(self, hold: Hold, now: float) -> Journey[Reserved]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        was_tried = False
        try:
            while True:
                charge, store = yield from self._await_charge(deadline)
                was_tried = True
                try:
                    answer = yield from store.reserve(hold, now)
                except (CounterStoreDown, MemoryLost, NotInCharge) as error:
                    yield from self._recover(charge, error, deadline)
                    continue
                self.breaker.succeeded()
                if not answer.is_held:
                    return answer
                if self._keep(charge, hold):
                    return answer
                # It was held, but maybe too late to be counted by the store that is in charge now: ask there.
        except BaseException:
            if was_tried:
                self.untold[hold.hold_id] = (hold, ())
            raise

    def settle(
        self, hold: Hold, totals: Sequence[WindowTotal], now: float, ended_in: int | None = None
    ) -> Journey[None]:
        """`ended_in` is the `database_epoch` in which the transaction that booked the call has ended the hold."""
        self.holds.remove(hold.hold_id)
        # No longer among the holds that are put back, and the same epoch: nothing can have brought it back.
        if ended_in is not None and ended_in == self.database_epoch:
            return
        self.untold[hold.hold_id] = (hold, totals)
        if (yield from self._tell(lambda store: store.settle(hold, totals, now))):
            self.untold.pop(hold.hold_id, None)

    def publish(self, tenant_id: int, totals: Sequence[WindowTotal]) -> Journey[None]:
        if totals:
            yield from self._tell(lambda store: store.publish(tenant_id, totals))

    def extend(self, holds: Sequence[Hold], expires_at: float) -> Journey[None]:
        yield from self._tell(lambda store: store.extend(holds, expires_at))

    def restore(self, holds: Sequence[Hold], now: float) -> Journey[None]:
        yield from self._tell(lambda store: store.restore(holds, now))

    def orphans(self, tenant_id: int, now: float) -> Journey[tuple[Hold, ...]]:
        return (yield from self._ask(lambda store: store.orphans(tenant_id, now)))

    # --- asking --------------------------------------------------------------------------------------
    def _ask(self, question: Callable[[CounterStore], Journey[Answer]]) -> Journey[Answer]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            charge, store = yield from self._await_charge(deadline)
            try:
                answer = yield from question(store)
            except (CounterStoreDown, MemoryLost, NotInCharge) as error:
                yield from self._recover(charge, error, deadline)
            else:
                self.breaker.succeeded()
                return answer

    def _tell(self, message: Callable[[CounterStore], Journey[None]]) -> Journey[bool]:
        """Tells the store that counts or is about to; False when it could not be told now."""
        for _ in range(SETTLE_ATTEMPTS):
            if not self.has_lease:
                yield CallInThread(self.refresh)
            charge, store = self._charge, self._store
            if charge is None or store is None:
                break
            try:
                yield from message(store)
            except (Unavailable, MemoryLost, NotInCharge) as error:
                logger.warning("counters (%s) were not told: %r", charge.store, error)
                if isinstance(error, CounterStoreDown):
                    self._note_failure(charge)
                break
            # Only a store that was still in charge when it had answered is known to have counted it. One that is not
            # open yet is filled from the database's holds later, this one among them: it is told again after that.
            current = self._charge
            if charge.is_open and self.has_lease and current is not None and current.epoch == charge.epoch:
                return True
        return False

    def _await_charge(self, deadline: float) -> Journey[tuple[Charge, CounterStore]]:
        while True:
            charge, store = self._charge, self._store
            if charge is not None and store is not None and self._permits(charge):
                return charge, store
            yield CallInThread(self.refresh)
            charge, store = self._charge, self._store
            if charge is not None and store is not None and self._permits(charge):
                return charge, store
            yield from self._pause(deadline)

    def _pause(self, deadline: float) -> Journey[None]:
        if time.monotonic() + PAUSE_SECONDS > deadline:
            raise CountersChangingHands("the counters are changing hands; try again shortly", retry_after_seconds=2)
        yield Pause(PAUSE_SECONDS)

    def _recover(self, charge: Charge, error: Exception, deadline: float) -> Journey[None]:
        if isinstance(error, MemoryLost):
            yield CallInThread(self.change_hands, (charge, REDIS, str(error)))
        elif isinstance(error, NotInCharge):
            yield CallInThread(self.refresh)
        elif self._note_failure(charge):
            yield CallInThread(self.change_hands, (charge, DATABASE, "Redis does not answer"))
        yield from self._pause(deadline)

    def _note_failure(self, charge: Charge) -> bool:
        return self.breaker.failed(time.monotonic()) and charge.store == REDIS

    # --- the lease ------------------------------------------------------------------------------------
    @property
    def charge(self) -> Charge | None:
        """What this process last read of the fence."""
        return self._charge

    @property
    def store(self) -> CounterStore | None:
        """The store in charge as this process last read it; None before the first look."""
        return self._store

    @property
    def database_epoch(self) -> int | None:
        """The epoch in which the database counts; None while Redis does, or it is not known who.

        Whoever books a call in it can end the call's hold in the same transaction, so that its money is not counted
        twice for a moment: database.end_holds.
        """
        charge = self._charge
        return charge.epoch if charge is not None and charge.store == DATABASE and self._permits(charge) else None

    @property
    def has_lease(self) -> bool:
        """Whether the fence was read so recently that what it said still holds."""
        return time.monotonic() - self._read_at < LEASE_SECONDS

    def _permits(self, charge: Charge) -> bool:
        current = self._charge
        return (
            current is not None
            and current.epoch == charge.epoch
            and current.is_open
            and self._restored_epoch == charge.epoch
            and self.has_lease
        )

    def _keep(self, charge: Charge, hold: Hold) -> bool:
        """Registers a hold if its store was still in charge: then whoever restores will know of it."""
        with self._lock:
            if not self._permits(charge):
                return False
            self.untold.pop(hold.hold_id, None)
            self.holds.add(hold)
            return True

    def refresh(self) -> None:
        """Reads the fence, and does what a change asks of this process: put its holds back, open the epoch.

        A database that does not answer is logged; the lease then runs out by itself.
        """
        if not self._refreshing.acquire(timeout=1.0):
            return
        try:
            charge = self._read()
            if charge.store == REDIS and not settings.REDIS_URL:
                hand_over(charge.epoch, DATABASE, "a process has no REDIS_URL")
                charge = self._read()
            store = self._store
            assert store is not None, "set by _read"
            if self._restored_epoch != charge.epoch:
                moving.restore_own(store, self.holds)
                self._restored_epoch = charge.epoch
            if not charge.is_open and charge.opens_in_seconds <= 0:
                open_epoch(charge.epoch, lambda: moving.make_complete(store))
                self._read()
        except (DatabaseProblem, Unavailable, NotInCharge) as error:
            logger.warning("the counters' fence is not up to date: %r", error)
            current = self._charge
            if isinstance(error, CounterStoreDown) and current is not None and self._note_failure(current):
                self._hand_over(current, DATABASE, "Redis does not answer")
        finally:
            self._refreshing.release()

    def _read(self) -> Charge:
        asked_at = time.monotonic()
        charge = read_charge(REDIS if settings.REDIS_URL else DATABASE)
        with self._lock:
            if self._store is None or self._charge is None or self._charge.epoch != charge.epoch:
                if self._charge is not None:
                    logger.warning("counters: %s counts from epoch %d on", charge.store, charge.epoch)
                self._store = RedisCounters(charge.epoch) if charge.store == REDIS else DatabaseCounters(charge.epoch)
            self._charge = charge
            self._read_at = asked_at
        return charge

    def change_hands(self, charge: Charge, to_store: str, reason: str) -> None:
        """Begins a new epoch in `to_store`, unless somebody already has."""
        self._hand_over(charge, to_store, reason)
        self.refresh()

    def _hand_over(self, charge: Charge, to_store: str, reason: str) -> None:
        try:
            if hand_over(charge.epoch, to_store, reason):
                logger.warning("counters change hands: %s to %s, because %s", charge.store, to_store, reason)
                self.breaker.succeeded()
        except DatabaseProblem as error:
            logger.warning("counters cannot change hands: %s", error)

    def tell_the_untold(self) -> None:
        """Repeats what a store has not heard or not confirmed. Called now and then by the keeper."""
        for hold_id, (hold, totals) in list(self.untold.items()):
            if hold_id in self.holds:
                self.untold.pop(hold_id, None)
            elif not drive(self._tell(_settling(hold, totals))):
                return
            else:
                self.untold.pop(hold_id, None)


def _settling(hold: Hold, totals: Sequence[WindowTotal]) -> Callable[[CounterStore], Journey[Any]]:
    return lambda store: store.settle(hold, totals, time.time())


_fenced: FencedStore | None = None
_making = threading.Lock()


def counters() -> FencedStore:
    """This process's counters; a forked child gets its own."""
    global _fenced
    found = _fenced
    if found is None:
        with _making:
            found = _fenced = _fenced or FencedStore()
    return found


def forget() -> None:
    """Drops what this process knows of the fence and of its holds. For a forked child, and for tests."""
    global _fenced, _making
    _fenced, _making = None, threading.Lock()


os.register_at_fork(after_in_child=forget)
