"""From a call that happened to money that is counted: on disk once, in every window it falls under."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.errors import ReservationMissing, ReservationSettled
from budgets.models import Budget, BudgetEvent, BudgetWindow, Reservation
from budgets.reservations import DurableReservation, check, release_reservation, reserve, reserve_durably
from budgets.resets import reset_scope
from budgets.timezones import change_timezone
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.corrections import correct_span
from telemetry.models import CostSpan, SpanCorrection
from telemetry.recording import NothingToCommit, Settlement, SpanDraft, commit_reservation, record, settle_call
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

NANO = 10**9
ADA = Attribution(user="ada")


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def define(tenant: Tenant, dollars: int, scope_type: str = "user", scope_key: str = "ada", **facts: object) -> Budget:
    budget = Budget.objects.create(
        tenant=tenant,
        name=f"{scope_type} {scope_key}",
        scope_type=scope_type,
        scope_key=scope_key,
        limit_nano_usd=dollars * NANO,
        **facts,
    )
    refresh_all()
    return budget


def draft(cost_nano_usd: int, request_id: str | None = None, who: Attribution = ADA, **facts: object) -> SpanDraft:
    return SpanDraft(
        request_id=request_id or uuid.uuid4().hex,
        occurred_at=facts.pop("occurred_at", timezone.now()),  # type: ignore[arg-type]  # a datetime in every test
        source=str(facts.pop("source", "api")),
        cost_nano_usd=cost_nano_usd,
        attribution=who,
        **facts,  # type: ignore[arg-type]  # each test names fields of SpanDraft
    )


def spent(budget: Budget, key: str = "ada") -> int:
    row = BudgetWindow.objects.for_tenant(budget.tenant_id).filter(budget=budget, scope_key=key).first()
    return 0 if row is None else row.spend_nano_usd - row.forgiven_nano_usd


def reserved_durably(
    tenant: Tenant, nano_usd: int, key: str | None = None, ttl_seconds: int = 60
) -> DurableReservation:
    call = Call(tenant.id, timezone.now(), nano_usd, ADA)
    return drive(
        reserve_durably(
            call,
            idempotency_key=key,
            request_sha256="same",
            ttl_seconds=ttl_seconds,
            answer=lambda decision, reservation_id, expires_at: {"id": str(reservation_id)},
        )
    )


def commit(tenant: Tenant, reservation_id: uuid.UUID, now: datetime | None = None, **settlement: object):
    return drive(
        commit_reservation(
            tenant.id,
            reservation_id,
            Settlement(**settlement),  # type: ignore[arg-type]  # each test names fields of Settlement
            unpriced_models="refuse",
            now=now or timezone.now(),
        )
    )


def test_a_span_counts_in_every_budget_it_falls_under(acme: Tenant) -> None:
    ada, each, everyone = (
        define(acme, 10),
        define(acme, 5, scope_key="*", period="day"),
        define(acme, 100, "tenant", "*"),
    )
    drive(record(acme.id, [draft(3 * NANO)], timezone.now()))
    assert [spent(ada), spent(each), spent(everyone, "*")] == [3 * NANO] * 3


def test_the_same_request_id_is_stored_and_counted_once(acme: Tenant) -> None:
    budget = define(acme, 10)
    first = drive(record(acme.id, [draft(NANO, "r-1"), draft(NANO, "r-1")], timezone.now()))
    again = drive(record(acme.id, [draft(NANO, "r-1")], timezone.now()))
    assert (first.accepted, first.duplicates, again.accepted, again.ids) == (1, 1, 0, (first.ids[0],))
    assert spent(budget) == NANO
    assert CostSpan.objects.for_tenant(acme).count() == 1


def test_another_tenants_request_id_is_not_a_repeat(acme: Tenant) -> None:
    globex = factories.globex()
    drive(record(acme.id, [draft(NANO, "r-1")], timezone.now()))
    assert drive(record(globex.id, [draft(NANO, "r-1")], timezone.now())).accepted == 1


@pytest.mark.usefixtures("standing_clock")
def test_a_budget_begins_with_what_its_window_has_already_spent(acme: Tenant) -> None:
    drive(record(acme.id, [draft(3 * NANO), draft(NANO, who=Attribution(user="ben"))], timezone.now()))
    exact, each, everyone = (
        define(acme, 10),
        define(acme, 5, scope_key="*", period="day"),
        define(acme, 100, "tenant", "*"),
    )
    assert [spent(exact), spent(each, "ben"), spent(everyone, "*")] == [3 * NANO, NANO, 4 * NANO]


def test_a_budget_does_not_count_what_was_spent_before_its_window(acme: Tenant) -> None:
    drive(record(acme.id, [draft(3 * NANO, occurred_at=timezone.now() - timedelta(days=40))], timezone.now()))
    assert spent(define(acme, 10)) == 0


@pytest.mark.usefixtures("standing_clock")
def test_no_span_is_missed_or_counted_twice_by_a_budget_created_meanwhile(acme: Tenant) -> None:
    stop = threading.Event()

    def keep_recording() -> None:
        try:
            while not stop.is_set():
                drive(record(acme.id, [draft(7, who=Attribution(user="ada", agent="bot"))], timezone.now()))
        finally:
            connection.close()

    threads = [threading.Thread(target=keep_recording) for _ in range(3)]
    for thread in threads:
        thread.start()
    budgets = [
        Budget.objects.create(
            tenant=acme, name=scope, scope_type=scope, scope_key=key, limit_nano_usd=NANO, period=period
        )
        for scope, key in (("user", "ada"), ("tenant", "*"), ("user", "*"))
        for period in ("day", "month", "total")
    ]
    stop.set()
    for thread in threads:
        thread.join()
    in_all = CostSpan.objects.for_tenant(acme).aggregate(total=Sum("cost_nano_usd"))["total"]
    assert in_all > 0
    rows = BudgetWindow.objects.for_tenant(acme).filter(budget__in=budgets)
    assert {(row.budget.name, row.budget.period): row.spend_nano_usd for row in rows} == {
        (budget.name, budget.period): in_all for budget in budgets
    }


def test_an_allowance_that_takes_over_again_has_kept_count(acme: Tenant) -> None:
    define(acme, 5, scope_key="*")
    exact = define(acme, 10)
    drive(record(acme.id, [draft(3 * NANO)], timezone.now()))
    exact.archived_at = timezone.now()
    exact.save()
    refresh_all()
    assert drive(check(Call(acme.id, timezone.now(), 0, ADA))).remaining_nano_usd == 2 * NANO


def test_a_settled_call_ends_its_hold_and_counts_its_real_cost(acme: Tenant) -> None:
    budget = define(acme, 10)
    held = drive(reserve(Call(acme.id, timezone.now(), 6 * NANO, ADA)))
    drive(settle_call(held, draft(2 * NANO), timezone.now()))
    assert spent(budget) == 2 * NANO
    assert drive(check(Call(acme.id, timezone.now(), 8 * NANO, ADA))).remaining_nano_usd == 0


def test_more_than_was_held_is_booked_in_full_and_shown(acme: Tenant) -> None:
    budget = define(acme, 10)
    reservation = reserved_durably(acme, NANO)
    committed = commit(acme, reservation.id, actual_nano_usd=12 * NANO)
    assert (committed.cost_nano_usd, committed.over_nano_usd, committed.released_nano_usd) == (12 * NANO, 11 * NANO, 0)
    assert spent(budget) == 12 * NANO
    assert CostSpan.objects.for_tenant(acme).get().reserved_nano_usd == NANO


def test_a_late_commit_still_counts(acme: Tenant) -> None:
    budget = define(acme, 10)
    reservation = reserved_durably(acme, NANO)
    committed = commit(acme, reservation.id, now=timezone.now() + timedelta(hours=2), actual_nano_usd=NANO)
    assert committed.is_late
    assert spent(budget) == NANO


def test_a_repeated_commit_answers_the_same_and_counts_nothing(acme: Tenant) -> None:
    budget = define(acme, 10)
    reservation = reserved_durably(acme, 3 * NANO)
    first = commit(acme, reservation.id, actual_nano_usd=NANO)
    again = commit(acme, reservation.id, actual_nano_usd=NANO)
    assert (again.span_id, again.cost_nano_usd, again.released_nano_usd) == (first.span_id, NANO, 2 * NANO)
    assert again.is_repeat
    assert spent(budget) == NANO


def test_a_commit_with_another_cost_than_the_first_is_a_conflict(acme: Tenant) -> None:
    budget = define(acme, 10)
    reservation = reserved_durably(acme, 3 * NANO)
    commit(acme, reservation.id, actual_nano_usd=NANO)
    with pytest.raises(ReservationSettled):
        commit(acme, reservation.id, actual_nano_usd=2 * NANO)
    assert spent(budget) == NANO


def test_many_commits_of_one_reservation_at_once_count_once(acme: Tenant) -> None:
    budget = define(acme, 10)
    reservation = reserved_durably(acme, 3 * NANO)
    answers: list[object] = []

    def commit_it() -> None:
        try:
            answers.append(commit(acme, reservation.id, actual_nano_usd=NANO).span_id)
        finally:
            connection.close()

    threads = [threading.Thread(target=commit_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [reservation.id] * 8
    assert spent(budget) == NANO


def test_a_released_reservation_cannot_be_committed_nor_a_committed_one_released(acme: Tenant) -> None:
    budget = define(acme, 10)
    released, committed = reserved_durably(acme, NANO), reserved_durably(acme, NANO)
    drive(release_reservation(acme.id, released.id, timezone.now()))
    commit(acme, committed.id, actual_nano_usd=NANO)
    with pytest.raises(ReservationSettled):
        commit(acme, released.id, actual_nano_usd=NANO)
    with pytest.raises(ReservationSettled):
        drive(release_reservation(acme.id, committed.id, timezone.now()))
    assert spent(budget) == NANO


def test_an_unknown_reservation_is_missing_and_so_is_a_strangers(acme: Tenant) -> None:
    define(acme, 10)
    reservation = reserved_durably(acme, NANO)
    with pytest.raises(ReservationMissing):
        commit(acme, uuid.uuid4(), actual_nano_usd=NANO)
    with pytest.raises(ReservationMissing):
        commit(factories.globex(), reservation.id, actual_nano_usd=NANO)
    assert Reservation.objects.for_tenant(acme).get().status == Reservation.Status.HELD


def test_a_commit_without_usage_or_cost_is_refused(acme: Tenant) -> None:
    reservation = reserved_durably(acme, NANO)
    with pytest.raises(NothingToCommit):
        commit(acme, reservation.id)


def test_a_repeated_reservation_is_held_once(acme: Tenant) -> None:
    define(acme, 10)
    first, again = reserved_durably(acme, 6 * NANO, "k"), reserved_durably(acme, 6 * NANO, "k")
    assert (again.id, again.is_repeat, first.is_repeat) == (first.id, True, False)
    assert drive(check(Call(acme.id, timezone.now(), 0, ADA))).remaining_nano_usd == 4 * NANO


def test_repeating_a_reservation_that_was_settled_holds_nothing_again(acme: Tenant) -> None:
    define(acme, 10)
    first = reserved_durably(acme, 6 * NANO, "k")
    commit(acme, first.id, actual_nano_usd=NANO)
    assert reserved_durably(acme, 6 * NANO, "k").is_repeat
    assert drive(check(Call(acme.id, timezone.now(), 0, ADA))).remaining_nano_usd == 9 * NANO


def test_a_correction_moves_the_ledger_by_the_difference_and_is_kept(acme: Tenant) -> None:
    budget = define(acme, 10)
    stored = drive(record(acme.id, [draft(5 * NANO)], timezone.now()))
    drive(
        correct_span(acme.id, stored.ids[0], 2 * NANO, actor="user:ada", reason="the bill says so", now=timezone.now())
    )
    kept = SpanCorrection.objects.for_tenant(acme).get()
    assert (kept.from_nano_usd, kept.to_nano_usd, kept.actor) == (5 * NANO, 2 * NANO, "user:ada")
    assert spent(budget) == 2 * NANO
    assert drive(check(Call(acme.id, timezone.now(), 0, ADA))).remaining_nano_usd == 8 * NANO


def test_a_call_that_answers_after_it_was_booked_as_interrupted_counts_its_real_cost_once(acme: Tenant) -> None:
    budget = define(acme, 10)
    booked = draft(5 * NANO, "call-1", source="worker", status="interrupted", is_estimated=True)
    drive(record(acme.id, [booked], timezone.now()))
    for _ in range(2):
        drive(record(acme.id, [draft(NANO, "call-1", source="gateway")], timezone.now()))
    assert spent(budget) == NANO
    span = CostSpan.objects.for_tenant(acme).get()
    assert (span.status, span.cost_nano_usd, span.is_estimated) == ("ok", NANO, False)


def test_a_reset_begins_afresh_erases_nothing_and_says_who_did_it(acme: Tenant) -> None:
    budget = define(acme, 10)
    drive(record(acme.id, [draft(10 * NANO)], timezone.now()))
    assert not drive(check(Call(acme.id, timezone.now(), 0, ADA))).allowed
    assert drive(reset_scope(acme.id, "user", "ada", actor="user:ada", now=timezone.now())) == 1
    decision = drive(check(Call(acme.id, timezone.now(), 0, ADA)))
    assert (decision.allowed, decision.remaining_nano_usd) == (True, 10 * NANO)
    row = BudgetWindow.objects.for_tenant(acme).get(budget=budget)
    assert (row.spend_nano_usd, row.forgiven_nano_usd, row.state) == (10 * NANO, 10 * NANO, "active")
    event = BudgetEvent.objects.for_tenant(acme).get(kind="budget-reset")
    assert (event.actor, event.from_state, event.spend_nano_usd) == ("user:ada", "stopped", 10 * NANO)


def test_each_threshold_is_told_once_per_window_however_far_the_spend_jumps(acme: Tenant) -> None:
    define(acme, 10)
    drive(record(acme.id, [draft(12 * NANO)], timezone.now()))
    drive(record(acme.id, [draft(NANO)], timezone.now()))
    events = BudgetEvent.objects.for_tenant(acme).order_by("id")
    assert [(event.kind, event.threshold or event.to_state) for event in events] == [
        ("state-change", "stopped"),
        ("threshold-breach", "0.75"),
        ("threshold-breach", "0.9"),
        ("threshold-breach", "1"),
        ("hard-stop", ""),
    ]


def test_another_time_zone_cuts_the_windows_anew_and_keeps_what_was_spent_in_them(acme: Tenant) -> None:
    define(acme, 10, period="day")
    drive(record(acme.id, [draft(3 * NANO)], timezone.now()))
    change_timezone(acme, "Pacific/Kiritimati", timezone.now())
    refresh_all()
    assert drive(check(Call(acme.id, timezone.now(), 0, ADA))).remaining_nano_usd == 7 * NANO


def test_a_span_of_last_month_counts_in_last_months_window(acme: Tenant) -> None:
    budget = define(acme, 10)
    now = datetime(2026, 3, 15, tzinfo=UTC)
    drive(record(acme.id, [draft(3 * NANO, occurred_at=datetime(2026, 2, 27, tzinfo=UTC))], now))
    row = BudgetWindow.objects.for_tenant(acme).get(budget=budget)
    assert (row.starts_at, row.ends_at) == (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
