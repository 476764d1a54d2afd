"""What is booked for a call whose process died: with what its span would have said, and once for all that was held."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.models import BudgetWindow
from budgets.reservations import HeldCall, check, reserve
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.corrections import correct_span
from telemetry.interrupted import book_interrupted, payload_for
from telemetry.models import CostSpan, SpanCorrection
from telemetry.recording import SpanDraft, settle_call
from tests import factories
from tests.budgets.api import NANO, define

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Attribution(user="ada")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
# Of how the call's model was chosen; all of it stands in a span, and two words of it in a hold.
FACTS = {"route": "auto", "strategy": "cost-optimized", "reason": "cheapest of 3", "needs": ["tools"], "stream": True}


@pytest.fixture
def acme() -> Tenant:
    acme = factories.acme()
    define(acme, "user:ada", 10)
    return acme


def hold(
    acme: Tenant, nano_usd: int, *, request_id: str = "call-1", ends_after: int = 60, all_held: int | None = None
) -> HeldCall:
    """One hold of a gateway call; nobody extends it, as if its process were gone."""
    call = Call(acme.pk, NOW, nano_usd, ADA, "sh_1", "vendor", "m")
    payload = payload_for(call, request_id, "latest", "trace-1", FACTS, held_nano_usd=all_held)
    return drive(reserve(call, hold_id=uuid.uuid4(), ttl_seconds=ends_after, payload=payload))


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def spent_and_left(acme: Tenant, now: datetime) -> tuple[int, Any]:
    spent = sum(BudgetWindow.objects.for_tenant(acme).values_list("spend_nano_usd", flat=True))
    return spent, drive(check(Call(acme.pk, now, 0, ADA))).remaining_nano_usd


def booked(acme: Tenant) -> list[tuple[str, str, int, int | None]]:
    spans = CostSpan.objects.for_tenant(acme).order_by("recorded_at")
    return [(span.request_id, span.status, span.cost_nano_usd, span.reserved_nano_usd) for span in spans]


def test_its_span_has_the_trace_and_the_route_of_the_call(acme: Tenant) -> None:
    hold(acme, NANO)
    book_interrupted(after(61))
    span = CostSpan.objects.for_tenant(acme).get()
    assert span.trace_id == "trace-1"
    assert span.metadata == {"route": "auto", "strategy": "cost-optimized"}


def test_a_hold_carries_no_more_than_its_span_needs() -> None:
    call = Call(1, NOW, NANO, ADA, "sh_1", "vendor", "m")
    named = {"needs": ["tools"], "stream": True}
    common = {
        "request_id": "call-1", "occurred_at": NOW.timestamp(), "attribution": ADA.as_dict(), "api_key": "sh_1",
        "provider": "vendor", "model": "m", "requested_model": "latest", "trace_id": "trace-1",
    }  # fmt: skip
    assert payload_for(call, "call-1", "latest", "trace-1", named) == common
    assert payload_for(call, "call-1", "latest", "trace-1", FACTS) == {
        **common, "metadata": {"route": "auto", "strategy": "cost-optimized"},
    }  # fmt: skip


def test_a_stream_that_held_more_is_booked_once_at_all_of_it(acme: Tenant) -> None:
    hold(acme, NANO)
    hold(acme, NANO, all_held=2 * NANO)
    hold(acme, 2 * NANO, all_held=4 * NANO)
    assert [book_interrupted(after(61)), book_interrupted(after(61))] == [1, 0]
    assert booked(acme) == [("call-1", "interrupted", 4 * NANO, 4 * NANO)]
    assert spent_and_left(acme, after(61)) == (4 * NANO, 6 * NANO)


def test_other_calls_are_spans_of_their_own(acme: Tenant) -> None:
    hold(acme, NANO)
    hold(acme, 2 * NANO, request_id="call-2")
    assert book_interrupted(after(61)) == 2
    assert {(each[0], each[2]) for each in booked(acme)} == {("call-1", NANO), ("call-2", 2 * NANO)}


def test_a_hold_that_ends_later_raises_what_the_call_was_booked_at(acme: Tenant) -> None:
    hold(acme, NANO)
    hold(acme, 2 * NANO, ends_after=80, all_held=3 * NANO)
    assert book_interrupted(after(61)) == 1
    assert booked(acme) == [("call-1", "interrupted", NANO, NANO)]
    assert spent_and_left(acme, after(61)) == (NANO, 7 * NANO)  # and 2 are held
    assert [book_interrupted(after(81)), book_interrupted(after(81))] == [0, 0]
    assert booked(acme) == [("call-1", "interrupted", 3 * NANO, 3 * NANO)]
    assert spent_and_left(acme, after(81)) == (3 * NANO, 7 * NANO)
    assert [(each.actor, each.to_nano_usd) for each in SpanCorrection.objects.for_tenant(acme)] == [
        ("system", 3 * NANO)
    ]


def test_a_hold_of_a_call_that_is_booked_already_adds_nothing(acme: Tenant) -> None:
    first = hold(acme, NANO)
    hold(acme, NANO, all_held=2 * NANO)  # its process died between booking the call and ending this one
    drive(settle_call(first, SpanDraft("call-1", NOW, "gateway", NANO // 2, ADA), after(5)))
    assert book_interrupted(after(61)) == 0
    assert booked(acme) == [("call-1", "ok", NANO // 2, None)]
    assert spent_and_left(acme, after(61)) == (NANO // 2, 10 * NANO - NANO // 2)


def test_what_an_admin_has_set_stands(acme: Tenant) -> None:
    hold(acme, NANO)
    hold(acme, NANO, ends_after=80, all_held=2 * NANO)
    book_interrupted(after(61))
    span = CostSpan.objects.for_tenant(acme).get()
    drive(correct_span(acme.pk, span.id, NANO // 4, actor="ada", reason="seen at the vendor", now=after(70)))
    book_interrupted(after(81))
    assert booked(acme) == [("call-1", "interrupted", NANO // 4, NANO)]
    assert spent_and_left(acme, after(81)) == (NANO // 4, 10 * NANO - NANO // 4)


def test_a_stream_that_ends_after_all_counts_its_real_cost_once(acme: Tenant) -> None:
    first = hold(acme, NANO)
    hold(acme, NANO, ends_after=80, all_held=2 * NANO)
    book_interrupted(after(61))
    answered = SpanDraft("call-1", NOW, "gateway", 3 * NANO, ADA, reserved_nano_usd=2 * NANO)
    drive(settle_call(first, answered, after(70)))
    book_interrupted(after(81))
    assert booked(acme) == [("call-1", "ok", 3 * NANO, 2 * NANO)]  # all that was held, not what it was booked at
    assert spent_and_left(acme, after(81)) == (3 * NANO, 7 * NANO)
