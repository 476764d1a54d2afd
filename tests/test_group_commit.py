"""Many small writes share a commit; nobody who leaves takes the others along."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

import pytest
from django.db import connection

from spendhub.group_commit import GroupCommit, LedgerUnavailable

pytestmark = pytest.mark.django_db(transaction=True)

on_postgres = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite waits for nobody without a limit")


def doubled(numbers: Sequence[int]) -> list[int]:
    return [2 * number for number in numbers]


def test_a_waiter_who_leaves_cancels_nothing_and_its_neighbours_are_answered() -> None:
    writer = GroupCommit()
    try:
        futures = [writer.submit(doubled, number) for number in range(50)]
        assert [future.cancel() for future in futures[::2]] == [False] * 25
        done, pending = wait(futures, timeout=10)
        assert (len(done), pending) == (50, set())
        assert [future.result() for future in futures] == [2 * number for number in range(50)]
        # The writer lives on.
        assert writer.submit(doubled, 100).result(timeout=10) == 200
    finally:
        writer.close()


def test_one_that_fails_is_told_alone() -> None:
    def picky(numbers: Sequence[int]) -> list[Any]:
        if 3 in numbers:
            raise ValueError("three")
        return list(numbers)

    writer = GroupCommit()
    try:
        futures = [writer.submit(picky, number) for number in range(6)]
        wait(futures, timeout=10)
        assert [future.exception() is None for future in futures] == [True, True, True, False, True, True]
    finally:
        writer.close()


def stand_still() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@on_postgres
def test_a_database_that_stands_still_is_asked_again_over_another_connection() -> None:
    asked: list[int] = []

    def slow_at_first(numbers: Sequence[int]) -> list[int]:
        asked.extend(numbers)
        if len(asked) == 1:
            stand_still()
        return list(numbers)

    writer = GroupCommit(limit_seconds=0.5)
    try:
        assert writer.submit(slow_at_first, 7).result(timeout=10) == 7
        assert asked == [7, 7]
    finally:
        writer.close()


@on_postgres
def test_who_waits_for_a_database_that_goes_on_standing_still_is_told() -> None:
    def slow(numbers: Sequence[int]) -> list[int]:
        stand_still()
        return list(numbers)

    writer = GroupCommit(retry_seconds=0.2, limit_seconds=0.3)
    try:
        with pytest.raises(LedgerUnavailable):
            writer.submit(slow, 7).result(timeout=10)
        assert writer.submit(doubled, 4).result(timeout=10) == 8, "and the writer lives on"
    finally:
        writer.close()


@on_postgres
def test_who_has_waited_in_the_queue_behind_them_is_told_with_the_first_failure_of_its_own() -> None:
    tried: list[int] = []

    def slow(numbers: Sequence[int]) -> list[int]:
        tried.extend(numbers)
        stand_still()
        return list(numbers)

    writer = GroupCommit(max_batch=1, retry_seconds=0.6, limit_seconds=0.3)
    try:
        since = time.monotonic()
        for future in [writer.submit(slow, number, since=since) for number in range(4)]:
            with pytest.raises(LedgerUnavailable):
                future.result(timeout=30)
        # Each failure takes 0.3 s. The first is tried until 0.9 s are over; by then those behind it have waited as long.
        assert [tried.count(number) for number in (1, 2, 3)] == [1, 1, 1]
    finally:
        writer.close()


@on_postgres
def test_what_a_caller_has_waited_elsewhere_counts_as_waited() -> None:
    asked: list[int] = []

    def slow(numbers: Sequence[int]) -> list[int]:
        asked.extend(numbers)
        stand_still()
        return list(numbers)

    writer = GroupCommit(retry_seconds=60, limit_seconds=0.3)
    try:
        with pytest.raises(LedgerUnavailable):
            writer.submit(slow, 7, since=time.monotonic() - 61).result(timeout=10)
        assert asked == [7], "it was tried once all the same"
    finally:
        writer.close()
