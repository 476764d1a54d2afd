"""Two words of a policy that the gateway acts on: what they make of a call and of its refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from budgets.patience import patience_of, room_for
from budgets.reservations import reserve
from budgets.strictness import is_strict, least_room
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import NANO, define
from tests.budgets.facts import budget, call, decision

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def refused(*stands: tuple[object, str, str]) -> Decision:
    """The decision on a call of 5 USD."""
    told = decision(call("5"), *stands)  # type: ignore[arg-type]  # each test names budgets with what they hold
    assert not told.allowed
    return told


def test_a_refusal_is_merely_held_when_the_call_would_fit_once_calls_in_flight_are_settled() -> None:
    full, held = (budget("user:ada"), "6", "0"), (budget("tenant"), "2", "8")
    assert refused(held).is_merely_held
    assert not refused(full).is_merely_held
    assert not refused(held, full).is_merely_held
    assert not refused((budget("user:ada"), "10", "3")).is_merely_held
    assert not refused((budget("user:ada", is_frozen=True), "0", "8")).is_merely_held


def test_who_is_refused_for_money_that_is_merely_held_may_come_back_in_two_seconds() -> None:
    error = BudgetExceeded(refused((budget("tenant"), "2", "8")))
    assert (error.retry_after_seconds, error.details["resets_at"]) == (2, "2026-12-01T00:00:00Z")
    assert BudgetExceeded(refused((budget("tenant", period="total"), "2", "8"))).retry_after_seconds == 2
    # Twelve hours and six days: what is spent does not come back before.
    assert BudgetExceeded(refused((budget("tenant"), "6", "2"))).retry_after_seconds == 156 * 3600 + 1


def test_who_is_refused_for_held_money_is_not_sent_beyond_the_end_of_the_window() -> None:
    told = refused((budget("tenant"), "2", "8"))
    assert told.resets_at is not None
    late = replace(told, call=replace(told.call, now=told.resets_at - timedelta(milliseconds=500)))
    assert late.is_merely_held and BudgetExceeded(late).retry_after_seconds == 1


def test_a_budget_that_observes_makes_nobody_wait_and_nothing_merely_held() -> None:
    observed = (budget("user:ada", is_enforced=False, patience_seconds=9), "6", "0")
    assert refused(observed, (budget("tenant", patience_seconds=3), "2", "8")).is_merely_held
    assert patience_of(refused(observed, (budget("tenant", patience_seconds=3), "2", "8"))) == 3
    assert not decision(call("5"), observed).is_merely_held


def test_the_least_patience_of_the_budgets_that_refuse_holds() -> None:
    patient, hasty = budget("user:ada", patience_seconds=10), budget("tenant", patience_seconds=2)
    assert patience_of(refused((patient, "0", "8"), (hasty, "0", "8"))) == 2
    assert patience_of(refused((patient, "0", "8"), (hasty, "0", "0"))) == 10
    assert patience_of(decision(call("5"), (patient, "0", "0"))) == 0


def test_the_least_room_is_that_of_the_tightest_enforced_budget() -> None:
    observed = (budget("user:ben", is_enforced=False), "10", "0")
    told = refused((budget("user:ada"), "6", "1"), (budget("tenant"), "1", "0"), observed)
    assert least_room(told) == 3 * NANO
    assert least_room(refused((budget("user:ada", is_frozen=True), "0", "0"), observed)) == 0
    assert least_room(decision(call("5"), observed)) == 0


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def ada(acme: Tenant, nano_usd: int = NANO) -> Call:
    return Call(acme.pk, NOW, nano_usd, Attribution(user="ada"))


@pytest.mark.django_db(transaction=True)
def test_a_call_is_strict_when_a_strict_budget_in_force_applies_to_it(acme: Tenant) -> None:
    define(acme, "user:ben", 10, strict=True)
    define(acme, "tenant", 10)
    assert not is_strict(ada(acme))
    observed = define(acme, "user:ada", 10, strict=True, mode="observe")
    assert not is_strict(ada(acme))
    observed.mode = "enforce"
    observed.save()
    define(acme, "agent:bot", 10)  # and the snapshot is fresh
    assert is_strict(ada(acme))


@pytest.mark.django_db(transaction=True)
def test_there_is_room_now_when_every_enforced_budget_has_it(acme: Tenant) -> None:
    assert drive(room_for(ada(acme))) == "free"
    define(acme, "user:ada", 3)
    define(acme, "tenant", 1, mode="observe")
    assert drive(room_for(ada(acme, 3 * NANO))) == "free"
    drive(reserve(ada(acme)))
    assert drive(room_for(ada(acme, 3 * NANO))) == "held"
    assert drive(room_for(ada(acme, 2 * NANO))) == "free"


@pytest.mark.django_db(transaction=True)
def test_what_no_settling_of_others_could_make_room_for_is_spent(acme: Tenant) -> None:
    define(acme, "user:ada", 3)
    drive(reserve(ada(acme)))
    assert drive(room_for(ada(acme, 3 * NANO + 1))) == "spent"
