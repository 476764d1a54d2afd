"""Spend far above the usual: watched by the worker, so that calls pay nothing for it.

What is usual is what the scope itself spends in an hour in which it spends at all, over the last seven days; for one
that has hardly been seen (a new session) what scopes of its kind do on average. docs/brakes.md has the rule in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncHour

from spendhub.money import format_usd, round_nano_usd
from spendhub.tenants.attribution import Attribution
from telemetry.brake_stops import Seen, close_ended_stops, open_stop
from telemetry.brakes import CALLER_DIMENSIONS, PAUSE, Scope, scope_of_call
from telemetry.models import Brake, BrakeStop, CostSpan, ScopeType

HISTORY = timedelta(days=7)
# With fewer hours than this a scope has no habits of its own yet.
LEAST_HOURS = 3
SECONDS_PER_HOUR = 3600
# So many of the dearest are summed up, and so many looked at closely: what is too fast is dear.
MAX_GROUPS = 1_000
MAX_SUSPECTS = 50

Spans = QuerySet[CostSpan]


def watch_spend(now: datetime) -> int:
    """Worker job: opens a stop for each scope whose spend is too fast; says how many are too fast now."""
    close_ended_stops(now)
    brakes = Brake.objects.across_tenants().filter(is_enabled=True, spend_factor__isnull=False)
    return sum(_watch(brake, now) for brake in brakes)


def _watch(brake: Brake, now: datetime) -> int:
    spans = CostSpan.objects.for_tenant(brake.tenant_id).order_by()
    since = now - timedelta(seconds=brake.within_seconds)
    too_fast = 0
    usual_of_all: Fraction | None = None
    for scope, spent in _suspects(brake, spans.filter(occurred_at__gt=since)):
        mine = _only(spans, scope, is_caller=brake.scope_type == ScopeType.CALLER)
        spent = _after_the_last_pause(mine, brake, scope, since, spent)
        before = mine.filter(occurred_at__gt=now - HISTORY, occurred_at__lte=since)
        usual = _usual_per_hour(before, (), least_hours=LEAST_HOURS)
        if usual is None:
            if usual_of_all is None:
                everybody = spans.filter(occurred_at__gt=now - HISTORY, occurred_at__lte=since)
                usual_of_all = _usual_per_hour(everybody, _columns(brake.scope_type), least_hours=LEAST_HOURS)
            usual = usual_of_all
        if usual is None or not is_too_fast(brake, spent, usual):
            continue
        too_fast += 1
        open_stop(Seen(brake.tenant_id, brake.pk, scope, BrakeStop.Cause.SPEND, _reason(brake, spent, usual), now))
    return too_fast


def is_too_fast(brake: Brake, spent_nano_usd: int, usual_nano_usd_per_hour: Fraction) -> bool:
    """Whether so much within the brake's time is too far above the usual."""
    if brake.spend_factor is None or spent_nano_usd < brake.spend_least_nano_usd:
        return False
    usual = usual_nano_usd_per_hour * brake.within_seconds / SECONDS_PER_HOUR
    return spent_nano_usd > usual * Fraction(brake.spend_factor)


def _reason(brake: Brake, spent: int, usual_per_hour: Fraction) -> str:
    usual = usual_per_hour * brake.within_seconds / SECONDS_PER_HOUR
    usual_nano_usd = round_nano_usd(usual.numerator, usual.denominator)
    times = f"{float(spent / usual):.1f} times the usual"
    return f"{format_usd(spent)} USD within {brake.within_seconds} s, {times} {format_usd(usual_nano_usd)}"


def _columns(scope_type: str) -> tuple[str, ...]:
    return (*CALLER_DIMENSIONS, "api_key") if scope_type == ScopeType.CALLER else (scope_type,)


def _suspects(brake: Brake, recent: Spans) -> list[tuple[Scope, int]]:
    """The scopes that spent enough to be looked at, the dearest first."""
    spent = [each for each in _spent(recent, brake.scope_type).items() if each[1] >= max(1, brake.spend_least_nano_usd)]
    return sorted(spent, key=lambda each: -each[1])[:MAX_SUSPECTS]


def _spent(spans: Spans, scope_type: str) -> Mapping[Scope, int]:
    """nano_usd by scope."""
    columns = _columns(scope_type)
    rows: Any = spans.values(*columns).annotate(nano_usd=Sum("cost_nano_usd")).order_by("-nano_usd")
    spent: dict[Scope, int] = defaultdict(int)
    for row in rows[:MAX_GROUPS]:
        keys = {name: row[name] or None for name in columns if name != "api_key"}
        scope = scope_of_call(scope_type, Attribution(**keys), row.get("api_key") or "")
        if scope is not None and scope[1]:
            spent[scope] += int(row["nano_usd"])
    return spent


def _only(spans: Spans, scope: Scope, *, is_caller: bool) -> Spans:
    """Those of one scope. A caller's are the calls that name nothing before it: a user's have no session."""
    scope_type, scope_key = scope
    found = spans.filter(**{scope_type: scope_key})
    if is_caller:
        order = (*CALLER_DIMENSIONS, "api_key")
        found = found.filter(**dict.fromkeys(order[: order.index(scope_type)], ""))
    return found


def _after_the_last_pause(mine: Spans, brake: Brake, scope: Scope, since: datetime, spent: int) -> int:
    """What was spent since somebody resumed the scope, or its pause ended: what it was paused for counts no more."""
    earlier = BrakeStop.objects.for_tenant(brake.tenant_id).filter(
        brake=brake, scope_type=scope[0], scope_key=scope[1], cause=BrakeStop.Cause.SPEND, is_open=False
    )
    last = earlier.order_by("-since").first()
    if last is None:
        return spent
    ended_at = last.resumed_at or (last.ends_at if last.action == PAUSE else None)
    if ended_at is None or ended_at <= since:
        return spent
    found: int | None = mine.filter(occurred_at__gt=ended_at).aggregate(total=Sum("cost_nano_usd"))["total"]
    return found or 0


def _usual_per_hour(spans: Spans, columns: tuple[str, ...], least_hours: int) -> Fraction | None:
    """The mean of each hour (and key) in which something was spent; None where there were too few."""
    hours = spans.filter(cost_nano_usd__gt=0).annotate(hour=TruncHour("occurred_at")).values("hour", *columns)
    count = hours.distinct().count()
    if count < least_hours:
        return None
    total: int | None = spans.aggregate(total=Sum("cost_nano_usd"))["total"]
    return Fraction(total or 0, count)
