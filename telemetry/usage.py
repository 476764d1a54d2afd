"""Totals of recorded spans: filtered, grouped by one dimension, cut into intervals of the tenant's time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Case, Count, F, IntegerField, QuerySet, Sum, When
from django.db.models.functions import TruncDay, TruncHour, TruncMonth, TruncWeek
from django.db.models.functions.datetime import TruncBase

from budgets.periods import hour_stretches
from spendhub.money import format_usd, round_nano_usd
from spendhub.tenants.attribution import DIMENSIONS
from telemetry.cache_savings import saved_nano_usd
from telemetry.models import CostSpan

FILTERS = (*DIMENSIONS, "api_key", "provider", "model", "source", "status")
INTERVALS = {"hour": TruncHour, "day": TruncDay, "week": TruncWeek, "month": TruncMonth}
MAX_GROUPS = 1_000
MAX_BUCKETS = 2_000

_TOKENS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """Which spans to sum, and how. `starts_at` is included, `ends_at` is not."""

    tenant_id: int
    zone: ZoneInfo
    starts_at: datetime
    ends_at: datetime
    filters: Mapping[str, str] = field(default_factory=dict)
    group_by: str | None = None
    interval: str | None = None


def spans_of(question: Question) -> QuerySet[CostSpan]:
    """The spans that a question is about."""
    rows = CostSpan.objects.for_tenant(question.tenant_id)
    rows = rows.filter(occurred_at__gte=question.starts_at, occurred_at__lt=question.ends_at)
    return rows.filter(**question.filters)


def usage_report(question: Question) -> dict[str, Any]:
    """Totals, and groups (dearest first, at most 1,000) and buckets (in order of time) where asked for."""
    spans = spans_of(question).order_by()
    groups: list[dict[str, Any]] = []
    buckets: list[dict[str, Any]] = []
    if question.group_by is not None:
        rows = spans.values(key=F(question.group_by)).annotate(**_sums()).order_by(F("nano_usd").desc(), "key")
        groups = [{"key": row["key"], **_told(row)} for row in rows[:MAX_GROUPS]]
    if question.interval is not None:
        by_time = _by_hour(spans, question) if question.interval == "hour" else _by_time(spans, question)
        buckets = [{"start": row["start"], **_told(row)} for row in by_time]
    return {
        "from": question.starts_at,
        "to": question.ends_at,
        "totals": {**_told(spans.aggregate(**_sums())), "saved": format_usd(saved_nano_usd(spans))},
        "group_by": question.group_by,
        "groups": groups,
        "interval": question.interval,
        "buckets": buckets,
    }


def _by_time(spans: QuerySet[CostSpan], question: Question) -> Sequence[Mapping[str, Any]]:
    assert question.interval is not None, "nobody asked for buckets"
    cut = INTERVALS[question.interval]("occurred_at", tzinfo=question.zone)
    return _summed(spans, cut)


def _by_hour(spans: QuerySet[CostSpan], question: Question) -> Sequence[Mapping[str, Any]]:
    """Hours as budgets have them. The database would cut them by what the zone's clocks show, and make one of the two
    hours that an autumn night shows alike: so it is asked to cut in absolute time, from the zone's full hour on."""
    rows: list[Mapping[str, Any]] = []
    for starts_at, ends_at, ahead in hour_stretches(question.starts_at, question.ends_at, question.zone.key):
        part = spans.filter(occurred_at__gte=starts_at, occurred_at__lt=ends_at)
        for row in _summed(part, TruncHour("occurred_at", tzinfo=timezone(ahead))):
            # Where the clocks move by less than an hour, that begins a new one.
            start = max(row["start"], starts_at) if starts_at > question.starts_at else row["start"]
            rows.append({**row, "start": start.astimezone(question.zone)})
    return rows[:MAX_BUCKETS]


def _summed(spans: QuerySet[CostSpan], cut: TruncBase) -> Sequence[Mapping[str, Any]]:
    rows = spans.annotate(start=cut).values("start").annotate(**_sums()).order_by("start")
    return list(rows[:MAX_BUCKETS])


def _sums() -> dict[str, Any]:
    return {
        "calls": Count("id"),
        "errors": Sum(Case(When(status="error", then=1), default=0, output_field=IntegerField())),
        "estimated": Sum(Case(When(is_estimated=True, then=1), default=0, output_field=IntegerField())),
        "nano_usd": Sum("cost_nano_usd"),
        # Named apart from the columns, which the sums must not shadow.
        **{f"sum_{name}": Sum(name) for name in _TOKENS},
    }


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    calls, nano_usd = row["calls"], int(row["nano_usd"] or 0)
    usage = {name: int(row[f"sum_{name}"] or 0) for name in _TOKENS}
    usage["input_tokens"] += usage["cache_read_tokens"] + usage["cache_write_tokens"] + usage["cache_write_1h_tokens"]
    return {
        "calls": calls,
        "errors": int(row["errors"] or 0),
        "estimated": int(row["estimated"] or 0),
        "cost": format_usd(nano_usd),
        "average_cost": format_usd(round_nano_usd(nano_usd, calls) if calls else 0),
        "usage": usage,
    }
