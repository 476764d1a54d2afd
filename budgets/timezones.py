"""Moving a tenant to another time zone: its windows are cut anew, and count what was spent in them."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from budgets import openings
from budgets.matching import window_of
from budgets.models import BUDGETS_SNAPSHOT, Budget, BudgetWindow
from budgets.openings import open_window
from budgets.periods import as_datetime
from budgets.snapshot import facts_of, raises_of
from spendhub.snapshots import bump
from spendhub.tenants.models import Tenant


def change_timezone(tenant: Tenant, timezone: str, now: datetime) -> None:
    """Sets the tenant's time zone and opens the current windows in it with what was recorded there.

    Holds made before count in the windows of the old zone; they are gone within minutes. Raises
    ValidationError for an unknown zone.
    """
    with transaction.atomic():
        openings.recorded.hold_still()
        tenant.timezone = timezone
        tenant.full_clean()
        tenant.save()
        for budget in Budget.objects.for_tenant(tenant).filter(archived_at__isnull=True):
            facts = facts_of(budget, raises_of(budget))
            if not facts.is_in_force(now):
                continue
            window = window_of(facts, now, timezone)
            # A window that was there before (an hour; a day cut alike) keeps its count.
            known = BudgetWindow.objects.for_tenant(tenant).filter(
                budget=budget, starts_at=as_datetime(window.starts_at)
            )
            if not known.exists():
                open_window(facts, window, now)
        bump(BUDGETS_SNAPSHOT)
