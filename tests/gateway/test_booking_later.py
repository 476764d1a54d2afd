"""A call whose vendor has answered and whose span the database does not take now: held until it does, all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from budgets.calls import Call
from budgets.counters import database
from budgets.counters.charge import counters
from budgets.counters.drive import drive_async
from budgets.models import Budget, Hold
from budgets.reservations import HeldCall, reserve
from spendhub import group_commit
from spendhub.gateway import booking_later, open_call
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.holding import MoneyHeld, Need
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.group_commit import LedgerUnavailable
from spendhub.ids import new_id
from spendhub.snapshots import refresh_all
from spendhub.steps import Journey
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from telemetry.recording import settle_call
from tests import factories
from tests.routing.facts import model_facts

pytestmark = pytest.mark.django_db(transaction=True)

NANO = 10**9
ADA = Attribution(user="ada")


@pytest.fixture
def acme(settings: Any) -> Iterator[Tenant]:
    settings.REDIS_URL = None
    tenant = factories.acme()
    Budget.objects.create(tenant=tenant, name="Ada", scope_type="user", scope_key="ada", limit_nano_usd=2 * NANO)
    refresh_all()
    yield tenant
    database.close()
    group_commit.writer().close()


async def hold(tenant: Tenant, nano_usd: int) -> HeldCall:
    return await drive_async(reserve(Call(tenant.id, datetime.now(UTC), nano_usd, ADA), hold_id=new_id()))


def opened(held: HeldCall, more_held: HeldCall) -> OpenCall:
    origin = Origin(SimpleNamespace(tenant_id=held.call.tenant_id), ADA, "")  # type: ignore[arg-type]  # all it needs
    candidate: Any = SimpleNamespace(model=model_facts("m"), quote=SimpleNamespace(is_estimated=False))
    price = model_facts("m").prices.prices[0]
    made = OpenCall(
        origin, CallRequest(wire="chat", body={}, model="m"), candidate, MoneyHeld(held), {},
        need=Need(1, 1, 1, True), price=price,
    )  # fmt: skip
    made._more_held.append(more_held)
    return made


def held_now(tenant: Tenant) -> int:
    try:
        return sum(Hold.objects.for_tenant(tenant).values_list("amount_nano_usd", flat=True))
    finally:
        connection.close()


def test_all_that_a_call_holds_stays_held_until_its_span_is_stored(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_down = True

    def settle_when_up(*arguments: Any) -> Journey[Any]:
        if is_down:
            raise LedgerUnavailable("the ledger does not answer")
        return (yield from settle_call(*arguments))

    for module in (open_call, booking_later):
        monkeypatch.setattr(module, "settle_call", settle_when_up)
    monkeypatch.setattr(booking_later, "RETRY_PAUSE_SECONDS", 0.01)

    async def story() -> None:
        nonlocal is_down
        call = opened(await hold(acme, NANO), await hold(acme, NANO // 2))
        with pytest.raises(LedgerUnavailable):
            await call.settle_unanswered(RuntimeError("the vendor said no"))
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(held_now, acme) == NANO + NANO // 2
        is_down = False
        deadline = time.monotonic() + 10
        while await asyncio.to_thread(held_now, acme):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(story())
    assert CostSpan.objects.for_tenant(acme).count() == 1


def test_a_call_that_is_booked_holds_no_more(acme: Tenant) -> None:
    """A refusal that was set aside is booked, and may be streamed after all."""

    async def story() -> bool:
        call = opened(await hold(acme, NANO), await hold(acme, 1))
        await call.settle_unanswered(RuntimeError("the vendor said no"))
        return await call.hold_more(10)

    assert asyncio.run(story()) is False
    assert held_now(acme) == 0


def test_an_error_that_is_none_of_ours_is_booked_as_a_defect_whatever_code_it_has(acme: Tenant) -> None:
    class OfALibrary(Exception):
        code = 400

    async def story() -> None:
        call = opened(await hold(acme, NANO), await hold(acme, 1))
        await call.settle_unanswered(OfALibrary())

    asyncio.run(story())
    assert CostSpan.objects.for_tenant(acme).get().error_code == "defect"
    assert held_now(acme) == 0


def test_the_holds_of_a_call_that_cannot_be_booked_are_extended_no_more(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> list[bool]:
        both = [await hold(acme, NANO), await hold(acme, 1)]
        call = opened(*both)

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(call, "_draft", broken)
        with pytest.raises(ZeroDivisionError):
            await call.settle_unanswered(RuntimeError("the vendor said no"))
        return [each.hold is not None and each.hold.hold_id in counters().holds for each in both]

    assert asyncio.run(story()) == [False, False]
    # They are still held, until they run out and the worker books them.
    assert held_now(acme) == NANO + 1
