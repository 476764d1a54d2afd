"""Money that comes free goes to who waits for it, before anybody who comes new; on real budgets, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters import database
from budgets.counters.drive import drive_async
from budgets.errors import BudgetExceeded
from budgets.models import Budget
from budgets.reservations import HeldCall, release, reserve
from spendhub import group_commit
from spendhub.gateway import waiting
from spendhub.gateway.waiting import hold_as_newcomer, hold_in_turn
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

NANO = 10**9
Story = Callable[[Callable[[float], Call]], Awaitable[None]]


@pytest.fixture
def acme(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    settings.REDIS_URL = None
    # Who waits looks because somebody came, or not at all while a story lasts.
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 60)
    monkeypatch.setattr(waiting, "STAND_BACK_SECONDS", 60)
    return factories.acme()


@pytest.fixture
def tell(acme: Tenant) -> Any:
    """Tells a story of calls, in dollars, that fall under a budget of one dollar."""
    Budget.objects.create(tenant=acme, name="Ada", scope_type="user", scope_key="ada", limit_nano_usd=NANO)
    refresh_all()

    def call(dollars: float) -> Call:
        return Call(acme.id, datetime.now(UTC), int(dollars * NANO), Attribution(user="ada"))

    def run(story: Story) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await story(call)

        asyncio.run(bounded())
        assert waiting._lines == {}
        database.close()
        group_commit.writer().close()

    return run


async def hold(call: Call) -> HeldCall:
    return await drive_async(reserve(call))


async def come_new(call: Call) -> HeldCall:
    return await hold_as_newcomer(call, hold)


async def end(held: HeldCall) -> None:
    await drive_async(release(held, datetime.now(UTC)))


async def stand_in_line(call: Call, seconds: float = 10) -> asyncio.Task[HeldCall]:
    """A call that has been refused and has looked in vain since."""
    with pytest.raises(BudgetExceeded) as refused:
        await hold(call)
    task = asyncio.create_task(hold_in_turn(call, refused.value, time.monotonic() + seconds, hold))
    await asyncio.sleep(0)
    with pytest.raises(BudgetExceeded):
        await come_new(call)
    return task


def test_money_that_comes_free_goes_to_who_waits_and_not_to_who_comes(tell: Any) -> None:
    async def story(call: Callable[[float], Call]) -> None:
        first = await hold(call(1))
        patient = await stand_in_line(call(1))
        await end(first)
        with pytest.raises(BudgetExceeded):
            await come_new(call(1))
        await end(await patient)

    tell(story)


def test_what_comes_free_after_the_first_has_looked_is_given_back_to_it(tell: Any) -> None:
    async def story(call: Callable[[float], Call]) -> None:
        first = await hold(call(1))
        patient = await stand_in_line(call(0.8))
        tries = 0

        async def hold_once_it_is_free(call: Call) -> HeldCall:
            nonlocal tries
            tries += 1
            if tries == 1:
                await end(first)
            return await hold(call)

        with pytest.raises(BudgetExceeded):
            await hold_as_newcomer(call(0.3), hold_once_it_is_free)
        await end(await patient)

    tell(story)


def test_who_comes_gives_way_no_more_than_twice_to_one_who_has_no_use_for_it(tell: Any, acme: Tenant) -> None:
    Budget.objects.create(tenant=acme, name="Bots", scope_type="agent", scope_key="bot", limit_nano_usd=NANO)
    refresh_all()

    async def story(call: Callable[[float], Call]) -> None:
        first = await hold(call(1))
        others = await hold(replace(call(0.5), attribution=Attribution(user="ben", agent="bot")))
        patient = await stand_in_line(replace(call(0.6), attribution=Attribution(user="ada", agent="bot")))
        await end(first)
        tries = 0

        async def counted(call: Call) -> HeldCall:
            nonlocal tries
            tries += 1
            return await hold(call)

        held = await hold_as_newcomer(call(0.6), counted)
        assert tries == 3
        await end(held)
        await end(others)
        patient.cancel()

    tell(story)


def test_everybody_in_line_whom_it_is_enough_for_goes_before_who_comes(tell: Any) -> None:
    async def story(call: Callable[[float], Call]) -> None:
        first = await hold(call(1))
        patient = [await stand_in_line(call(0.5)), await stand_in_line(call(0.5))]
        await end(first)
        with pytest.raises(BudgetExceeded):
            await come_new(call(0.1))
        for each in patient:
            await end(await each)

    tell(story)


def test_what_the_first_in_line_cannot_use_yet_is_free_for_who_comes(tell: Any) -> None:
    async def story(call: Callable[[float], Call]) -> None:
        first, second = await hold(call(0.6)), await hold(call(0.1))
        patient = await stand_in_line(call(0.7))
        third = await come_new(call(0.3))
        for held in (first, second, third):
            await end(held)
        await end(await come_new(call(0.3)))
        await end(await patient)

    tell(story)


def test_who_comes_waits_no_longer_for_one_who_leaves(tell: Any) -> None:
    async def story(call: Callable[[float], Call]) -> None:
        first = await hold(call(1))
        patient = await stand_in_line(call(1))
        await end(first)
        came = asyncio.create_task(come_new(call(1)))
        patient.cancel()
        await end(await came)

    tell(story)


def test_who_comes_does_not_wait_for_ever_for_one_who_does_not_look(tell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STAND_BACK_SECONDS", 0.05)

    async def story(call: Callable[[float], Call]) -> None:
        never = asyncio.Event()

        async def stuck(_: Call) -> HeldCall:
            await never.wait()
            raise AssertionError("it was cancelled")

        first = await hold(call(1))
        with pytest.raises(BudgetExceeded) as refused:
            await hold(call(1))
        await end(first)
        waits = asyncio.create_task(hold_in_turn(call(1), refused.value, time.monotonic() + 10, stuck))
        await asyncio.sleep(0)
        await end(await come_new(call(1)))
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)

    tell(story)
