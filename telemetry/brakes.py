"""Brakes as the data plane reads them, and the error of a call that one has paused."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from spendhub.errors import Throttled
from spendhub.snapshots import Snapshot
from spendhub.tenants.attribution import Attribution
from telemetry.models import BRAKES_SNAPSHOT, Brake, BrakeStop, ScopeType

WARN, SLOW, PAUSE = "warn", "slow", "pause"
# What Retry-After says of a pause that somebody has to end.
RETRY_SECONDS = 60
# No brake looks back further than this, so an older resumption cannot matter.
LONGEST_WITHIN = timedelta(days=1)
# Who is the caller: the first of these that a call names.
CALLER_DIMENSIONS = ("session", "user", "agent")

Scope = tuple[str, str]  # its type and key, e.g. ("session", "s1")


@dataclass(frozen=True, slots=True)
class BrakeFacts:
    """One brake that counts repeats: `repeats` of them pass within the time."""

    id: uuid.UUID
    name: str
    scope_type: str
    repeats: int
    compares: str
    within_seconds: int
    action: str
    slow_seconds: int
    pause_seconds: int | None


@dataclass(frozen=True, slots=True)
class StopFacts:
    """What is in force for every call of one scope. `is_of_caller`: for those alone whose caller the scope is."""

    id: uuid.UUID | None
    brake_name: str
    scope: Scope
    action: str
    reason: str
    ends_at: datetime | None
    slow_seconds: int = 0
    is_of_caller: bool = False


@dataclass(frozen=True, slots=True)
class TenantBrakes:
    """One tenant's brakes. `resumed`: the stop of a brake and scope resumed last; counts begin anew with it."""

    counting: tuple[BrakeFacts, ...] = ()
    stops: Mapping[Scope, tuple[StopFacts, ...]] = field(default_factory=dict)
    resumed: Mapping[tuple[uuid.UUID, Scope], str] = field(default_factory=dict)

    def stops_for(self, who: Attribution, api_key: str, now: datetime) -> Iterator[StopFacts]:
        """What is in force for a call."""
        if not self.stops:
            return
        caller = caller_of(who, api_key)
        for scope in scopes_of_call(who, api_key):
            for stop in self.stops.get(scope, ()):
                if (stop.ends_at is None or now < stop.ends_at) and (not stop.is_of_caller or scope == caller):
                    yield stop


class CallPaused(Throttled):
    """A brake has paused the calls of this session, user, agent or key; somebody can resume them at once."""

    code = "call_paused"

    def __init__(self, stop: StopFacts, now: datetime) -> None:
        scope_type, scope_key = stop.scope
        left = RETRY_SECONDS if stop.ends_at is None else max(1, round((stop.ends_at - now).total_seconds()))
        how = "in the admin, under Brake stops"
        if stop.id is not None:
            how += f", or by POST /api/v1/brake-stops/{stop.id}/resume"
        super().__init__(
            f"brake {stop.brake_name!r} has paused {scope_type.replace('_', ' ')} {scope_key!r}: {stop.reason}; "
            f"resume it {how}",
            left,
            brake=stop.brake_name,
            scope={"type": scope_type, "key": scope_key},
            reason=stop.reason,
            stop_id=None if stop.id is None else str(stop.id),
            ends_at=None if stop.ends_at is None else stop.ends_at.isoformat(),
        )


def caller_of(who: Attribution, api_key: str) -> Scope:
    """The session of a call; without one its user, its agent, or its key."""
    for dimension in CALLER_DIMENSIONS:
        key = getattr(who, dimension)
        if key:
            return dimension, key
    return "api_key", api_key


def scope_of_call(scope_type: str, who: Attribution, api_key: str) -> Scope | None:
    """Whose calls a call counts with, for a brake of that scope type; None where it says nothing there."""
    if scope_type == ScopeType.CALLER:
        return caller_of(who, api_key)
    key = api_key if scope_type == ScopeType.API_KEY else getattr(who, scope_type)
    return (scope_type, key) if key else None


def scopes_of_call(who: Attribution, api_key: str) -> Iterator[Scope]:
    """Every scope that a call is in."""
    yield "api_key", api_key
    yield from who.as_dict().items()


def _build() -> Mapping[int, TenantBrakes]:
    counting: dict[int, list[BrakeFacts]] = defaultdict(list)
    for row in Brake.objects.across_tenants().filter(is_enabled=True, repeats__isnull=False).order_by("pk"):
        assert row.repeats is not None, "the query asks for it"
        facts = BrakeFacts(
            row.id, row.name, row.scope_type, row.repeats, row.compares, row.within_seconds, row.action,
            row.slow_seconds, row.pause_seconds,
        )  # fmt: skip
        counting[row.tenant_id].append(facts)
    stops: dict[int, dict[Scope, tuple[StopFacts, ...]]] = defaultdict(dict)
    # Of repeats only a pause concerns other calls than the repeated ones.
    open_stops = BrakeStop.objects.across_tenants().filter(is_open=True, brake__is_enabled=True)
    open_stops = open_stops.filter(Q(action=PAUSE) | Q(cause=BrakeStop.Cause.SPEND)).select_related("brake")
    for stop in open_stops:
        by_scope = stops[stop.tenant_id]
        told = stop_facts(stop)
        by_scope[told.scope] = (*by_scope.get(told.scope, ()), told)
    resumed: dict[int, dict[tuple[uuid.UUID, Scope], str]] = defaultdict(dict)
    lately = BrakeStop.objects.across_tenants().filter(resumed_at__gte=datetime.now(UTC) - LONGEST_WITHIN)
    for stop in lately.filter(brake__isnull=False).order_by("resumed_at"):
        assert stop.brake_id is not None, "the query asks for it"
        resumed[stop.tenant_id][(stop.brake_id, (stop.scope_type, stop.scope_key))] = str(stop.pk)
    tenants = {*counting, *stops}
    return {
        tenant_id: TenantBrakes(tuple(counting[tenant_id]), dict(stops[tenant_id]), dict(resumed[tenant_id]))
        for tenant_id in tenants
    }


def stop_facts(row: BrakeStop) -> StopFacts:
    """A stop as calls need it; `row.brake` is there."""
    brake = row.brake
    return StopFacts(
        id=row.pk,
        brake_name=row.brake_name,
        scope=(row.scope_type, row.scope_key),
        action=row.action,
        reason=row.reason,
        ends_at=row.ends_at,
        slow_seconds=0 if brake is None else brake.slow_seconds,
        is_of_caller=brake is not None and brake.scope_type == ScopeType.CALLER,
    )


# A tenant without brakes is not in it: looking that up is all that its calls pay.
BRAKES: Snapshot[Mapping[int, TenantBrakes]] = Snapshot(BRAKES_SNAPSHOT, _build)
