"""Whatever breaks under load: counters equal the ledger, the ledger equals the spans, nothing twice, no false block."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from tests.faults.under_load import HELD_NANO_USD, Books
from tests.gateway.served import serve
from tests.servers import Postgres, Valkey, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def test_nothing_is_lost_or_counted_twice_when_nothing_breaks(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(100)
    books.assert_exact()
    assert set(books.statuses) == {200}


def test_a_web_worker_killed_in_mid_load_loses_nothing(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        books.kill_a_web_worker()
        books.wait_for_good_calls(60)
    books.assert_exact()


def test_calls_whose_process_died_are_booked_at_their_estimate(books: Books) -> None:
    with books.load(callers=16):
        books.wait_for_good_calls(50)
        books.kill_all_web_workers()
        books.wait_for_good_calls(50)
    books.assert_exact()
    interrupted = [span for span in books.served.spans("ada") if span["status"] == "interrupted"]
    assert interrupted, "16 callers had calls at the vendor when both processes died"
    assert {(span["cost_nano_usd"], bool(span["is_estimated"])) for span in interrupted} == {(HELD_NANO_USD, True)}


def test_a_redis_that_loses_its_memory_in_mid_load_is_filled_again(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        redis.Redis.from_url(books.valkey.url).flushall()
        books.wait_for_good_calls(60)
    books.assert_exact()


def test_a_redis_that_dies_and_comes_back_is_never_missed(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        books.valkey.kill()
        books.wait_for_good_calls(60)
        books.valkey.start()
        wait_until(lambda: fence(books)[0] == "redis", 40, "the counters to come home")
        books.wait_for_good_calls(60)
    books.assert_exact()
    assert fence(books)[1] >= 3


def fence(books: Books) -> tuple[str, int]:
    """Which store counts, and since which epoch."""
    with psycopg.connect(books.postgres.url) as connection:
        store, epoch = connection.execute("SELECT store, epoch FROM budgets_counterfence").fetchone() or ("", 0)
    return store, epoch


def test_a_database_that_restarts_in_mid_load_loses_nothing(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        books.postgres.restart()
        books.wait_for_good_calls(60)
    books.assert_exact()


def test_a_database_that_crashes_in_mid_load_loses_nothing(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        books.postgres.kill()
        time.sleep(1)
        books.postgres.start()
        books.wait_for_good_calls(60)
    books.assert_exact()


def test_a_database_that_stands_still_with_its_connections_open_is_told_of_and_loses_nothing(books: Books) -> None:
    with books.load():
        books.wait_for_good_calls(30)
        books.postgres.stand_still()
        try:
            wait_until(lambda: books.statuses[503] >= 16, 60, "callers are told")
        finally:
            books.postgres.go_on()
        books.wait_for_good_calls(60)
    books.assert_exact()
    assert set(books.statuses) == {200, 503}, "every caller had an answer within its 30 seconds"


def test_a_process_that_starts_while_the_database_is_away_says_so_and_serves_once_it_is_back(
    postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> None:
    with serve(tmp_path / "serve", is_prepared=True, DATABASE_URL=postgres.url, REDIS_URL=valkey.url) as served:

        def answer() -> httpx.Response | None:
            try:
                return httpx.get(f"{served.url}/models", headers={"authorization": f"Bearer {served.key}"}, timeout=20)
            except httpx.TransportError:
                return None  # nobody serves yet in place of the process that was killed

        wait_until(lambda: (told := answer()) is not None and told.status_code == 200, 20, "the key to be known")
        postgres.kill()
        os.kill(served.server.serving_processes()[0], signal.SIGKILL)
        wait_until(lambda: answer() is not None, 60, "another process to answer")
        told = answer()
        assert told is not None
        assert (told.status_code, told.headers["retry-after"]) == (503, "1")
        assert told.json()["error"]["code"] == "unavailable"
        ready = httpx.get(f"{served.server.url}/readyz", timeout=20)
        assert (ready.status_code, ready.json()["snapshots"]) == (503, "not read yet")
        postgres.start()
        statuses = set()

        def serves() -> bool:
            found = answer()
            assert found is not None
            statuses.add(found.status_code)
            return found.status_code == 200

        wait_until(serves, 60, "the process to have read what it needs")
        assert statuses <= {200, 503}
        wait_until(lambda: httpx.get(f"{served.server.url}/readyz").status_code == 200, 20, "it to be ready")
