"""The ledger of what budgets have spent: added to with the spans, read by the counter stores."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection

from budgets.counters.base import CounterLine, Hold, WindowTotal
from budgets.matching import Matched
from budgets.models import BUDGETS_SNAPSHOT, BudgetWindow, Reservation
from budgets.periods import as_datetime
from budgets.snapshot import BUDGETS, TenantBudgets
from budgets.states import WindowKey, WindowStands, tell_crossings
from spendhub.bulk_insert import insert_rows


def read_totals(tenant_id: int, lines: Sequence[CounterLine]) -> list[WindowTotal]:
    """What each line's window has spent (resets taken off), in the lines' order; 0, version 0 where nothing is."""
    known = {
        (row.budget_id, row.scope_key, int(row.starts_at.timestamp())): row
        for row in BudgetWindow.objects.for_tenant(tenant_id).filter(
            budget_id__in={line.budget_id for line in lines},
            scope_key__in={line.scope_key for line in lines},
            starts_at__in={datetime.fromtimestamp(line.starts_at, UTC) for line in lines},
        )
    }
    totals: list[WindowTotal] = []
    for line in lines:
        row = known.get((line.budget_id, line.scope_key, line.starts_at))
        spend, version = (row.spend_nano_usd - row.forgiven_nano_usd, row.version) if row else (0, 0)
        totals.append(WindowTotal(line.budget_id, line.scope_key, line.starts_at, line.ends_at, spend, version))
    return totals


def open_rows(wanted: Iterable[tuple[int, CounterLine]], now: float) -> None:
    """Makes the ledger rows of these tenants' lines that are missing, in a fixed order; runs in a transaction."""
    ordered = sorted(wanted, key=lambda each: (each[0], each[1].budget_id, each[1].scope_key, each[1].starts_at))
    BudgetWindow.objects.across_tenants().bulk_create(
        [
            BudgetWindow(
                tenant_id=tenant_id,
                budget_id=line.budget_id,
                scope_key=line.scope_key,
                starts_at=datetime.fromtimestamp(line.starts_at, UTC),
                ends_at=None if line.ends_at is None else datetime.fromtimestamp(line.ends_at, UTC),
                updated_at=datetime.fromtimestamp(now, UTC),
            )
            for tenant_id, line in ordered
        ],
        ignore_conflicts=True,
    )


def live_reservations(tenant_id: int, now: float) -> list[Hold]:
    """What a tenant holds over the API at this moment."""
    rows = Reservation.objects.for_tenant(tenant_id).filter(
        status=Reservation.Status.HELD, expires_at__gt=datetime.fromtimestamp(now, UTC)
    )
    return [
        Hold(
            tenant_id,
            row.id,
            "reservation",
            tuple([CounterLine(uuid.UUID(each[0]), each[1], int(each[2]), None, 0, False) for each in row.lines]),
            row.amount_nano_usd,
            row.expires_at.timestamp(),
            {},
        )
        for row in rows
    ]


class Charge(NamedTuple):
    """Money that one recorded call adds to one window; negative where a correction takes it back."""

    tenant_id: int
    matched: Matched
    nano_usd: int

    @property
    def window_key(self) -> WindowKey:
        return (self.tenant_id, self.matched.budget.id, self.matched.scope_key, self.matched.window.starts_at)


def budgets_for_writing() -> Mapping[int, TenantBudgets]:
    """The budgets that this transaction must count for. Call it after the transaction's first write of a span.

    A budget that is being created sums up what its windows have already spent (see openings.py), and has
    the spans' table to itself while it does: it waits for every writer that does not know it yet, and
    a writer that comes later sees it here. So no span falls between the sum and the ledger row.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM spendhub_snapshotversion WHERE name = %s", [BUDGETS_SNAPSHOT])
        row = cursor.fetchone()
    version = row[0] if row else 0
    return BUDGETS.current() if version == BUDGETS.version else BUDGETS.refresh(version)


class Sums(NamedTuple):
    """What charges add to each window, in nano_usd, and the budget that each window was matched by."""

    nano_usd: Mapping[WindowKey, int]
    matched: Mapping[WindowKey, Matched]


def sum_up(charges: Iterable[Charge]) -> Sums:
    """The charges by window."""
    sums: dict[WindowKey, int] = defaultdict(int)
    matches: dict[WindowKey, Matched] = {}
    for charge in charges:
        key = charge.window_key
        sums[key] += charge.nano_usd
        matches[key] = charge.matched
    return Sums(sums, matches)


def ledger_rows(sums: Sums, now: datetime) -> list[tuple[Any, ...]]:
    """A row of LEDGER_COLUMNS per window. They are locked in this order everywhere (tenant, budget, key, window), so
    that two writers never wait for each other in a circle."""
    return [
        (
            key[0],
            key[1],
            key[2],
            as_datetime(key[3]),
            as_datetime(sums.matched[key].window.ends_at),
            sums.nano_usd[key],
            0,
            1,
            "active",
            0,
            "",
            [],
            False,
            now,
        )
        for key in sorted(sums.nano_usd)
    ]


class Standing(NamedTuple):
    """A ledger row as a write and its tellings have left it, and the budget that it was matched by."""

    stands: WindowStands
    matched: Matched

    @property
    def total(self) -> WindowTotal:
        """The window's absolute total, as the counters take it."""
        _, budget_id, scope_key, starts_at = self.stands.key
        ends_at = self.matched.window.ends_at
        return WindowTotal(budget_id, scope_key, starts_at, ends_at, self.stands.counted_nano_usd, self.stands.version)


def add_charges(charges: Sequence[Charge], now: datetime) -> dict[WindowKey, Standing]:
    """Adds the charges to their ledger rows, tells what crossed a line, and gives how the rows stand then.

    Runs inside the transaction that stores the spans.
    """
    sums = sum_up(charges)
    found = insert_rows(BudgetWindow, LEDGER_COLUMNS, ledger_rows(sums, now), ADDS_TO_LEDGER, _RETURNED)
    # RETURNING keeps no promise about order: rows are recognised by their key.
    written = [(stand, sums.matched[stand.key]) for stand in map(WindowStands.read, found)]
    told = tell_crossings(written, now)
    return {stand.key: Standing(stand, matched) for stand, (_, matched) in zip(told, written, strict=True)}


ADDS_TO_LEDGER = (
    "(tenant_id, budget_id, scope_key, starts_at) DO UPDATE SET "
    "spend_nano_usd = budgets_budgetwindow.spend_nano_usd + excluded.spend_nano_usd, "
    "version = budgets_budgetwindow.version + 1, updated_at = excluded.updated_at"
)
LEDGER_COLUMNS = (
    "tenant_id", "budget_id", "scope_key", "starts_at", "ends_at", "spend_nano_usd", "forgiven_nano_usd", "version",
    "state", "breach_count", "last_threshold", "told_thresholds", "hard_stop_told", "updated_at",
)  # fmt: skip
_RETURNED = (
    "id", "tenant_id", "budget_id", "scope_key", "starts_at", "spend_nano_usd", "forgiven_nano_usd", "version",
    "state", "breach_count", "told_thresholds", "hard_stop_told",
)  # fmt: skip
