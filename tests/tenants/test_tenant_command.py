"""manage.py tenant create: the key, alone on the last line, opens the new account."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from budgets.models import Budget
from spendhub.tenants.models import Tenant
from spendhub.tenants.snapshot import ACCESS

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("tenant", "create", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_key_is_all_of_the_output_and_has_every_permission() -> None:
    out, err = create("Acme Tools", "--timezone", "Europe/Berlin")
    principal = ACCESS.refresh().identify(out.strip(), datetime.now(UTC))
    assert out == out.strip() + "\n"
    assert (principal.tenant_slug, str(principal.timezone)) == ("acme-tools", "Europe/Berlin")
    assert principal.permissions == {"spend", "read", "manage"}
    assert "Acme Tools" in err


def test_a_second_tenant_of_the_same_name_gets_a_slug_of_its_own() -> None:
    for _ in range(3):
        create("Acme")
    create("東京")
    assert sorted(Tenant.objects.values_list("slug", flat=True)) == ["acme", "acme-2", "acme-3", "tenant"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Acme", "--timezone", "Mars/Base"], "timezone: 'Mars/Base' is no time zone; write it like Europe/Berlin"),
        (
            ["Acme", "--timezone", "../etc/passwd"],
            "timezone: '../etc/passwd' is no time zone; write it like Europe/Berlin",
        ),
        (["  "], "name: This field cannot be blank."),
        (["a\nb"], "name: only printable characters, please"),
    ],
)
def test_a_bad_value_is_one_clear_line_and_nothing_is_made(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refused:
        create(*arguments)
    assert str(refused.value) == message
    assert Tenant.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_new_tenant_begins_under_the_budgets_of_the_settings(settings: Any) -> None:
    settings.DEFAULT_DAILY_BUDGET_NANO_USD = 5 * 10**9
    settings.TENANT_BUDGETS_NANO_USD = {"acme": {"month": 400 * 10**9}, "globex": {"day": 1}}
    call_command("tenant", "create", "Acme")
    budgets = Budget.objects.for_tenant(Tenant.objects.get(slug="acme"))
    made = budgets.values_list("scope_type", "scope_key", "period", "limit_nano_usd").order_by("scope_type")
    assert list(made) == [("tenant", "*", "month", 400 * 10**9), ("user", "*", "day", 5 * 10**9)]
