"""`manage.py demo`: made once, believable, exact, and removed whole."""

from __future__ import annotations

import io
import time
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from budgets.models import Budget, BudgetWindow, Decision
from spendhub.tenants.models import ApiKey, Tenant
from telemetry.models import CostSpan, Feedback

pytestmark = pytest.mark.django_db(transaction=True)


def demo(*options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("demo", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def catalog() -> Any:
    call_command("catalog", "update", stdout=io.StringIO())


def test_without_a_catalog_it_says_what_to_do_first() -> None:
    with pytest.raises(CommandError, match="catalog update"):
        demo()


@pytest.mark.slow
def test_it_is_made_once_agrees_with_its_ledger_and_is_removed_whole(
    catalog: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    out, _ = demo()
    assert time.monotonic() - began < 30
    tenant = Tenant.objects.get(slug="demo")
    key = out.splitlines()[-1]
    assert key.startswith(f"sh_{ApiKey.objects.for_tenant(tenant).get().prefix}_")
    assert "Password: " in out
    spans = CostSpan.objects.for_tenant(tenant)
    assert 8_000 <= spans.count() <= 15_000
    assert set(spans.values_list("source", flat=True)) == {"demo"}
    # In the first minutes of a month none of its calls may be among them: then it has no window yet.
    window = BudgetWindow.objects.for_tenant(tenant).filter(budget__name="Whole company").first()
    month_starts_at = tenant.created_at.astimezone(ZoneInfo(tenant.timezone)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    month = spans.filter(occurred_at__gte=month_starts_at).aggregate(total=Sum("cost_nano_usd"))["total"]
    assert (0 if window is None else window.spend_nano_usd) == (month or 0)
    assert Budget.objects.for_tenant(tenant).count() == 8
    assert Decision.objects.for_tenant(tenant).filter(allowed=False).exists()

    rated = Feedback.objects.for_tenant(tenant)
    assert 300 <= rated.count() <= 1_500
    assert not rated.exclude(span__in=spans).exists()

    calls = spans.count()
    out, err = demo()
    assert (out, spans.count()) == ("", calls)
    assert "there already" in err

    # Interrupted before its key was made: it is finished as of when it was begun, and nothing is there twice.
    opinions = rated.count()
    ApiKey.objects.for_tenant(tenant).delete()
    tomorrow = timezone.now() + timedelta(days=1)
    with monkeypatch.context() as later:
        later.setattr(timezone, "now", lambda: tomorrow)
        demo()
    assert (spans.count(), rated.count()) == (calls, opinions)

    spans.filter(pk=spans.first().pk).update(source="gateway")  # type: ignore[union-attr]  # there are thousands
    with pytest.raises(CommandError, match="no samples"):
        demo("--remove")
    demo("--remove", "--with-own-calls")
    assert not Tenant.objects.exists()
    assert not CostSpan.objects.across_tenants().exists()
    assert "no demo account" in demo("--remove")[1]
