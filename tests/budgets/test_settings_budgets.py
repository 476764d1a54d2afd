"""DEFAULT_DAILY_BUDGET and TENANT_BUDGETS: made for every tenant, followed, and left alone where an admin decided."""

from __future__ import annotations

from typing import Any

import pytest

from budgets.definitions import apply_settings_budgets
from budgets.models import Budget
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Change, Tenant
from tests import factories
from tests.budgets.api import NANO, client_of, define, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme(settings: Any) -> Tenant:
    settings.DEFAULT_DAILY_BUDGET_NANO_USD = 5 * NANO
    settings.TENANT_BUDGETS_NANO_USD = {"acme": {"day": 25 * NANO, "month": 300 * NANO}}
    return factories.acme()


def budgets_of(tenant: Tenant) -> dict[tuple[str, str, str], int]:
    """Limits in USD by (scope type, key, period) of the budgets in use."""
    rows = Budget.objects.for_tenant(tenant).filter(archived_at__isnull=True)
    return {(row.scope_type, row.scope_key, row.period): row.limit_nano_usd // NANO for row in rows}


def test_each_user_gets_the_daily_budget_and_a_named_account_its_own(acme: Tenant) -> None:
    globex = factories.globex()
    assert apply_settings_budgets() == 4
    assert budgets_of(acme) == {("tenant", "*", "day"): 25, ("tenant", "*", "month"): 300, ("user", "*", "day"): 5}
    assert budgets_of(globex) == {("user", "*", "day"): 5}
    assert {row.source for row in Budget.objects.across_tenants()} == {"settings"}


def test_they_hold_for_any_user(acme: Tenant) -> None:
    apply_settings_budgets()
    refresh_all()
    client = client_of(acme)
    for user in ("ada", "somebody-new"):
        body = {"attribution": {"user": user}, "estimated_cost": "5.01"}
        assert post(client, "v1/check", body, 402)["error"]["details"]["scope"] == f"user:{user}"


def test_applying_them_again_changes_nothing(acme: Tenant) -> None:
    apply_settings_budgets()
    assert apply_settings_budgets() == 0


def test_a_tenant_made_later_gets_them_with_the_next_run(acme: Tenant) -> None:
    apply_settings_budgets()
    later = factories.TenantFactory(slug="initech")
    assert apply_settings_budgets() == 1
    assert budgets_of(later) == {("user", "*", "day"): 5}


def test_a_changed_setting_is_followed_and_kept_as_a_change(acme: Tenant, settings: Any) -> None:
    apply_settings_budgets()
    settings.DEFAULT_DAILY_BUDGET_NANO_USD = 7 * NANO
    assert apply_settings_budgets() == 1
    assert budgets_of(acme)["user", "*", "day"] == 7
    kept = Change.objects.for_tenant(acme).get(action="update")
    assert (kept.actor, kept.before, kept.after) == ("system", {"limit": "5.00"}, {"limit": "7.00"})


def test_what_an_admin_has_edited_is_left_alone(acme: Tenant, settings: Any) -> None:
    apply_settings_budgets()
    row = Budget.objects.for_tenant(acme).get(scope_type="user")
    client = client_of(acme)
    assert client.patch(f"/api/v1/budgets/{row.pk}", {"limit": "99"}, format="json").status_code == 200
    settings.DEFAULT_DAILY_BUDGET_NANO_USD = 7 * NANO
    assert apply_settings_budgets() == 0
    assert budgets_of(acme)["user", "*", "day"] == 99


def test_what_an_admin_has_put_away_does_not_come_back(acme: Tenant) -> None:
    apply_settings_budgets()
    row = Budget.objects.for_tenant(acme).get(scope_type="user")
    assert client_of(acme).delete(f"/api/v1/budgets/{row.pk}").status_code == 204
    assert apply_settings_budgets() == 0
    assert ("user", "*", "day") not in budgets_of(acme)


def test_an_admins_own_budget_for_the_scope_stands(acme: Tenant) -> None:
    define(acme, "user:*", 50, period="day")
    apply_settings_budgets()
    assert budgets_of(acme)["user", "*", "day"] == 50


def test_without_the_settings_nothing_is_made(acme: Tenant, settings: Any) -> None:
    settings.DEFAULT_DAILY_BUDGET_NANO_USD, settings.TENANT_BUDGETS_NANO_USD = None, {}
    assert apply_settings_budgets() == 0
    assert budgets_of(acme) == {}
