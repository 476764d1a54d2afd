"""Many small writes share a commit; nobody who leaves takes the others along."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

import pytest

from spendhub.group_commit import GroupCommit

pytestmark = pytest.mark.django_db(transaction=True)


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
