"""A new budget begins with what its window has already spent: exactly, and whoever is writing meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from budgets import openings
from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.definitions import BudgetExists, create_budget, raise_budget
from budgets.models import Budget, BudgetEvent, BudgetWindow
from budgets.openings import NothingRecorded
from budgets.reservations import check
from budgets.timezones import change_timezone
from spendhub.ids import new_id
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from telemetry.recording import SpanDraft, record
from tests import factories
from tests.budgets.api import NANO, define

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("standing_clock")]

USERS = ("ada", "ben")


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def spend(acme: Tenant, nano_usd: int, when: datetime | None = None, user: str = "ada", **facts: Any) -> None:
    moment = when or timezone.now()
    draft = SpanDraft(str(new_id()), moment, "api", nano_usd, Attribution(user=user), **facts)
    drive(record(acme.pk, [draft], timezone.now()))


def opened(budget: Budget) -> dict[str, int]:
    """What each key's ledger row holds."""
    rows = BudgetWindow.objects.for_tenant(budget.tenant_id).filter(budget=budget)
    return dict(rows.values_list("scope_key", "spend_nano_usd"))


def test_a_budget_of_any_type_begins_with_what_its_keys_have_spent(acme: Tenant) -> None:
    facts = {"api_key": "sh_1", "provider": "vendor", "model": "m"}
    spend(acme, 3, **facts)
    spend(acme, 4, user="ben", **facts)
    for scope, expected in (
        ("tenant", {"*": 7}),
        ("user:*", {"ada": 3, "ben": 4}),
        ("user:ada", {"ada": 3}),
        ("user:cy", {}),
        ("api_key:sh_1", {"sh_1": 7}),
        ("provider:*", {"vendor": 7}),
        ("model:m", {"m": 7}),
        ("org:*", {}),
    ):
        assert opened(define(acme, scope, 10)) == expected, scope


def test_it_begins_with_its_current_window_alone(acme: Tenant) -> None:
    now = timezone.now()
    for age, nano_usd in ((timedelta(0), 1), (timedelta(days=40), 2), (timedelta(days=400), 4)):
        spend(acme, nano_usd, now - age)
    assert opened(define(acme, "user:ada", 10, period="month")) == {"ada": 1}
    assert opened(define(acme, "user:ada", 10, period="total")) == {"ada": 7}


def test_what_was_spent_before_its_own_beginning_does_not_count(acme: Tenant) -> None:
    now = timezone.now()
    spend(acme, 1, now - timedelta(hours=2))
    spend(acme, 2, now)
    begins = define(acme, "user:ada", 10, period="total", starts_at=now - timedelta(hours=1))
    assert opened(begins) == {"ada": 2}
    assert opened(define(acme, "user:ben", 10, starts_at=now + timedelta(hours=1))) == {}


def test_a_budget_that_is_full_from_the_start_says_so_at_once(acme: Tenant) -> None:
    spend(acme, 2 * NANO)
    budget = define(acme, "user:ada", 1)
    kinds = BudgetEvent.objects.for_tenant(acme).filter(budget=budget).values_list("kind", flat=True)
    assert Counter(kinds) == {"state-change": 1, "threshold-breach": 3, "hard-stop": 1}
    assert not drive(check(Call(acme.pk, timezone.now(), 0, Attribution(user="ada")))).allowed


def test_another_tenants_spend_is_not_summed(acme: Tenant) -> None:
    spend(factories.globex(), 5)
    assert opened(define(acme, "user:ada", 10)) == {}


def test_a_budget_that_could_not_be_made_opens_nothing(acme: Tenant) -> None:
    spend(acme, 5)
    first = define(acme, "user:ada", 10)
    values = {"scope_type": "user", "scope_key": "ada", "limit_nano_usd": 1}
    with pytest.raises(BudgetExists):
        create_budget(acme.pk, values, source="api", actor="user:ada")
    assert [row.budget_id for row in BudgetWindow.objects.for_tenant(acme)] == [first.id]


