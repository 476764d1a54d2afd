"""Moving what is held into the store that is about to count.

Calls in flight are known to their own process (restore_own); reservations made over the API, and
whatever the database store holds, are known to the database (make_complete). Putting back repeats
safely, and what was settled in between is taken out again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from budgets import ledger
from budgets.counters import database
from budgets.counters.base import CounterStore, Hold
from budgets.counters.database import DatabaseCounters
from budgets.counters.drive import drive
from budgets.counters.live_holds import LiveHolds, by_tenant
from budgets.counters.redis import RedisCounters
from budgets.models import Hold as HoldRow
from budgets.models import HoldLine, Reservation

logger = logging.getLogger(__name__)


def restore_own(store: CounterStore, live: LiveHolds) -> None:
    """Puts this process's live holds into `store`."""
    now = time.time()
    for holds in by_tenant(_unsettled(live.all(), live)).values():
        drive(store.restore(holds, now))
        # Settled while we did: the settle may have come first and found nothing.
        still_live = {hold.hold_id for hold in _unsettled(holds, live)}
        for hold in holds:
            if hold.hold_id not in still_live:
                drive(store.settle(hold, (), now))


def _unsettled(holds: Sequence[Hold], live: LiveHolds) -> list[Hold]:
    reservations = [hold.hold_id for hold in holds if hold.kind == "reservation"]
    settled = set()
    if reservations:  # another process may have settled them
        rows = Reservation.objects.across_tenants().filter(pk__in=reservations)
        settled = set(rows.exclude(status=Reservation.Status.HELD).values_list("pk", flat=True))
    return [hold for hold in holds if hold.hold_id in live and hold.hold_id not in settled]


def make_complete(store: CounterStore) -> None:
    """Brings into `store` what the database knows to be held. Runs in the transaction that opens the epoch."""
    if isinstance(store, RedisCounters):
        _fill_redis(store)
    elif isinstance(store, DatabaseCounters):
        _fill_database()


def _fill_redis(store: RedisCounters) -> None:
    now = time.time()
    rows = HoldRow.objects.across_tenants().all()
    for holds in by_tenant(database.read_holds(rows)).values():
        drive(store.restore(holds, now))
    drive(store.open_epoch())
    HoldLine.objects.across_tenants().all().delete()
    HoldRow.objects.across_tenants().all().delete()


def _fill_database() -> None:
    now = time.time()
    open_rows = Reservation.objects.across_tenants().filter(
        status=Reservation.Status.HELD, expires_at__gt=datetime.fromtimestamp(now, UTC)
    )
    for tenant_id in list(open_rows.order_by().values_list("tenant_id", flat=True).distinct()):
        database.apply_restores([(None, ledger.live_reservations(tenant_id, now))])
