"""When to leave Redis, and when to trust it again: pure, given the time."""

from __future__ import annotations

import threading

FAILURES_TO_TRIP = 3
TRIP_AFTER_SECONDS = 1.0
HEALTHY_SECONDS = 3.0


class Breaker:
    """Trips after some failures in a row that span TRIP_AFTER_SECONDS. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._first_failure_at = 0.0

    def failed(self, now: float) -> bool:
        """Notes a failure; True when it is time to let the other store count."""
        with self._lock:
            if self._failures == 0:
                self._first_failure_at = now
            self._failures += 1
            return self._failures >= FAILURES_TO_TRIP and now - self._first_failure_at >= TRIP_AFTER_SECONDS

    def succeeded(self) -> None:
        """Notes a success: the failures before it no longer count."""
        if self._failures:
            with self._lock:
                self._failures = 0


class Recovery:
    """Says when Redis has answered every probe for HEALTHY_SECONDS."""

    def __init__(self) -> None:
        self._healthy_since: float | None = None

    def probed(self, is_healthy: bool, now: float) -> bool:
        """Notes a probe; True when Redis may count again."""
        if not is_healthy:
            self._healthy_since = None
            return False
        if self._healthy_since is None:
            self._healthy_since = now
        return now - self._healthy_since >= HEALTHY_SECONDS

    def forget(self) -> None:
        """Begins anew, after a change of store."""
        self._healthy_since = None
