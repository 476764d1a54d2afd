"""Calls that wait for held money in one process: served in the order in which they came, each for a bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import pytest

from budgets.calls import Call
from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from budgets.matching import Matches
from budgets.reservations import HeldCall
from spendhub.gateway import waiting
from spendhub.gateway.holding import Patience
from spendhub.gateway.waiting import hold_in_turn
from spendhub.snapshots import refresh_all
from tests.budgets.facts import budget, call, decision

# The tenant has no budget in the database: whoever looks sees room, and `hold` says whether it was still there.
pytestmark = pytest.mark.django_db(transaction=True)

ADAS = budget("user:ada", "1")


def refused(spent: str = "0", held: str = "1") -> BudgetExceeded:
    return BudgetExceeded(decision(call("0.5"), (ADAS, spent, held)))


def allowed() -> Decision:
    return decision(call("0.5"), (ADAS, "0", "0"))


def holds(
    name: str, served: list[str], refusals: Iterable[BudgetExceeded] = ()
) -> Callable[[Call], Awaitable[HeldCall]]:
    """Lets the call through after so many refusals, and notes each try."""
    left = iter(refusals)

    async def hold(asked: Call) -> HeldCall:
        refusal = next(left, None)
        served.append(f"{name} {'late' if refusal else 'held'}")
        if refusal is not None:
            raise refusal
        return HeldCall(asked, allowed(), None, Matches((), 0.0, 0.0))

    return hold


@pytest.fixture(autouse=True)
def no_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    refresh_all()
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)


def soon() -> float:
    return time.monotonic() + 10


def test_who_is_first_in_line_stays_first_when_somebody_who_had_not_waited_was_quicker() -> None:
    served: list[str] = []

    async def two() -> None:
        first = hold_in_turn(call("0.5"), refused(), soon(), holds("first", served, [refused(), refused()]))
        second = hold_in_turn(call("0.5"), refused(), soon(), holds("second", served))
        await asyncio.gather(first, second)

    asyncio.run(two())
    assert served == ["first late", "first late", "first held", "second held"]
    assert waiting._lines == {}


def test_neither_the_caller_nor_a_budget_is_more_patient_than_the_call_has_time() -> None:
    patient = budget("user:ada", "1", patience_seconds=9)
    held = decision(call("0.5"), (patient, "0", "1"))
    assert Patience().seconds_for(held) == 9
    assert Patience(30).seconds_for(held) == 30
    now = time.monotonic()
    for asked in (0, 30):
        assert 1 < Patience(asked, deadline=now + 2).seconds_for(held) <= 2
    assert Patience(30, deadline=now).seconds_for(held) == 0
    assert Patience(30, may_wait=False, deadline=now + 2).seconds_for(held) == 0
    assert Patience(30).seconds_for(decision(call("0.5"), (patient, "1", "0"))) == 0  # spent


def test_money_that_has_been_spent_meanwhile_is_waited_for_no_longer() -> None:
    served: list[str] = []
    spent = refused(spent="1", held="0")
    with pytest.raises(BudgetExceeded) as told:
        asyncio.run(hold_in_turn(call("0.5"), refused(), soon(), holds("it", served, [spent])))
    assert (told.value, served) == (spent, ["it late"])
    assert waiting._lines == {}


def test_a_call_whose_patience_ends_in_line_is_refused_and_the_next_ones_turn_comes() -> None:
    served: list[str] = []
    first_refusal = refused()

    async def three() -> None:
        goes_on = asyncio.Event()

        async def slow(asked: Call) -> HeldCall:
            await goes_on.wait()
            return await holds("slow", served)(asked)

        slowly = asyncio.create_task(hold_in_turn(call("0.5"), refused(), soon(), slow))
        await asyncio.sleep(0)
        hasty = hold_in_turn(call("0.5"), first_refusal, time.monotonic() + 0.01, holds("hasty", served))
        patient = asyncio.create_task(hold_in_turn(call("0.5"), refused(), soon(), holds("patient", served)))
        with pytest.raises(BudgetExceeded) as told:
            await hasty
        goes_on.set()
        await asyncio.gather(slowly, patient)
        assert told.value is first_refusal

    asyncio.run(three())
    assert served == ["slow held", "patient held"]
    assert waiting._lines == {}


def test_a_client_that_leaves_while_it_waits_makes_room_for_the_next() -> None:
    served: list[str] = []

    async def two() -> None:
        never = asyncio.Event()

        async def stuck(asked: Call) -> HeldCall:
            await never.wait()
            raise AssertionError("it has left")

        leaving = asyncio.create_task(hold_in_turn(call("0.5"), refused(), soon(), stuck))
        await asyncio.sleep(0.01)
        patient = asyncio.create_task(hold_in_turn(call("0.5"), refused(), soon(), holds("patient", served)))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await patient

    asyncio.run(two())
    assert served == ["patient held"]
    assert waiting._lines == {}
