"""The contract of a counter store: the same sentences, true of Redis and of the database."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import connections

from budgets.counters import database
from budgets.counters.base import Count, Reserved
from budgets.models import Reservation
from tests.budgets.counters.conftest import NOW, Counters, call, line, make_budget, reservation, total

pytestmark = pytest.mark.django_db(transaction=True)

HUGE = 9_000_000 * 10**9


def test_reaching_the_cap_exactly_is_allowed(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=100)
    assert counters.reserve(call(counters.tenant_id, [day], 60)) == Reserved(True, (Count(0, 0),))
    assert counters.reserve(call(counters.tenant_id, [day], 40)) == Reserved(True, (Count(0, 60),))
    assert counters.look([day]) == (Count(0, 100),)


def test_one_nano_over_the_cap_is_refused_and_holds_nothing(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=100)
    counters.reserve(call(counters.tenant_id, [day], 60))
    assert counters.reserve(call(counters.tenant_id, [day], 41)) == Reserved(False, (Count(0, 60),))
    assert counters.look([day]) == (Count(0, 60),)


def test_a_free_call_is_refused_where_nothing_is_left(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=100)
    assert counters.reserve(call(counters.tenant_id, [day], 0)).is_held
    counters.reserve(call(counters.tenant_id, [day], 100))
    assert not counters.reserve(call(counters.tenant_id, [day], 0)).is_held


def test_a_cap_of_nothing_refuses_even_a_free_call(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    assert counters.reserve(call(counters.tenant_id, [line(budget_ids[0], cap=0)], 0)) == Reserved(
        False, (Count(0, 0),)
    )


def test_all_windows_are_held_or_none(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    lines = [line(budget_id, cap=100) for budget_id in budget_ids]
    lines[7] = line(budget_ids[7], cap=10)
    assert counters.reserve(call(counters.tenant_id, lines, 11)) == Reserved(False, (Count(0, 0),) * 10)
    assert counters.look(lines) == (Count(0, 0),) * 10
    assert counters.reserve(call(counters.tenant_id, lines, 10)).is_held
    assert counters.look(lines) == (Count(0, 10),) * 10


def test_a_window_that_is_not_enforced_is_counted_and_never_refuses(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    watched = line(budget_ids[0], cap=10, is_enforced=False)
    assert counters.reserve(call(counters.tenant_id, [watched], 50)) == Reserved(True, (Count(0, 0),))
    assert counters.look([watched]) == (Count(0, 50),)


def test_a_call_under_no_budget_is_held_all_the_same(counters: Counters) -> None:
    hold = call(counters.tenant_id, [], 5, payload={"model": "sandbox-small"})
    assert counters.reserve(hold) == Reserved(True, ())
    assert [orphan.hold_id for orphan in counters.drive(counters.store.orphans(counters.tenant_id, NOW + 61))] == [
        hold.hold_id
    ]
    counters.settle(hold)
    assert counters.drive(counters.store.orphans(counters.tenant_id, NOW + 61)) == ()


def test_a_repeated_hold_is_held_once_and_answered_as_before(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=100)
    counters.reserve(call(counters.tenant_id, [day], 10))
    hold = call(counters.tenant_id, [day], 90)
    assert counters.reserve(hold) == Reserved(True, (Count(0, 10),))
    assert counters.reserve(hold) == Reserved(True, (Count(0, 10),))
    assert counters.look([day]) == (Count(0, 100),)


def test_settling_takes_the_total_and_ends_the_hold(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day, month = line(budget_ids[0]), line(budget_ids[1], is_total=True)
    hold = call(counters.tenant_id, [day, month], 30)
    counters.reserve(hold)
    counters.settle(hold, [total(day, 25, version=1), total(month, 125, version=7)])
    assert counters.look([day, month]) == (Count(25, 0), Count(125, 0))


def test_settling_twice_changes_nothing_more(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    hold = call(counters.tenant_id, [day], 30)
    counters.reserve(hold)
    other = call(counters.tenant_id, [day], 5)
    counters.reserve(other)
    for _ in range(2):
        counters.settle(hold, [total(day, 25, version=1)])
        assert counters.look([day]) == (Count(25, 5),)


def test_an_older_total_is_ignored(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    counters.look([day])
    counters.publish(total(day, 80, version=4))
    counters.publish(total(day, 60, version=3))
    assert counters.look([day]) == (Count(80, 0),)


def test_a_reset_lowers_the_total_under_a_newer_version(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    counters.publish(total(day, 100, version=4))
    assert not counters.reserve(call(counters.tenant_id, [day], 1)).is_held
    counters.publish(total(day, 0, version=5))
    assert counters.reserve(call(counters.tenant_id, [day], 1)).is_held


def test_releasing_gives_the_money_back(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    hold = reservation(counters.tenant_id, [day], 100)
    counters.reserve(hold)
    counters.settle(hold)
    assert counters.look([day]) == (Count(0, 0),)


def test_settling_an_unknown_hold_takes_only_the_totals(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    counters.reserve(call(counters.tenant_id, [day], 10))
    counters.settle(call(counters.tenant_id, [day], 30), [total(day, 7, version=1)])
    assert counters.look([day]) == (Count(7, 10),)


def test_a_reservation_ends_by_itself(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    counters.reserve(reservation(counters.tenant_id, [day], 100, expires_at=NOW + 60))
    assert not counters.reserve(call(counters.tenant_id, [day], 100), now=NOW + 59.9).is_held
    assert counters.look([day], now=NOW + 60) == (Count(0, 0),)
    assert counters.reserve(call(counters.tenant_id, [day], 100), now=NOW + 60) == Reserved(True, (Count(0, 0),))


def test_more_lapsed_reservations_than_fit_in_one_sweep_are_all_ended(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    day = line(budget_ids[0], cap=1_000)
    for _ in range(120):
        counters.reserve(reservation(counters.tenant_id, [day], 8, expires_at=NOW + 1))
    assert counters.reserve(call(counters.tenant_id, [day], 1_000), now=NOW + 2) == Reserved(True, (Count(0, 0),))


def test_a_lapsed_reservation_asked_for_again_is_a_new_one(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    hold = reservation(counters.tenant_id, [day], 60, expires_at=NOW + 1)
    counters.reserve(hold)
    again = reservation(counters.tenant_id, [day], 60, expires_at=NOW + 90, hold_id=hold.hold_id)
    assert counters.reserve(again, now=NOW + 2) == Reserved(True, (Count(0, 0),))
    assert counters.look([day], now=NOW + 3) == (Count(0, 60),)


def test_settling_a_lapsed_reservation_still_takes_its_total(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    hold = reservation(counters.tenant_id, [day], 60, expires_at=NOW + 1)
    counters.reserve(hold)
    assert counters.look([day], now=NOW + 2) == (Count(0, 0),)
    counters.settle(hold, [total(day, 55, version=1)], now=NOW + 3)
    assert counters.look([day], now=NOW + 3) == (Count(55, 0),)


def test_a_call_stays_held_when_its_end_has_passed(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0])
    counters.reserve(call(counters.tenant_id, [day], 100, expires_at=NOW + 60))
    assert counters.look([day], now=NOW + 3600) == (Count(0, 100),)
    assert not counters.reserve(call(counters.tenant_id, [day], 1), now=NOW + 3600).is_held


def test_a_call_whose_owner_is_gone_is_an_orphan_with_all_it_takes_to_book_it(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    day = line(budget_ids[0], key="ada:\n{7}|é", is_enforced=False, cap=0)
    gone = call(counters.tenant_id, [day], 30, payload={"model": "gpt-6-sol", "tokens": [1, 2], "é": None})
    alive = call(counters.tenant_id, [day], 30, expires_at=NOW + 600)
    counters.reserve(gone)
    counters.reserve(alive)
    counters.reserve(reservation(counters.tenant_id, [day], 1))
    assert counters.drive(counters.store.orphans(counters.tenant_id, NOW + 59)) == ()
    assert counters.drive(counters.store.orphans(counters.tenant_id, NOW + 60)) == (gone,)
    assert counters.look([day], now=NOW + 61) == (Count(0, 60),)
    counters.settle(gone, [total(day, 30, version=1)], now=NOW + 61)
    assert counters.drive(counters.store.orphans(counters.tenant_id, NOW + 61)) == ()
    assert counters.look([day], now=NOW + 61) == (Count(30, 30),)


def test_a_hold_that_is_extended_is_no_orphan_and_does_not_lapse(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    day = line(budget_ids[0])
    holds = [call(counters.tenant_id, [day], 10), reservation(counters.tenant_id, [day], 20)]
    for hold in holds:
        counters.reserve(hold)
    unknown = call(counters.tenant_id, [day], 40)
    counters.drive(counters.store.extend([*holds, unknown], NOW + 600))
    assert counters.drive(counters.store.orphans(counters.tenant_id, NOW + 599)) == ()
    assert counters.look([day], now=NOW + 599) == (Count(0, 30),)
    assert counters.look([day], now=NOW + 600) == (Count(0, 10),)


def test_restoring_asks_for_no_room_and_holds_once(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=100)
    holds = [call(counters.tenant_id, [day], 80), reservation(counters.tenant_id, [day], 80)]
    lapsed = reservation(counters.tenant_id, [day], 80, expires_at=NOW - 1)
    for _ in range(2):
        counters.drive(counters.store.restore([*holds, lapsed], NOW))
    assert counters.look([day]) == (Count(0, 160),)
    counters.settle(holds[0])
    assert counters.look([day], now=NOW + 61) == (Count(0, 0),)


def test_a_window_met_for_the_first_time_has_what_the_ledger_has(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    lines = [line(budget_id, cap=100) for budget_id in budget_ids[:3]]
    counters.book(total(lines[1], 95, version=12))
    assert counters.reserve(call(counters.tenant_id, lines, 6)) == Reserved(
        False, (Count(0, 0), Count(95, 0), Count(0, 0))
    )
    assert counters.reserve(call(counters.tenant_id, lines, 5)).is_held


def test_reservations_that_the_database_knows_are_held_in_an_empty_memory(
    counters: Counters, budget_ids: list[uuid.UUID]
) -> None:
    if not counters.is_redis:
        pytest.skip("the database store has no memory to lose; moving between stores is tested with the fence")
    day = line(budget_ids[0])
    for amount, ends, status in ((70, 2_000, "held"), (9, 2_000, "released"), (9, -2_000, "held")):
        Reservation.objects.create(
            tenant_id=counters.tenant_id,
            amount_nano_usd=amount,
            created_at=database._moment(NOW - 3_000),
            expires_at=database._moment(NOW + ends),
            status=status,
            lines=[[str(day.budget_id), day.scope_key, day.starts_at, day.ends_at]],
        )
    assert counters.look([day]) == (Count(0, 70),)
    assert not counters.reserve(call(counters.tenant_id, [day], 31)).is_held


def test_amounts_near_the_largest_are_exact(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    day = line(budget_ids[0], cap=HUGE)
    counters.publish(total(day, HUGE - 3, version=1))
    assert counters.reserve(call(counters.tenant_id, [day], 2)) == Reserved(True, (Count(HUGE - 3, 0),))
    assert not counters.reserve(call(counters.tenant_id, [day], 2)).is_held
    last = call(counters.tenant_id, [day], 1)
    assert counters.reserve(last).is_held
    assert counters.reserve(last) == Reserved(True, (Count(HUGE - 3, 2),))
    assert counters.look([day]) == (Count(HUGE - 3, 3),)
    counters.publish(total(day, 2**60 + 1, version=2))
    assert counters.look([day]) == (Count(2**60 + 1, 3),)


def test_the_same_budget_has_a_window_per_key_and_per_tenant(
    counters: Counters, budget_ids: list[uuid.UUID], globex: Any
) -> None:
    ada, ben = line(budget_ids[0], key="ada"), line(budget_ids[0], key="ben")
    theirs = line(make_budget(globex, "Theirs").pk, key="ada")
    counters.reserve(call(counters.tenant_id, [ada], 100))
    assert counters.look([ada, ben]) == (Count(0, 100), Count(0, 0))
    assert counters.look([theirs], tenant_id=globex.pk) == (Count(0, 0),)
    assert counters.reserve(call(globex.pk, [theirs], 100)).is_held


def test_of_sixty_threads_for_five_places_five_succeed(counters: Counters, budget_ids: list[uuid.UUID]) -> None:
    if counters._loop is not None:
        pytest.skip("threads drive journeys synchronously")
    lines = [line(budget_ids[0], cap=5), line(budget_ids[1], cap=50)]
    holds = [call(counters.tenant_id, lines, 1) for _ in range(60)]
    answers: list[bool] = []
    start = threading.Barrier(60)

    def reserve(number: int) -> None:
        start.wait()
        answers.append(counters.reserve(holds[number]).is_held)
        connections.close_all()

    threads = [threading.Thread(target=reserve, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == 5
    assert counters.look(lines) == (Count(0, 5), Count(0, 5))
