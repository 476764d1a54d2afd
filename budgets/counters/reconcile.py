"""What the worker does for the counters: heal what got lost, take out what has ended."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from budgets.counters import database
from budgets.counters.base import WindowTotal
from budgets.counters.charge import counters
from budgets.counters.drive import drive
from budgets.counters.redis import RedisCounters
from budgets.models import BudgetWindow, Hold, HoldLine
from spendhub.tenants.models import Tenant

RECENT = timedelta(seconds=30)
BATCH = 500


def publish_recent_totals(now: datetime) -> int:
    """Tells the store the totals of ledger rows that changed in the last 30 s; says how many.

    Totals are absolute and carry a version, so one that was told before changes nothing.
    """
    rows = BudgetWindow.objects.across_tenants().filter(updated_at__gt=now - RECENT).order_by("tenant_id", "pk")
    by_tenant: dict[int, list[WindowTotal]] = defaultdict(list)
    for row in rows.iterator(chunk_size=2_000):
        by_tenant[row.tenant_id].append(
            WindowTotal(
                row.budget_id,
                row.scope_key,
                int(row.starts_at.timestamp()),
                None if row.ends_at is None else int(row.ends_at.timestamp()),
                row.spend_nano_usd - row.forgiven_nano_usd,
                row.version,
            )
        )
    for tenant_id, totals in by_tenant.items():
        for start in range(0, len(totals), BATCH):
            drive(counters().publish(tenant_id, totals[start : start + BATCH]))
    return sum(len(totals) for totals in by_tenant.values())


def sweep_lapsed_reservations(now: datetime) -> int:
    """Takes out reservations that have ended by themselves; says how many. Counts are right without it:
    it is for the tenants who do not come back."""
    ended = database.read_ended_reservations(now)
    if ended:
        HoldLine.objects.across_tenants().filter(hold_id__in=ended).delete()
        Hold.objects.across_tenants().filter(pk__in=ended).delete()
    swept = len(ended)
    store = counters().store
    if isinstance(store, RedisCounters):
        for tenant_id in Tenant.objects.values_list("pk", flat=True):
            swept += drive(store.sweep(tenant_id, now.timestamp()))
    return swept
