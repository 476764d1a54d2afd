"""Transitions of a window's state, and the events that tell of them.

Each runs inside the transaction that moved the money and under the row's lock, so an event is
stored exactly once however many processes record spend. What an admin is told comes from here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from budgets.decisions import spend_state
from budgets.matching import Matched
from budgets.models import BudgetEvent, BudgetWindow
from budgets.periods import EPOCH, as_datetime
from spendhub.bulk_insert import read_json, read_uuid

WindowKey = tuple[int, uuid.UUID, str, int]


class WindowStands(msgspec.Struct, frozen=True):
    """A ledger row as a write has left it, its state and tellings still from before."""

    id: int
    key: WindowKey
    counted_nano_usd: int
    version: int
    state: str
    breach_count: int
    told_thresholds: tuple[str, ...]
    hard_stop_told: bool

    @classmethod
    def read(cls, row: Sequence[Any]) -> WindowStands:
        """From a raw row: id, tenant, budget, scope key, start, spend, forgiven, version, state, breaches,
        told thresholds, hard stop told."""
        starts_at = row[4] if isinstance(row[4], datetime) else datetime.fromisoformat(row[4])
        # SQLite hands times back as text without their zone; they are UTC.
        seconds = (starts_at - _NAIVE_EPOCH).total_seconds() if starts_at.tzinfo is None else starts_at.timestamp()
        return cls(
            id=row[0],
            key=(row[1], read_uuid(row[2]), row[3], int(seconds)),
            counted_nano_usd=row[5] - row[6],
            version=row[7],
            state=row[8],
            breach_count=row[9],
            told_thresholds=tuple(read_json(row[10])),
            hard_stop_told=bool(row[11]),
        )


_NAIVE_EPOCH = EPOCH.replace(tzinfo=None)


def tell_crossings(stands: Sequence[tuple[WindowStands, Matched]], now: datetime) -> list[WindowStands]:
    """Stores what these writes have crossed: state changes, thresholds (each once per window), hard stops.
    Gives the rows as they stand then, in the given order."""
    events: list[BudgetEvent] = []
    told: list[WindowStands] = []
    for stand, matched in stands:
        told.append(stand)
        if matched.is_replaced:
            continue
        state = spend_state(matched, stand.counted_nano_usd)
        crossed = newly_crossed(stand, matched)
        stops = state == "stopped" and not stand.hard_stop_told
        if state == stand.state and not crossed and not stops:
            continue
        if state != stand.state:
            events.append(_event("state-change", stand, matched, now, from_state=stand.state, to_state=state))
        events.extend(_event("threshold-breach", stand, matched, now, threshold=share) for share in crossed)
        if stops:
            events.append(_event("hard-stop", stand, matched, now))
        changes: dict[str, Any] = {"state": state}
        if crossed:
            changes |= {
                "told_thresholds": [*stand.told_thresholds, *crossed],
                "last_threshold": crossed[-1],
                "breach_count": stand.breach_count + len(crossed),
            }
        if stops:
            changes["hard_stop_told"] = True
        BudgetWindow.objects.for_tenant(stand.key[0]).filter(id=stand.id).update(**changes)
        told[-1] = replace(
            stand,
            state=state,
            breach_count=stand.breach_count + len(crossed),
            told_thresholds=(*stand.told_thresholds, *crossed),
            hard_stop_told=stand.hard_stop_told or stops,
        )
    if events:
        BudgetEvent.objects.across_tenants().bulk_create(events)
    return told


def newly_crossed(stand: WindowStands, matched: Matched) -> list[str]:
    """The thresholds (shares of the limit) reached and not yet told in this window, smallest first."""
    counted = stand.counted_nano_usd
    if counted <= 0:
        return []
    return [
        threshold.name
        for threshold in matched.budget.thresholds
        if threshold.name not in stand.told_thresholds and threshold.is_reached(counted, matched.limit_nano_usd)
    ]


def _event(kind: str, stand: WindowStands, matched: Matched, now: datetime, **facts: str) -> BudgetEvent:
    return BudgetEvent(
        tenant_id=stand.key[0],
        budget_id=matched.budget.id,
        kind=kind,
        occurred_at=now,
        scope_key=matched.scope_key,
        window_starts_at=as_datetime(matched.window.starts_at),
        spend_nano_usd=stand.counted_nano_usd,
        limit_nano_usd=matched.limit_nano_usd,
        **facts,
    )
