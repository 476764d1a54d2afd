"""Sums over recorded calls, for dashboards: always of one tenant, or of all for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Count, Q, Sum

from budgets.periods import as_datetime, cut_window, zone
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of some spans. `cost_nano_usd` is what they cost; tokens as the vendor counts them."""

    calls: int
    cost_nano_usd: int
    input_tokens: int
    output_tokens: int
    failed: int


@dataclass(frozen=True, slots=True)
class Share:
    """One key's part of the spend."""

    key: str
    calls: int
    cost_nano_usd: int


def spans_of(tenant_id: int | None) -> models.QuerySet[CostSpan]:
    """Spans of one tenant; None is the whole installation."""
    if tenant_id is not None:
        return CostSpan.objects.for_tenant(tenant_id).order_by()
    # Naming every tenant lets the index by tenant and time serve here too.
    everyone = list(Tenant.objects.values_list("pk", flat=True))
    return CostSpan.objects.across_tenants().filter(tenant_id__in=everyone).order_by()


def totals_of(spans: models.QuerySet[CostSpan]) -> Totals:
    """Everything about `spans` in one query."""
    found = spans.order_by().aggregate(
        calls=Count("pk"),
        cost=Sum("cost_nano_usd"),
        plain=Sum("input_tokens"),
        read=Sum("cache_read_tokens"),
        write=Sum("cache_write_tokens"),
        write_1h=Sum("cache_write_1h_tokens"),
        output=Sum("output_tokens"),
        failed=Count("pk", filter=~Q(status=CostSpan.Status.OK)),
    )
    tokens = sum(found[name] or 0 for name in ("plain", "read", "write", "write_1h"))
    return Totals(found["calls"], found["cost"] or 0, tokens, found["output"] or 0, found["failed"])


def spent_between(tenant_id: int | None, starts_at: datetime, ends_at: datetime) -> int:
    """nano_usd of calls checked from `starts_at` until before `ends_at`."""
    spans = spans_of(tenant_id).filter(occurred_at__gte=starts_at, occurred_at__lt=ends_at)
    found: int | None = spans.aggregate(total=Sum("cost_nano_usd"))["total"]
    return found or 0


def spent_by_day(tenant_id: int | None, timezone: str, since: datetime, now: datetime) -> list[tuple[date, int]]:
    """nano_usd since a moment, per day of the time zone, the oldest first, today last; days without calls are 0. The
    first day is what is left of the one that `since` is in.

    One range of the index per day: cutting days inside the database would work out the time zone
    for each row.
    """
    found: list[tuple[date, int]] = []
    moment = now
    while moment >= since:
        window = cut_window("day", moment, timezone)
        starts_at, ends_at = as_datetime(window.starts_at), as_datetime(window.ends_at)
        assert starts_at is not None and ends_at is not None
        spent = spent_between(tenant_id, max(starts_at, since), ends_at)
        found.append((_local_date(starts_at, timezone), spent))
        moment = starts_at - timedelta(microseconds=1)
    return found[::-1]


def top_spenders(tenant_id: int | None, dimension: str, since: datetime, most: int = 5) -> Sequence[Share]:
    """The keys of `dimension` (agent, user, feature, model, provider ...) that cost most since then."""
    rows: Any = (
        spans_of(tenant_id)
        .filter(occurred_at__gte=since)
        .values_list(dimension)
        .annotate(calls=Count("pk"), cost=Sum("cost_nano_usd"))
        .order_by("-cost")
    )
    return [Share(key, calls, cost) for key, calls, cost in rows[: most + 1] if key][:most]


def calls_since(tenant_id: int | None, since: datetime) -> int:
    """How many calls were recorded since then."""
    return spans_of(tenant_id).filter(occurred_at__gte=since).count()


def _local_date(moment: datetime, timezone: str) -> date:
    return moment.astimezone(zone(timezone)).date()
