"""A call whose process died after the vendor was asked: held until its owner is given up, then booked once."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.models import BudgetWindow
from budgets.reservations import HeldCall, check, reserve
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.interrupted import book_interrupted, payload_for
from telemetry.models import CostSpan
from telemetry.recording import SpanDraft, settle_call
from tests import factories
from tests.budgets.api import NANO, define

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Attribution(user="ada", agent="bot")


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def begin(acme: Tenant, now: datetime, nano_usd: int = 6 * NANO) -> HeldCall:
    """A gateway call that is held for a minute; nobody extends it, as if its process were gone."""
    call = Call(acme.pk, now, nano_usd, ADA, "sh_1", "vendor", "m")
    payload = payload_for(call, "call-1", "latest", "trace-1", {})
    return drive(reserve(call, hold_id=uuid.uuid4(), ttl_seconds=60, payload=payload))


def left(acme: Tenant, now: datetime) -> Any:
    return drive(check(Call(acme.pk, now, 0, ADA))).remaining_nano_usd


def test_while_its_owner_may_live_the_call_stays_held_and_is_not_booked(acme: Tenant, now: datetime) -> None:
    define(acme, "user:ada", 10)
    begin(acme, now)
    assert book_interrupted(now + timedelta(seconds=59)) == 0
    assert left(acme, now) == 4 * NANO


def test_then_it_is_booked_at_its_estimate_with_all_that_was_known_of_it(acme: Tenant, now: datetime) -> None:
    define(acme, "user:ada", 10)
    begin(acme, now)
    later = now + timedelta(seconds=61)
    assert [book_interrupted(later), book_interrupted(later)] == [1, 0]
    span = CostSpan.objects.for_tenant(acme).get()
    assert (span.status, span.is_estimated, span.source, span.cost_nano_usd, span.reserved_nano_usd) == (
        "interrupted", True, "worker", 6 * NANO, 6 * NANO,
    )  # fmt: skip
    assert (span.request_id, span.user, span.agent, span.api_key, span.provider, span.model, span.requested_model) == (
        "call-1", "ada", "bot", "sh_1", "vendor", "m", "latest",
    )  # fmt: skip
    assert abs(span.occurred_at - now) < timedelta(milliseconds=1)
    assert BudgetWindow.objects.for_tenant(acme).get().spend_nano_usd == 6 * NANO
    assert left(acme, later) == 4 * NANO


def test_a_call_that_answers_after_all_counts_its_real_cost_once(acme: Tenant, now: datetime) -> None:
    define(acme, "user:ada", 10)
    held = begin(acme, now)
    later = now + timedelta(seconds=61)
    book_interrupted(later)
    answered = SpanDraft("call-1", now, "gateway", 2 * NANO, ADA, "sh_1", "vendor", "m")
    drive(settle_call(held, answered, later))
    span = CostSpan.objects.for_tenant(acme).get()
    assert (span.status, span.is_estimated, span.cost_nano_usd) == ("ok", False, 2 * NANO)
    assert left(acme, later) == 8 * NANO


def test_a_call_that_no_budget_watches_is_found_and_booked_too(acme: Tenant, now: datetime) -> None:
    begin(acme, now)
    assert book_interrupted(now + timedelta(seconds=61)) == 1
    assert CostSpan.objects.for_tenant(acme).get().cost_nano_usd == 6 * NANO


def test_a_settled_call_is_no_orphan(acme: Tenant, now: datetime) -> None:
    define(acme, "user:ada", 10)
    held = begin(acme, now)
    drive(settle_call(held, SpanDraft("call-1", now, "gateway", NANO, ADA), now))
    assert book_interrupted(now + timedelta(seconds=61)) == 0
    assert left(acme, now) == 9 * NANO
