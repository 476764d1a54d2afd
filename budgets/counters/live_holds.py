"""What this process holds at this moment: the copy from which a new store is filled.

Calls stay until they are settled. A reservation made over the API needs this copy only until its
row is in the database, from where it is restored after that.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable

from budgets.counters.base import Hold

# By then its row is committed, or the writer has given up on it.
RESERVATION_SECONDS = 15.0


class LiveHolds:
    """A registry that threads share. Ages are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: dict[uuid.UUID, tuple[Hold, float]] = {}
        self._next_pruning = 0.0

    def add(self, hold: Hold) -> None:
        now = time.monotonic()
        with self._lock:
            self._holds[hold.hold_id] = (hold, now)
            if now > self._next_pruning:
                self._next_pruning = now + 5
                self._prune(now)

    def _prune(self, now: float) -> None:
        old = [
            hold_id
            for hold_id, (hold, since) in self._holds.items()
            if hold.kind == "reservation" and now - since > RESERVATION_SECONDS
        ]
        for hold_id in old:
            del self._holds[hold_id]

    def remove(self, hold_id: uuid.UUID) -> None:
        with self._lock:
            self._holds.pop(hold_id, None)

    def __contains__(self, hold_id: uuid.UUID) -> bool:
        return hold_id in self._holds

    def all(self) -> list[Hold]:
        """Everything held, of all tenants."""
        with self._lock:
            self._prune(time.monotonic())
            return [hold for hold, _ in self._holds.values()]

    def calls(self) -> list[Hold]:
        """The calls in flight."""
        return [hold for hold in self.all() if hold.kind == "call"]


def by_tenant(holds: Iterable[Hold]) -> dict[int, list[Hold]]:
    """Holds by tenant: a store's methods take those of one tenant at a time."""
    grouped: dict[int, list[Hold]] = defaultdict(list)
    for hold in holds:
        grouped[hold.tenant_id].append(hold)
    return grouped
