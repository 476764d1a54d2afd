"""A call's money moves from held to spent; where the database counts, in one step."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from budgets.calls import Call
from budgets.counters.charge import counters
from budgets.counters.database import read_counts
from budgets.counters.drive import drive
from budgets.counters.fence import DATABASE
from budgets.models import Budget, CounterFence, Hold
from budgets.reservations import HeldCall, look_at, reserve, reserve_durably
from spendhub.snapshots import refresh_all
from spendhub.steps import AwaitFuture, AwaitWrite, CallInThread, Journey
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.interrupted import book_holds, payload_for
from telemetry.recording import Settlement, commit_reservation, settle_call
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

NANO = 10**9
ADA = Attribution(user="ada")


@pytest.fixture
def acme(settings: Any) -> Tenant:
    settings.REDIS_URL = None
    return factories.acme()


@pytest.fixture
def two_dollars(acme: Tenant) -> Budget:
    made = Budget.objects.create(tenant=acme, name="Ada", scope_type="user", scope_key="ada", limit_nano_usd=2 * NANO)
    refresh_all()
    return made


def call_of(tenant: Tenant, nano_usd: int) -> Call:
    return Call(tenant.id, timezone.now(), nano_usd, ADA)


def drive_until_written(journey: Journey[Any]) -> Any:
    """Stops a journey right after its write is committed, before it goes on: the moment in which others may ask."""
    counters().refresh()  # who counts is known for long enough, whatever this machine does meanwhile
    step = next(journey)
    while isinstance(step, CallInThread):
        step = journey.send(step.function(*step.args))
    assert isinstance(step, (AwaitFuture, AwaitWrite))
    return (step.future if isinstance(step, AwaitFuture) else step.in_thread()).result()


def go_on(journey: Journey[Any], result: Any) -> None:
    def rest() -> Journey[Any]:
        with suppress(StopIteration):
            step = journey.send(result)
            while True:
                step = journey.send((yield step))

    drive(rest())


def begin_another_epoch() -> None:
    """The database goes on counting, in an epoch of which it is told as of any change of hands."""
    charge = counters().charge
    assert charge is not None
    counters().change_hands(charge, DATABASE, "a test")
    CounterFence.objects.update(effective_at=timezone.now() - timedelta(seconds=1))  # databases' clocks are coarser
    counters().refresh()


def held_call(tenant: Tenant, nano_usd: int) -> HeldCall:
    return drive(reserve(call_of(tenant, nano_usd)))


def draft_of(held: HeldCall, cost_nano_usd: int) -> SpanDraft:
    return SpanDraft(uuid.uuid4().hex, held.call.now, "gateway", cost_nano_usd, attribution=ADA)


def test_at_no_moment_is_a_call_both_held_and_spent(acme: Tenant, two_dollars: Budget) -> None:
    held = held_call(acme, NANO)
    settling = settle_call(held, draft_of(held, NANO), timezone.now())
    stored = drive_until_written(settling)
    assert drive(look_at(call_of(acme, 0))).remaining_nano_usd == NANO
    other = held_call(acme, NANO)  # or it raises BudgetExceeded
    go_on(settling, stored)
    assert other.hold is not None
    assert [each.id for each in Hold.objects.for_tenant(acme)] == [other.hold.hold_id]
    assert drive(look_at(call_of(acme, 0))).remaining_nano_usd == 0


def test_what_a_call_that_outgrew_its_hold_has_held_since_ends_with_it(acme: Tenant, two_dollars: Budget) -> None:
    held, more = held_call(acme, NANO // 2), held_call(acme, NANO // 2)
    drive_until_written(settle_call(held, draft_of(held, NANO), timezone.now(), [more]))
    assert not Hold.objects.for_tenant(acme).exists()
    assert drive(look_at(call_of(acme, 0))).remaining_nano_usd == NANO


def test_at_no_moment_is_a_reservation_both_held_and_spent(acme: Tenant, two_dollars: Budget) -> None:
    reserved = drive(
        reserve_durably(
            call_of(acme, NANO), idempotency_key=None, request_sha256="same", ttl_seconds=60,
            answer=lambda decision, reservation_id, expires_at: {},
        )
    )  # fmt: skip
    cost = Settlement(actual_nano_usd=NANO)
    committing = commit_reservation(acme.id, reserved.id, cost, unpriced_models="reject", now=timezone.now())
    stored = drive_until_written(committing)
    held_call(acme, NANO)  # or it raises BudgetExceeded
    go_on(committing, stored)
    assert drive(look_at(call_of(acme, 0))).remaining_nano_usd == 0


def test_at_no_moment_is_an_interrupted_call_both_held_and_spent(acme: Tenant, two_dollars: Budget) -> None:
    call = call_of(acme, NANO)
    held = drive(reserve(call, payload=payload_for(call, "call-1", "m", "trace-1", {})))
    assert held.hold is not None
    booking = book_holds([held.hold], timezone.now())
    stored = drive_until_written(booking)
    held_call(acme, NANO)  # or it raises BudgetExceeded
    go_on(booking, stored)
    assert drive(look_at(call_of(acme, 0))).remaining_nano_usd == 0


def test_what_is_spent_and_what_is_held_are_looked_at_in_the_same_moment(
    acme: Tenant, two_dollars: Budget, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first, second = held_call(acme, NANO), held_call(acme, NANO // 2)
    drive(settle_call(first, draft_of(first, NANO // 4), timezone.now()))
    with django_assert_num_queries(1):
        counts = read_counts(acme.id, second.matched.lines, timezone.now().timestamp())
    assert counts == ((NANO // 4, NANO // 2),)


def test_a_hold_that_was_put_back_meanwhile_is_ended_once_more(acme: Tenant, two_dollars: Budget) -> None:
    held = held_call(acme, NANO)
    settling = settle_call(held, draft_of(held, NANO), timezone.now())
    stored = drive_until_written(settling)
    epoch = counters().database_epoch
    begin_another_epoch()
    assert counters().database_epoch not in (None, epoch)
    assert Hold.objects.for_tenant(acme).exists(), "this process holds it still, and has put it back"
    go_on(settling, stored)
    assert not Hold.objects.for_tenant(acme).exists()
