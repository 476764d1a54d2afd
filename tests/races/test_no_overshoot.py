"""However many processes reserve at once, a budget is never overdrawn, and never left unused."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from tests.races.conftest import Installation, Race
from tests.servers import Valkey, wait_until

# Each starts the stores it races on.
pytestmark = [pytest.mark.servers, pytest.mark.slow]

AMOUNT, FITS = 3, 100


@pytest.mark.parametrize("budgets", [1, 10])
def test_of_a_thousand_reserves_from_four_processes_exactly_those_pass_that_fit(
    installation: Installation, budgets: int
) -> None:
    lines = installation.lines(budgets, cap=10**12)
    lines[-1][4] = AMOUNT * FITS  # the last one binds: a refusal comes when the others have been looked at
    passed = installation.race(4, manner="once", lines=lines, reserves=250, threads=10)
    assert (len(passed), passed.count(True)) == (1_000, FITS)


def test_the_race_is_real_looking_first_and_holding_after_overdraws_the_budget(installation: Installation) -> None:
    lines = installation.lines(1, cap=AMOUNT * FITS)
    passed = installation.race(4, manner="careless", lines=lines, reserves=250, threads=10)
    assert passed.count(True) > FITS


def test_the_cap_holds_while_redis_dies_and_comes_back(tmp_path: Path, postgres_url: str, valkey: Valkey) -> None:
    installation = Installation(tmp_path, postgres_url, valkey.url)
    fits = 12
    with Race(
        installation,
        3,
        {"manner": "for-a-while", "lines": installation.lines(2, cap=AMOUNT * fits), "threads": 8},
    ) as race:
        race.go()
        # Before, while the database counts, and after Redis has been given the charge again.
        _wait_for_a_hold(race, "redis", postgres_url)
        valkey.kill()
        _wait_for_a_hold(race, "database", postgres_url)
        valkey.start()
        _wait_for_a_hold(race, "redis", postgres_url)
        race.end()
        held = race.results()
    assert most_at_once(held) == fits


def most_at_once(intervals: list[tuple[float, float]]) -> int:
    """The largest number of intervals that overlap at any moment."""
    moments = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _wait_for_a_hold(race: Race, store: str, postgres_url: str) -> None:
    """Returns once something was held that began while `store` counted, and the race has gone on so for a while."""
    wait_until(lambda: _who_counts(postgres_url) == (store, True), 40, f"{store} to count")
    counts_since = time.monotonic()
    wait_until(lambda: race.has_held_since(counts_since), 40, f"something to be held while {store} counts")
    time.sleep(1.5)  # the race itself has a length; nothing is awaited


def _who_counts(postgres_url: str) -> tuple[str, bool] | None:
    with psycopg.connect(postgres_url) as database:
        return database.execute("SELECT store, is_open FROM budgets_counterfence").fetchone()
