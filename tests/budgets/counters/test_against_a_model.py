"""Any sequence of reserves, settles, lapses and resets: both stores agree with twenty lines of Python."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgets.counters import database
from budgets.counters.base import Count, CounterLine, Hold, Reserved, WindowTotal, has_room
from budgets.models import BudgetWindow, HoldLine
from budgets.models import Hold as HoldRow
from tests.budgets.counters.conftest import NOW, Counters, call, line, reservation, total

pytestmark = pytest.mark.django_db(transaction=True)

CAPS = (100, 60, 1_000)


class Model:
    """What a counter store is, without concurrency, memory or scripts."""

    def __init__(self) -> None:
        self.totals: dict[CounterLine, tuple[int, int]] = {}
        self.holds: dict[uuid.UUID, Hold] = {}

    def _live(self, now: float) -> list[Hold]:
        return [hold for hold in self.holds.values() if hold.kind == "call" or hold.expires_at > now]

    def look(self, lines: tuple[CounterLine, ...], now: float) -> tuple[Count, ...]:
        return tuple(
            Count(
                self.totals.get(each, (0, 0))[0],
                sum(hold.amount_nano_usd for hold in self._live(now) if each in hold.lines),
            )
            for each in lines
        )

    def reserve(self, hold: Hold, now: float) -> Reserved:
        counts = self.look(hold.lines, now)
        if hold in self._live(now):
            amount = hold.amount_nano_usd
            return Reserved(True, tuple(Count(count[0], count[1] - amount) for count in counts))
        pairs = zip(hold.lines, counts, strict=True)
        fits = all(has_room(each, count, hold.amount_nano_usd) for each, count in pairs if each.is_enforced)
        if fits:
            self.holds[hold.hold_id] = hold
        return Reserved(fits, counts)

    def settle(self, hold: Hold, totals: list[WindowTotal], lines: tuple[CounterLine, ...]) -> None:
        self.holds.pop(hold.hold_id, None)
        for each, of in zip(lines, totals, strict=True):
            if of.version > self.totals.get(each, (0, -1))[1]:
                self.totals[each] = (of.spend_nano_usd, of.version)


STEP = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 7), st.sampled_from(["call", "reservation"]), st.integers(0, 70)),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("settle"), st.integers(0, 30), st.integers(0, 120), st.integers(1, 12)),
    st.tuples(st.just("release"), st.integers(0, 30)),
    st.tuples(st.just("later"), st.integers(1, 40)),
)


@pytest.fixture
def counters_by_run(counters: Counters, budget_ids: list[uuid.UUID]) -> Iterator[tuple[Counters, list[uuid.UUID]]]:
    yield counters, budget_ids


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(STEP, max_size=25))
def test_a_store_does_what_the_model_does(
    counters_by_run: tuple[Counters, list[uuid.UUID]], steps: list[tuple[Any, ...]]
) -> None:
    counters, budget_ids = counters_by_run
    _begin_anew(counters)
    model = Model()
    # Keys that no earlier example has used: every example meets cold windows.
    key = uuid.uuid4().hex
    lines = tuple(line(budget_ids[n], cap=cap, key=key, is_enforced=n < 2) for n, cap in enumerate(CAPS))
    now = NOW
    made: list[Hold] = []
    for step in steps:
        if step[0] == "reserve":
            chosen = tuple(each for n, each in enumerate(lines) if step[1] & (1 << n))
            make = call if step[2] == "call" else reservation
            made.append(make(counters.tenant_id, chosen, step[3], expires_at=now + 60))
            assert counters.reserve(made[-1], now) == model.reserve(made[-1], now)
        elif step[0] == "later":
            now += step[1]
        elif made:
            hold = made[step[1] % len(made)]
            if step[0] == "again" and hold.expires_at > now:
                if hold.hold_id in model.holds:
                    assert counters.reserve(hold, now) == model.reserve(hold, now)
            elif step[0] == "release":
                counters.settle(hold, (), now)
                model.settle(hold, [], ())
            elif step[0] == "settle":
                totals = [total(each, step[2], version=step[3]) for each in lines]
                counters.settle(hold, totals, now)
                model.settle(hold, totals, lines)
        assert counters.look(lines, now) == model.look(lines, now)


def _begin_anew(counters: Counters) -> None:
    if not counters.is_redis:
        HoldLine.objects.across_tenants().delete()
        HoldRow.objects.across_tenants().delete()
    BudgetWindow.objects.across_tenants().update(updated_at=database._moment(NOW))