def test_without_anybody_who_records_a_budget_begins_with_nothing(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(acme, 5)
    monkeypatch.setattr(openings, "recorded", NothingRecorded())
    assert opened(define(acme, "user:ada", 10)) == {}


def test_another_time_zone_opens_the_windows_that_it_cuts(acme: Tenant) -> None:
    # Noon in UTC on the 24th is the 25th, 02:00, in Kiritimati.
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    budget = define(acme, "user:ada", 10, period="day")
    spend(acme, 1, now - timedelta(hours=3))
    spend(acme, 2, now)
    change_timezone(acme, "Pacific/Kiritimati", now)
    refresh_all()
    rows = BudgetWindow.objects.for_tenant(acme).filter(budget=budget).order_by("starts_at")
    assert [(row.starts_at.hour, row.spend_nano_usd) for row in rows] == [(0, 3), (10, 2)]
    spend(acme, 4, now)
    assert drive(check(Call(acme.pk, now, 0, Attribution(user="ada")))).remaining_nano_usd == 10 * NANO - 6


def test_another_time_zone_tells_nothing_that_a_raise_has_lifted(acme: Tenant) -> None:
    now = timezone.now()
    budget = define(acme, "user:ada", 10, period="day")
    raise_budget(budget, {"by_nano_usd": 90 * NANO, "ends_at": now + timedelta(days=9)}, actor="user:ada", now=now)
    refresh_all()
    spend(acme, 12 * NANO)
    change_timezone(acme, "Pacific/Kiritimati", timezone.now())
    assert BudgetEvent.objects.for_tenant(acme).count() == 0
    assert {row.state for row in BudgetWindow.objects.for_tenant(acme)} == {"active"}


def test_another_time_zone_leaves_budgets_alone_that_are_not_in_force(acme: Tenant) -> None:
    now = timezone.now()
    spend(acme, 5)
    define(acme, "user:ada", 10, starts_at=now + timedelta(days=1))
    change_timezone(acme, "Pacific/Kiritimati", now)
    assert BudgetWindow.objects.for_tenant(acme).count() == 0


def test_a_window_that_both_zones_cut_alike_keeps_its_count(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, period="total")
    spend(acme, 5)
    change_timezone(acme, "Pacific/Kiritimati", timezone.now())
    assert opened(budget) == {"ada": 5}


def test_an_unknown_time_zone_is_refused_and_changes_nothing(acme: Tenant) -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        change_timezone(acme, "Mars/Olympus", timezone.now())
    acme.refresh_from_db()
    assert acme.timezone == "UTC"


@contextmanager
def writers(write: Callable[[int, int], None], count: int = 3) -> Iterator[None]:
    """Threads that keep calling `write(thread, turn)` for as long as the block lasts; each writes at least once."""
    stop, errors = threading.Event(), []

    def keep_writing(number: int) -> None:
        try:
            turn = 0
            while turn == 0 or not stop.is_set():
                write(number, turn)
                turn += 1
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=keep_writing, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_budgets_made_while_spans_are_written_lose_none_and_count_none_twice(acme: Tenant) -> None:
    with writers(lambda number, turn: spend(acme, 1, user=USERS[turn % 2])):
        budgets = [
            create_budget(
                acme.pk,
                {"scope_type": scope, "scope_key": key, "period": period, "limit_nano_usd": NANO},
                source="api",
                actor="user:ada",
            )
            for scope, key in (("user", "*"), ("user", "ada"), ("tenant", "*"))
            for period in ("day", "total")
        ]
    by_user = Counter(CostSpan.objects.for_tenant(acme).values_list("user", flat=True))
    for budget in budgets:
        expected = {"*": by_user.total()} if budget.scope_type == "tenant" else dict(by_user)
        if budget.scope_key == "ada":
            expected = {"ada": by_user["ada"]}
        assert opened(budget) == expected, str(budget)


def test_a_time_zone_changed_while_spans_are_written_loses_none(acme: Tenant) -> None:
    budget = define(acme, "user:*", 10, period="day")
    with writers(lambda number, turn: spend(acme, 1, user=USERS[turn % 2])):
        for zone in ("Pacific/Kiritimati", "Asia/Kathmandu"):
            change_timezone(acme, zone, timezone.now())
    refresh_all()
    now = timezone.now()
    by_user = Counter(CostSpan.objects.for_tenant(acme).values_list("user", flat=True))
    for user in USERS:
        (looked_at,) = drive(check(Call(acme.pk, now, 0, Attribution(user=user)))).looked_at
        assert (looked_at.matched.budget.id, looked_at.count.spend_nano_usd) == (budget.id, by_user[user])
