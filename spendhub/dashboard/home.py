"""The first page: what was spent, what is near its limit, what was refused, and what a brake has paused.

Its "last 30 days" are those of the list of calls and of /api/v1/usage: 30 times 24 hours, back from now.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from budgets.admin.bars import Bar, bar_of, live_of
from budgets.models import Budget, Decision
from budgets.periods import as_datetime, window_at
from spendhub.money import NANO_PER_USD
from spendhub.tenants.admin_fields import show_usd
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import Rank, Seat, seat_of
from telemetry.brake_stops import in_force_at
from telemetry.models import Brake, BrakeStop
from telemetry.reports import calls_since, spent_between, spent_by_day, top_spenders

DAYS = 30
MOST = 6
MOST_PAUSES = 3


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK: adds the numbers to the index page's context."""
    seat = seat_of(request)
    if seat is None:
        return context | {"has_seat": False}
    now = timezone.now()
    tenant_id, zone = seat.tenant_id, seat.tenant.timezone if seat.tenant is not None else "UTC"
    today = as_datetime(window_at("day", now, zone).starts_at)
    month = as_datetime(window_at("month", now, zone).starts_at)
    day_ago, since = now - timedelta(days=1), now - timedelta(days=DAYS)
    by_day = spent_by_day(tenant_id, zone, since, now)
    refused = _decisions(seat).filter(allowed=False, created_at__gte=day_ago).count()
    pauses = _pauses(seat)
    in_force = pauses.filter(in_force_at(now))
    return context | {
        "has_seat": True,
        "title": "Overview",
        "is_sample": Tenant.objects.filter(pk=tenant_id, slug="demo").exists() if tenant_id else False,
        "cards": [
            ("Spent today", show_usd(spent_between(tenant_id, today, now + timedelta(minutes=5))), ""),
            ("Spent this month", show_usd(spent_between(tenant_id, month, now + timedelta(minutes=5))), ""),
            ("Calls in 24 hours", f"{calls_since(tenant_id, day_ago):,}", ""),
            (
                "Refused by budgets in 24 hours",
                f"{refused:,}",
                _list_of("budgets_decision", f"allowed__exact=0&{_from('created_at', day_ago)}"),
            ),
            (
                "Pauses by brakes in 24 hours",
                f"{pauses.filter(since__gte=day_ago).count():,}",
                _list_of("telemetry_brakestop", f"action__exact=pause&{_from('since', day_ago)}"),
            ),
        ],
        "paused": in_force[:MOST_PAUSES],
        "more_paused": max(0, in_force.count() - MOST_PAUSES),
        "may_resume": seat.rank >= Rank.ADMIN,
        "chart": json.dumps(_chart(by_day)),
        "chart_options": json.dumps(_CHART_OPTIONS),
        "chart_words": f"{show_usd(sum(cost for _, cost in by_day))} in the last {DAYS} days",
        "since": since,
        "all_calls": _list_of("telemetry_costspan", f"when={DAYS}"),
        "near_limit": _near_limit(seat, now),
        "tops": [
            (title, top_rows(tenant_id, dimension, since))
            for title, dimension in (("Agents", "agent"), ("Models", "model"), ("Features", "feature"))
        ],
    }


def top_rows(tenant_id: int | None, dimension: str, since: datetime) -> list[tuple[str, str, str, int]]:
    """(key, cost, calls, width of its bar in percent) of the dearest keys since a moment."""
    shares = top_spenders(tenant_id, dimension, since, MOST)
    most = max((share.cost_nano_usd for share in shares), default=0) or 1
    return [
        (share.key, show_usd(share.cost_nano_usd), f"{share.calls:,}", 100 * share.cost_nano_usd // most)
        for share in shares
    ]


def _from(field: str, moment: datetime) -> str:
    """What a list's filter is asked, which reads moments of the account's own time."""
    local = timezone.localtime(moment)
    return f"{field}_from_0={local:%Y-%m-%d}&{field}_from_1={local:%H:%M:%S}"


def _list_of(rows: str, chosen: str) -> str:
    return f"{reverse(f'admin:{rows}_changelist')}?{chosen}"


def _pauses(seat: Seat) -> QuerySet[BrakeStop]:
    """What brakes have paused, the newest first. Calls that a pause refuses are kept nowhere: pauses are counted."""
    rows = BrakeStop.objects.across_tenants() if seat.tenant is None else BrakeStop.objects.for_tenant(seat.tenant)
    return rows.filter(action=Brake.Action.PAUSE)


def _decisions(seat: Seat) -> QuerySet[Decision]:
    return Decision.objects.across_tenants() if seat.tenant is None else Decision.objects.for_tenant(seat.tenant)


def _near_limit(seat: Seat, now: datetime) -> list[tuple[Budget, Bar]]:
    rows = Budget.objects.across_tenants() if seat.tenant is None else Budget.objects.for_tenant(seat.tenant)
    budgets = {budget.id: budget for budget in rows.filter(archived_at__isnull=True)[:500]}
    live = [window for windows in live_of(budgets.values(), now).values() for window in windows[:1]]
    live.sort(key=lambda window: -window.utilisation)
    return [(budgets[window.matched.budget.id], bar_of(window)) for window in live[:MOST]]


def _chart(by_day: list[tuple[Any, int]]) -> dict[str, Any]:
    return {
        "labels": [f"{day:%-d %b}" for day, _ in by_day],
        "datasets": [
            {
                "label": "USD",
                # Only for drawing: no amount is worked out from these.
                "data": [round(cost / NANO_PER_USD, 4) for _, cost in by_day],
                "backgroundColor": "var(--color-primary-500)",
                "borderRadius": 3,
                "maxBarThickness": 26,
                "barPercentage": 0.9,
                "categoryPercentage": 0.9,
            }
        ],
    }


_CHART_OPTIONS: dict[str, Any] = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "plugins": {"legend": {"display": False}},
    "scales": {
        "x": {"grid": {"display": False}, "ticks": {"maxTicksLimit": 8, "maxRotation": 0}},
        "y": {"display": True, "beginAtZero": True, "border": {"display": False}, "ticks": {"maxTicksLimit": 5}},
    },
}
