"""Titles, names and the record of changes give the account's own day and hour, as the columns beside them do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from budgets.models import BudgetEvent, BudgetRaise, Decision
from routing.own_models import give_back
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Change, Tenant
from tests.admin.test_budget_pages import make_budget
from tests.admin.test_call_pages import book
from tests.factories import ModelFactory, PriceFactory, ProviderFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

TOKYO = "Asia/Tokyo"
# The 30th, 08:17 in Tokyo.
LATE = datetime(2026, 11, 29, 23, 17, 20, tzinfo=UTC)


@pytest.fixture
def acme_in_tokyo(acme: Tenant) -> Tenant:
    acme.timezone = TOKYO
    acme.save()
    return acme


def see(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def price(tenant: Tenant) -> Any:
    return PriceFactory(model=ModelFactory(name="tiny", tenant=tenant), tenant=tenant, valid_from=LATE)


def decision(tenant: Tenant) -> Any:
    return Decision.objects.create(
        tenant=tenant, created_at=LATE, allowed=True, action="allow", reason="", estimated_cost_nano_usd=1
    )


def event(tenant: Tenant) -> Any:
    return BudgetEvent.objects.create(
        tenant=tenant, budget=make_budget(tenant), kind="hard-stop", scope_key="*", window_starts_at=LATE,
        spend_nano_usd=1, limit_nano_usd=1, occurred_at=LATE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "title"),
    [
        (lambda tenant: book(tenant, "tiny", at=LATE), "tiny 2026-11-30 08:17"),
        (price, "tiny from 2026-11-30"),
        (decision, "allow 2026-11-30 08:17"),
        (event, "hard-stop 2026-11-30 08:17"),
    ],
)
def test_the_title_of_a_page_has_the_accounts_own_day(
    acme_in_tokyo: Tenant, browser_of: BrowserOf, make: Callable[[Tenant], Any], title: str
) -> None:
    row = make(acme_in_tokyo)
    page = see(browser_of("adam"), f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/")
    assert title in page and "2026-11-29" not in page


def test_a_raise_is_called_by_the_accounts_own_day() -> None:
    with timezone.override(ZoneInfo(TOKYO)):
        assert str(BudgetRaise(ends_at=LATE)) == "raise until 2026-11-30"
    assert str(BudgetRaise(ends_at=LATE)) == "raise until 2026-11-29"


def test_a_model_that_is_given_back_is_called_by_the_accounts_own_day(acme: Tenant) -> None:
    own = ModelFactory(name="tiny", tenant=acme)
    book(acme, "tiny", at=timezone.now() + timedelta(minutes=1))
    with timezone.override(ZoneInfo(TOKYO)):
        give_back(own, LATE)
    own.refresh_from_db()
    assert own.name == f"tiny (given back 2026-11-30, no. {own.pk})"


def test_the_record_of_changes_gives_local_times_and_names(acme_in_tokyo: Tenant, browser_of: BrowserOf) -> None:
    vendor = ProviderFactory(name="some-vendor", tenant=acme_in_tokyo)
    model = ModelFactory(name="tiny", tenant=acme_in_tokyo, provider=vendor)
    values = {"tenant": acme_in_tokyo.pk, "provider": vendor.pk, "retires_at": LATE, "upstream_name": "2026-11-29"}
    change = record_change(acme_in_tokyo, "user:adam", "create", model, {}, values)
    rotated = record_change(acme_in_tokyo, "user:adam", "rotate", model, {}, {"provider": "by its name"})
    gone = record_change(acme_in_tokyo, "user:adam", "update", model, {"provider": 987_654}, {"provider": vendor.pk})
    listed = see(browser_of("ann"), "/admin/tenants/change/")
    for page in (listed, see(browser_of("ann"), f"/admin/tenants/change/{change.pk}/change/")):
        for told in ("tenant:</span> Acme", "provider:</span> some-vendor", "retires at:</span> 2026-11-30 08:17",
                     "upstream name:</span> 2026-11-29"):  # fmt: skip
            assert told in page, told
    assert "provider:</span> no. 987654 → some-vendor" in listed
    assert "provider:</span> by its name" in listed
    assert "provider:</span> by its name" in see(browser_of("ann"), f"/admin/tenants/change/{rotated.pk}/change/")
    assert "no. 987654" in see(browser_of("ann"), f"/admin/tenants/change/{gone.pk}/change/")


def test_the_record_of_changes_is_bounded_by_moments_of_the_account(
    acme_in_tokyo: Tenant, browser_of: BrowserOf
) -> None:
    model = ModelFactory(name="tiny", tenant=acme_in_tokyo)
    change = record_change(acme_in_tokyo, "user:adam", "create", model, {}, {})
    Change.objects.for_tenant(acme_in_tokyo).update(at=LATE)
    found = {
        time: f"/admin/tenants/change/{change.pk}/change/"
        in see(browser_of("ann"), f"/admin/tenants/change/?at_from_0=2026-11-30&at_from_1={time}")
        for time in ("08:17:00", "08:18:00")
    }
    assert found == {"08:17:00": True, "08:18:00": False}


def test_the_record_of_changes_asks_for_all_names_of_a_kind_at_once(
    acme: Tenant, browser_of: BrowserOf, django_assert_max_num_queries: Any
) -> None:
    model = ModelFactory(name="tiny", tenant=acme)
    browser = browser_of("ann")

    def queries() -> int:
        with django_assert_max_num_queries(100) as asked:
            see(browser, "/admin/tenants/change/")
        return len(asked)

    record_change(acme, "user:adam", "create", model, {}, {"provider": model.provider_id})
    with_one = queries()
    for _ in range(20):
        vendor = ProviderFactory(tenant=acme)
        record_change(acme, "user:adam", "update", model, {"provider": model.provider_id}, {"provider": vendor.pk})
    assert queries() == with_one
