"""Who counts: one row in the database names the store in charge and its epoch.

A change is written with a moment in the near future from which the new store may be used. Until
then nobody reserves in it; after it nobody reserves in the old one, because every process may use a
store only for LEASE_SECONDS after it last began to read this row, and HANDOVER_SECONDS is longer.
All moments are compared by the database's clock. docs/decisions/0021-one-store-counts-at-a-time.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now

from budgets.models import CounterFence

LEASE_SECONDS = 2.0
HANDOVER_SECONDS = 2.5

REDIS = CounterFence.Store.REDIS.value
DATABASE = CounterFence.Store.DATABASE.value


class Charge(NamedTuple):
    """Which store counts, in which epoch; `opens_in_seconds` is 0 once it may be used."""

    store: str
    epoch: int
    is_open: bool
    opens_in_seconds: float


def read_charge(first_store: str) -> Charge:
    """The row as it stands; made with `first_store` in charge where there is none yet."""
    row = CounterFence.objects.annotate(database_now=Now()).filter(pk=1).first()
    if row is None:
        CounterFence.objects.get_or_create(
            pk=1,
            defaults={"store": first_store, "epoch": _next_epoch(0), "effective_at": Now(), "reason": "first start"},
        )
        row = CounterFence.objects.annotate(database_now=Now()).get(pk=1)
    database_now: datetime = row.database_now
    opens_in = max(0.0, (row.effective_at - database_now).total_seconds())
    return Charge(row.store, row.epoch, row.is_open, opens_in)


def hand_over(epoch: int, to_store: str, reason: str) -> bool:
    """Begins a new epoch after `epoch`, in `to_store`; False when somebody else already has."""
    with transaction.atomic():
        row = CounterFence.objects.select_for_update().filter(pk=1, epoch=epoch).first()
        if row is None:
            return False
        # By the clock of the database, and only once the row is ours: waiting for it must not shorten the wait.
        CounterFence.objects.filter(pk=1).update(
            store=to_store,
            epoch=_next_epoch(epoch),
            effective_at=ExpressionWrapper(Now() + timedelta(seconds=HANDOVER_SECONDS), output_field=DateTimeField()),
            is_open=False,
            reason=reason[:200],
        )
    return True


def open_epoch(epoch: int, make_complete: Callable[[], None]) -> bool:
    """Opens an epoch whose moment has come: `make_complete()` brings the store up to date first.

    Whoever comes first does it, with the row locked; the others wait for it. False when the moment
    has not come or another epoch has begun.
    """
    with transaction.atomic():
        row = CounterFence.objects.select_for_update().filter(pk=1, epoch=epoch, effective_at__lte=Now()).first()
        if row is None:
            return False
        if not row.is_open:
            make_complete()
            CounterFence.objects.filter(pk=1).update(is_open=True)
    return True


def _next_epoch(epoch: int) -> int:
    # By the clock, so that a database brought back from a backup never meets keys of its own future.
    return max(epoch + 1, time.time_ns() // 1_000_000)
