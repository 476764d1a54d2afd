"""A budget's live numbers as the admin shows them: a bar with its marks, a badge, a line of words."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from budgets.counters.drive import drive
from budgets.models import Budget
from budgets.periods import as_datetime
from budgets.reports import LiveWindow, live_windows
from budgets.snapshot import BUDGETS
from spendhub.errors import Unavailable
from spendhub.tenants.admin_fields import show_usd, show_usd_left


@dataclass(frozen=True, slots=True)
class Bar:
    """One window, drawn. Widths and marks are percentages of the limit."""

    scope_key: str
    state: str
    spent: str
    reserved: str
    remaining: str
    overspent: str
    limit: str
    has_reserved: bool
    is_overspent: bool
    spent_percent: float
    reserved_percent: float
    soft_percent: float
    hard_percent: float
    ends_at: datetime | None


def bar_of(live: LiveWindow) -> Bar:
    """The bar for one live window."""
    limit = live.matched.limit_nano_usd

    def percent(nano_usd: int) -> float:
        return 100.0 if limit == 0 else round(min(100.0, 100 * nano_usd / limit), 1)

    spent = percent(live.spent_nano_usd)
    return Bar(
        scope_key=live.matched.scope_key,
        state=live.state,
        spent=show_usd(live.spent_nano_usd),
        reserved=show_usd(live.reserved_nano_usd),
        remaining=show_usd_left(live.remaining_nano_usd),
        overspent=show_usd(live.overspent_nano_usd),
        limit=show_usd(limit),
        has_reserved=live.reserved_nano_usd > 0,
        is_overspent=live.overspent_nano_usd > 0,
        spent_percent=spent,
        reserved_percent=min(percent(live.reserved_nano_usd), 100.0 - spent),
        soft_percent=percent(live.matched.soft_nano_usd),
        hard_percent=percent(live.matched.hard_nano_usd),
        ends_at=as_datetime(live.window.ends_at),
    )


def live_of(budgets: Iterable[Budget], now: datetime) -> Mapping[uuid.UUID, tuple[LiveWindow, ...]]:
    """Live windows of budgets of any tenants; {} while the counters change hands."""
    by_tenant: dict[int, list[uuid.UUID]] = {}
    for budget in budgets:
        if budget.archived_at is None:
            by_tenant.setdefault(budget.tenant_id, []).append(budget.id)
    found: dict[uuid.UUID, tuple[LiveWindow, ...]] = {}
    if by_tenant:
        # A budget saved a moment ago should be on the very next page.
        BUDGETS.refresh()
    for tenant_id, ids in by_tenant.items():
        try:
            found.update(drive(live_windows(tenant_id, now, ids)))
        except Unavailable:
            return {}
    return found


def draw(budget: Budget, windows: tuple[LiveWindow, ...] | None, *, most: int = 1) -> SafeString:
    """The bars of one budget: of its only window, or of the fullest keys of an allowance."""
    is_allowance = budget.scope_key == "*" and budget.scope_type != "tenant"
    bars = [bar_of(live) for live in (windows or ())[:most]]
    return render_to_string(
        "budgets/bars.html",
        {
            "budget": budget,
            "bars": bars,
            "is_allowance": is_allowance,
            "key_count": len(windows or ()),
            "more": max(0, len(windows or ()) - len(bars)),
            "is_known": windows is not None,
            "limit": show_usd(budget.limit_nano_usd),
        },
    )
