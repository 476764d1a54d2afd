"""However many processes reserve at once, a budget is never overdrawn, and never left unused."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from tests.races.conftest import Installation, Race
from tests.servers import Valkey

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
        {"manner": "for-a-while", "lines": installation.lines(2, cap=AMOUNT * fits), "threads": 8, "seconds": 15},
    ) as race:
        race.go()
        _wait(2)
        valkey.kill()
        _wait(5)
        valkey.start()
        held = race.results()
    began = min(start for start, _ in held)
    # Before, while the database counts, and after Redis has been given the charge again.
    for since, until in ((0, 2), (6, 8), (14, 15.5)):
        assert any(since <= start - began <= until for start, _ in held), f"nothing passed after {since} s"
    assert most_at_once(held) == fits
    with psycopg.connect(postgres_url) as database:
        assert database.execute("SELECT store, is_open FROM budgets_counterfence").fetchall() == [("redis", True)]


def most_at_once(intervals: list[tuple[float, float]]) -> int:
    """The largest number of intervals that overlap at any moment."""
    moments = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _wait(seconds: float) -> None:
    time.sleep(seconds)  # the outage itself has a length; nothing is awaited
