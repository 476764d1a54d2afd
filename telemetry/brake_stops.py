"""Brakes acting: a stop is opened once however many processes see the same, and ends by itself or is resumed."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error as DatabaseProblem
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from spendhub.snapshots import bump
from spendhub.steps import CallInThread, Journey
from spendhub.tenants.changes import record_change
from telemetry.brakes import BRAKES, PAUSE, Scope, StopFacts, stop_facts
from telemetry.models import BRAKES_SNAPSHOT, Brake, BrakeStop

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a brake has seen a scope do."""

    tenant_id: int
    brake_id: uuid.UUID
    scope: Scope
    cause: str
    reason: str
    now: datetime


def open_stop(seen: Seen) -> StopFacts | None:
    """Opens a stop, or gives the open one; in force in this process when it returns, elsewhere within a second.

    None where the brake is gone or switched off meanwhile.
    """
    with transaction.atomic():
        brake = Brake.objects.for_tenant(seen.tenant_id).filter(pk=seen.brake_id, is_enabled=True).first()
        if brake is None:
            return None
        row = _open_row(seen, brake) or _make_row(seen, brake)
    BRAKES.refresh()
    return stop_facts(row)


def stop_calls(seen: Seen) -> Journey[StopFacts | None]:
    """`open_stop` for the data plane, in a thread; None also where the database does not answer."""
    try:
        found: StopFacts | None = yield CallInThread(open_stop, (seen,))
    except DatabaseProblem as error:
        logger.error("a brake acts, but it could not be recorded: %s", error)
        return None
    return found


def _mine(seen: Seen) -> QuerySet[BrakeStop]:
    scope_type, scope_key = seen.scope
    rows = BrakeStop.objects.for_tenant(seen.tenant_id).select_related("brake")
    return rows.filter(brake_id=seen.brake_id, scope_type=scope_type, scope_key=scope_key, cause=seen.cause)


def _open_row(seen: Seen, brake: Brake) -> BrakeStop | None:
    """The open stop, its end moved on where it is no pause; one that has ended is closed."""
    row = _mine(seen).filter(is_open=True).first()
    if row is None:
        return None
    if row.ends_at is not None and row.ends_at <= seen.now:
        row.is_open = False
        row.save(update_fields=["is_open"])
        return None
    if row.action != PAUSE:
        row.ends_at = _end_of(brake, seen.now)
        row.save(update_fields=["ends_at"])
    return row


def _make_row(seen: Seen, brake: Brake) -> BrakeStop:
    scope_type, scope_key = seen.scope
    row = BrakeStop(
        tenant_id=seen.tenant_id,
        brake=brake,
        brake_name=brake.name,
        scope_type=scope_type,
        scope_key=scope_key,
        cause=seen.cause,
        action=brake.action,
        reason=seen.reason[:300],
        since=seen.now,
        ends_at=_end_of(brake, seen.now),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        # Another process was faster by a moment: its row is the one.
        return _mine(seen).get(is_open=True)
    return row


def _end_of(brake: Brake, now: datetime) -> datetime | None:
    if brake.action != PAUSE:
        return now + timedelta(seconds=brake.within_seconds)
    return None if brake.pause_seconds is None else now + timedelta(seconds=brake.pause_seconds)


def resume(stop: BrakeStop, actor: str, now: datetime) -> BrakeStop:
    """Ends a stop: its scope's calls pass again, and its counts begin anew. One that has ended stays as it is."""
    with transaction.atomic():
        row = BrakeStop.objects.for_tenant(stop.tenant_id).select_for_update().get(pk=stop.pk)
        if not is_open_at(row, now):
            return row
        row.is_open, row.resumed_at, row.resumed_by = False, now, actor[:200]
        row.save(update_fields=["is_open", "resumed_at", "resumed_by"])
        record_change(row.tenant_id, actor, "resume", row, {"is_open": True}, {"is_open": False})
    BRAKES.refresh()
    return row


def is_open_at(row: BrakeStop, now: datetime) -> bool:
    """Whether the stop has neither ended nor been resumed."""
    return row.is_open and (row.ends_at is None or now < row.ends_at)


def is_in_force(row: BrakeStop, now: datetime) -> bool:
    """Whether the stop holds: it is open, and its brake is switched on."""
    return is_open_at(row, now) and row.brake is not None and row.brake.is_enabled


def in_force_at(now: datetime) -> Q:
    """The same as a condition."""
    return Q(is_open=True, brake__is_enabled=True) & (Q(ends_at__isnull=True) | Q(ends_at__gt=now))


def close_ended_stops(now: datetime) -> int:
    """Worker job: marks stops that have ended by themselves."""
    with transaction.atomic():
        closed = BrakeStop.objects.across_tenants().filter(is_open=True, ends_at__lte=now).update(is_open=False)
        if closed:
            bump(BRAKES_SNAPSHOT)
    return closed
