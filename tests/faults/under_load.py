"""Callers that keep calling while something is broken, and the books compared afterwards."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import httpx

from tests.gateway.served import Served
from tests.servers import Postgres, Valkey, wait_until

# `vendor-out` has free input; with max_tokens N it is held at N x 10,000 nano_usd and costs what it says it put out.
BODY = {
    "model": "vendor-out",
    "messages": [{"role": "user", "content": "[fault:slow=0.05] [out:3] hello"}],
    "max_tokens": 5,
}
COST_NANO_USD = 30_000
HELD_NANO_USD = 50_000


class Books:
    """One SpendHub on stores that the test may break, with two budgets that have room for everything."""

    def __init__(self, served: Served, postgres: Postgres, valkey: Valkey) -> None:
        self.served = served
        self.postgres = postgres
        self.valkey = valkey
        self.statuses: collections.Counter[int] = collections.Counter()
        self.answered: set[str] = set()
        self.longest_seconds = 0.0
        served.define_budget("ada", "100")
        served.define_budget("ada", "100", name="all together", scope_type="tenant", scope_key="*")
        self.budgets = [each["id"] for each in served.native("GET", "budgets")["results"]]

    @contextlib.contextmanager
    def load(self, callers: int = 8, at_least: int = 60) -> Iterator[None]:
        """Calls without pause from `callers` threads until the block ends, and until `at_least` calls went well."""
        stop = threading.Event()
        lock = threading.Lock()

        def keep_calling() -> None:
            with httpx.Client(headers={"authorization": f"Bearer {self.served.key}"}, timeout=30) as client:
                while not stop.is_set():
                    began = time.monotonic()
                    try:
                        answer = client.post(f"{self.served.url}/chat/completions", json={**BODY, "user": "ada"})
                    except httpx.TransportError:
                        status, request_id = 0, ""
                    else:
                        status, request_id = answer.status_code, answer.headers.get("x-spendhub-request-id", "")
                    with lock:
                        self.statuses[status] += 1
                        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
                        if status == 200:
                            self.answered.add(request_id)
                    if status != 200:
                        time.sleep(0.1)

        threads = [threading.Thread(target=keep_calling) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield
            wait_until(lambda: self.statuses[200] >= at_least, 30, f"{at_least} good calls, not {self.statuses}")
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def wait_for_good_calls(self, more: int, seconds: float = 40) -> None:
        """Waits until that many further calls have gone well."""
        target = self.statuses[200] + more
        wait_until(lambda: self.statuses[200] >= target, seconds, f"{more} more good calls, not {self.statuses}")

    def kill_a_web_worker(self) -> None:
        """kill -9 of one process that serves requests."""
        os.kill(self.served.server.serving_processes()[0], signal.SIGKILL)

    def kill_all_web_workers(self) -> None:
        """kill -9 of every process that serves requests."""
        for pid in self.served.server.serving_processes():
            os.kill(pid, signal.SIGKILL)

    def assert_exact(self) -> None:
        """After the dust has settled: nothing lost, nothing twice, nothing still held, nobody stopped in error."""
        self._settles(lambda: all(Decimal(each["reserved"]) == 0 for each in self._live()), "nothing held")
        spans = self.served.spans("ada")
        ids = [span["request_id"] for span in spans]
        assert len(ids) == len(set(ids))
        assert self.answered <= set(ids), "a call was answered, but is not on disk"
        by_status = collections.Counter(span["status"] for span in spans)
        assert by_status["ok"] * COST_NANO_USD == sum(s["cost_nano_usd"] for s in spans if s["status"] == "ok")
        # Whatever the vendor has served is booked: in full, or at the estimate where nobody lived to see the answer.
        assert by_status["ok"] + by_status["interrupted"] >= self.served.vendor.served.completed
        booked = sum(span["cost_nano_usd"] for span in spans)
        for budget_id in self.budgets:
            assert self.served.ledger(budget_id) == booked
        self._settles(
            lambda: [Decimal(each["spent"]) for each in self._live()] == [Decimal(booked) / 10**9] * len(self.budgets),
            "counters as the ledger",
        )
        assert self.statuses[402] == 0, "a call was stopped although there was room"
        assert set(self.statuses) <= {200, 503, 0}, self.statuses

    def _live(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.served.native("GET", "budgets")["results"]
        return found

    def _settles(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            try:
                return condition()
            # The API may say 503 while the counters change hands, and nothing while a process is replaced.
            except (AssertionError, httpx.TransportError):
                return False

        try:
            wait_until(holds, 40, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; now {self._live()}") from None
