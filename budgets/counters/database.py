"""Counters on the database: the same contract, with many reserves sharing one transaction.

A window's spend is the ledger row itself; what is held are the tables Hold and HoldLine. A batch of
reserves locks its ledger rows in a fixed order, reads what is held in a few queries whatever the
size of the batch, and then decides call by call in memory, in the order of arrival.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, Q, Sum, Value

from budgets import ledger, models
from budgets.counters.base import Count, CounterLine, Hold, HoldKind, NotInCharge, Reserved, WindowTotal, has_room
from spendhub import group_commit
from spendhub.group_commit import Applier, GroupCommit
from spendhub.steps import AwaitFuture, CallInThread, Journey

ORPHAN_BATCH = 100

# Tenant, budget, scope key, start of the window.
WindowKey = tuple[int, uuid.UUID, str, int]
# The first three as columns of every table of windows.
_KEY = ("tenant_id", "budget_id", "scope_key")


class DatabaseCounters:
    """The counter store on the database, for one epoch; raises NotInCharge once another has begun.

    `epoch` None counts without asking who is in charge: for tests of the store alone.
    """

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def look(self, tenant_id: int, lines: Sequence[CounterLine], now: float) -> Journey[tuple[Count, ...]]:
        if not lines:
            return ()
        return (yield CallInThread(read_counts, (tenant_id, tuple(lines), now)))  # type: ignore[no-any-return]  # steps are untyped

    def reserve(self, hold: Hold, now: float) -> Journey[Reserved]:
        future = _submit(apply_reserves, _Reserve(hold, now, self.epoch), 1 + len(hold.lines))
        try:
            return (yield AwaitFuture(future))  # type: ignore[no-any-return]  # steps are untyped
        finally:
            if not future.done():
                # Whoever asked has left. An end that was written together with it would come before it.
                future.add_done_callback(lambda _: _submit(apply_ends, hold.hold_id, 1 + len(hold.lines)))

    def settle(self, hold: Hold, totals: Sequence[WindowTotal], now: float) -> Journey[None]:
        # The totals are in the ledger already, which is where this store reads them.
        yield AwaitFuture(_submit(apply_ends, hold.hold_id, 1 + len(hold.lines)))

    def publish(self, tenant_id: int, totals: Sequence[WindowTotal]) -> Journey[None]:
        return
        yield  # the ledger is the store: nothing to tell, but still a journey

    def extend(self, holds: Sequence[Hold], expires_at: float) -> Journey[None]:
        if holds:
            yield AwaitFuture(_submit(extend_holds, ([hold.hold_id for hold in holds], expires_at), len(holds)))

    def restore(self, holds: Sequence[Hold], now: float) -> Journey[None]:
        live = [hold for hold in holds if hold.kind == "call" or hold.expires_at > now]
        if live:
            weight = sum(1 + len(hold.lines) for hold in live)
            yield AwaitFuture(_submit(apply_restores, (self.epoch, live), weight))

    def orphans(self, tenant_id: int, now: float) -> Journey[tuple[Hold, ...]]:
        return (yield CallInThread(read_orphans, (tenant_id, now)))  # type: ignore[no-any-return]  # steps are untyped


class _Reserve(NamedTuple):
    hold: Hold
    now: float
    epoch: int | None


# --- one writer -------------------------------------------------------------------------------------
_own_writer: GroupCommit | None = None
_own_writer_pid = 0
_writer_lock = threading.Lock()


def _submit(applier: Applier, payload: Any, weight: int) -> concurrent.futures.Future[Any]:
    """SQLite has one writer at a time, so all share ours. PostgreSQL gets a transaction apart from the
    ledger's: one that locked windows for reserves and then others for spans could deadlock."""
    if connection.vendor == "sqlite":
        return group_commit.submit(applier, payload, weight)
    global _own_writer, _own_writer_pid
    if _own_writer is None or _own_writer_pid != os.getpid():
        with _writer_lock:
            if _own_writer is None or _own_writer_pid != os.getpid():
                _own_writer, _own_writer_pid = GroupCommit(), os.getpid()
    return _own_writer.submit(applier, payload, weight)


def close() -> None:
    """Writes what is queued and closes the writer's connection. For tests and the end of a process."""
    global _own_writer
    with _writer_lock:
        if _own_writer is not None:
            _own_writer.close()
            _own_writer = None


# --- appliers: each writes a whole batch inside the writer's transaction -----------------------------
def apply_reserves(batch: Sequence[_Reserve]) -> list[Reserved | NotInCharge]:
    """Decides a batch of reserves in the order given; what does not fit leaves nothing behind."""
    epoch_in_charge = _epoch_in_charge() if any(each.epoch is not None for each in batch) else None
    lines: dict[WindowKey, CounterLine] = {}
    for each in batch:
        for line in each.hold.lines:
            lines.setdefault(_key(each.hold.tenant_id, line), line)
    # Clocks of callers differ by milliseconds: by the earliest, no live reservation counts as lapsed.
    now = min(each.now for each in batch)
    spend = _lock_windows(lines, now)
    reserved = _held(lines, now)
    ids = [each.hold.hold_id for each in batch]
    known = models.Hold.objects.across_tenants().filter(pk__in=ids).values_list("pk", "kind", "expires_at")
    is_live = {pk: kind == models.Hold.Kind.CALL or expires_at.timestamp() > now for pk, kind, expires_at in known}
    held_already = {pk for pk, live in is_live.items() if live}
    lapsed = [pk for pk, live in is_live.items() if not live]
    answers: list[Reserved | NotInCharge] = []
    passed: list[Hold] = []
    for each in batch:
        hold = each.hold
        if each.epoch is not None and each.epoch != epoch_in_charge:
            answers.append(NotInCharge(f"epoch {each.epoch}"))
            continue
        keys = [_key(hold.tenant_id, line) for line in hold.lines]
        if hold.hold_id in held_already:
            own = hold.amount_nano_usd
            answers.append(Reserved(True, tuple([Count(spend[key], reserved[key] - own) for key in keys])))
            continue
        counts = tuple([Count(spend[key], reserved[key]) for key in keys])
        fits = all(
            has_room(line, count, hold.amount_nano_usd)
            for line, count in zip(hold.lines, counts, strict=True)
            if line.is_enforced
        )
        if fits:
            passed.append(hold)
            held_already.add(hold.hold_id)
            for key in keys:
                reserved[key] += hold.amount_nano_usd
        answers.append(Reserved(fits, counts))
    if lapsed:
        end_holds(lapsed)  # asked for again under the same id: it makes room for its successor
    if passed:
        _insert(passed)
    return answers


def apply_ends(batch: Sequence[uuid.UUID]) -> list[None]:
    """Ends holds, settled or released."""
    end_holds(batch)
    return [None] * len(batch)


def apply_restores(batch: Sequence[tuple[int | None, Sequence[Hold]]]) -> list[NotInCharge | None]:
    """Puts holds back without asking for room; before their epoch is open too, but not after it has passed."""
    current = None if all(epoch is None for epoch, _ in batch) else _current_epoch()
    valid = [epoch is None or epoch == current for epoch, _ in batch]
    wanted = {
        hold.hold_id: hold for (_, holds), is_valid in zip(batch, valid, strict=True) if is_valid for hold in holds
    }
    known = set(models.Hold.objects.across_tenants().filter(pk__in=wanted).values_list("pk", flat=True))
    _insert([hold for hold_id, hold in wanted.items() if hold_id not in known])
    return [None if is_valid else NotInCharge("another epoch has begun") for is_valid in valid]


def extend_holds(batch: Sequence[tuple[Sequence[uuid.UUID], float]]) -> list[None]:
    """Moves the ends of live holds. By its name it comes after `apply_reserves` in a transaction: windows are locked
    before holds everywhere. A hold that is locked is being ended at this moment, and is left alone."""
    for ids, expires_at in batch:
        holds = models.Hold.objects.across_tenants()
        unlocked = holds.filter(pk__in=ids).select_for_update(skip_locked=True, no_key=True)
        holds.filter(pk__in=unlocked.values("pk")).update(expires_at=_moment(expires_at))
    return [None] * len(batch)


def end_holds(ids: Sequence[uuid.UUID]) -> None:
    """Ends holds in the transaction that runs. One that locks windows too does that first, as reserves do."""
    models.HoldLine.objects.across_tenants().filter(hold_id__in=ids).delete()
    models.Hold.objects.across_tenants().filter(pk__in=ids).delete()


# --- reading ------------------------------------------------------------------------------------------
def read_counts(tenant_id: int, lines: Sequence[CounterLine], now: float) -> tuple[Count, ...]:
    """What each line's window has spent and holds, read on the calling thread's connection."""
    windows = {_key(tenant_id, line): line for line in lines}
    spent = (
        models.BudgetWindow.objects.across_tenants()
        .filter(_among(windows, "starts_at"))
        .values_list(*_KEY, "starts_at", F("spend_nano_usd") - F("forgiven_nano_usd"), Value(False))
    )
    # One statement, so that a call which is booked at this moment is seen as held or as spent, not as both.
    found = {
        (tenant, budget, key, int(starts_at.timestamp()), is_held): int(nano_usd)
        for tenant, budget, key, starts_at, nano_usd, is_held in spent.union(_sums_held(windows, now), all=True)
    }
    keys = [_key(tenant_id, line) for line in lines]
    return tuple([Count(found.get((*key, False), 0), found.get((*key, True), 0)) for key in keys])


def read_orphans(tenant_id: int, now: float) -> tuple[Hold, ...]:
    """Calls whose owner no longer extends them."""
    rows = (
        models.Hold.objects.for_tenant(tenant_id)
        .filter(kind=models.Hold.Kind.CALL, expires_at__lte=_moment(now))
        .order_by("expires_at")[:ORPHAN_BATCH]
    )
    return read_holds(rows)


def read_ended_reservations(now: datetime, at_most: int = 1_000) -> list[uuid.UUID]:
    """Reservations that have ended by themselves and still take up rows."""
    rows = models.Hold.objects.across_tenants().filter(kind=models.Hold.Kind.RESERVATION, expires_at__lte=now)
    return list(rows.values_list("pk", flat=True)[:at_most])


def read_holds(rows: Iterable[models.Hold]) -> tuple[Hold, ...]:
    """Rows of Hold as holds, with their lines."""
    found = list(rows)
    lines: dict[uuid.UUID, list[CounterLine]] = {row.pk: [] for row in found}
    for line in models.HoldLine.objects.across_tenants().filter(hold_id__in=lines).order_by("pk"):
        starts_at = int(line.window_starts_at.timestamp())
        ends_at = None if line.window_ends_at is None else int(line.window_ends_at.timestamp())
        lines[line.hold_id].append(CounterLine(line.budget_id, line.scope_key, starts_at, ends_at, 0, False))
    holds: list[Hold] = []
    for row in found:
        kind: HoldKind = "call" if row.kind == models.Hold.Kind.CALL else "reservation"
        holds.append(
            Hold(
                row.tenant_id,
                row.pk,
                kind,
                tuple(lines[row.pk]),
                row.amount_nano_usd,
                row.expires_at.timestamp(),
                row.payload,
            )
        )
    return tuple(holds)


def _epoch_in_charge() -> int | None:
    """The epoch in which this store is in charge; nobody can change that before our transaction ends."""
    return _current_epoch(is_open=True)


def _current_epoch(**conditions: bool) -> int | None:
    rows = models.CounterFence.objects.filter(store=models.CounterFence.Store.DATABASE, **conditions)
    if not connection.features.has_select_for_update:
        return rows.values_list("epoch", flat=True).first()
    # FOR SHARE, which Django has no word for: any number of reserves at once, and no change of hands meanwhile.
    with connection.cursor() as cursor:
        sql, params = rows.values_list("epoch").query.sql_with_params()
        cursor.execute(f"{sql} FOR SHARE", params)
        found = cursor.fetchone()
    return int(found[0]) if found else None


def _lock_windows(lines: Mapping[WindowKey, CounterLine], now: float) -> dict[WindowKey, int]:
    """Locks the ledger rows, making those that are missing, and gives their spend."""
    if not lines:
        return {}
    ids = _row_ids(lines)
    missing = [(key[0], line) for key, line in lines.items() if key not in ids]
    if missing:
        ledger.open_rows(missing, now)
        ids = _row_ids(lines)
    # The order in which the ledger locks them too (see ledger.add_charges).
    rows = models.BudgetWindow.objects.across_tenants().filter(pk__in=ids.values())
    rows = rows.order_by("tenant_id", "budget_id", "scope_key", "starts_at")
    if connection.features.has_select_for_update:
        rows = rows.select_for_update(no_key=True)
    fields = ("tenant_id", "budget_id", "scope_key", "starts_at", "spend_nano_usd", "forgiven_nano_usd")
    return {
        (tenant_id, budget_id, scope_key, int(starts_at.timestamp())): spend - forgiven
        for tenant_id, budget_id, scope_key, starts_at, spend, forgiven in rows.values_list(*fields)
    }


def _row_ids(lines: Mapping[WindowKey, CounterLine]) -> dict[WindowKey, int]:
    found = (
        models.BudgetWindow.objects.across_tenants()
        .filter(_among(lines, "starts_at"))
        .values_list("tenant_id", "budget_id", "scope_key", "starts_at", "pk")
    )
    ids = {(tenant, budget, key, int(starts.timestamp())): pk for tenant, budget, key, starts, pk in found}
    return {key: pk for key, pk in ids.items() if key in lines}


def _held(lines: Mapping[WindowKey, CounterLine], now: float) -> dict[WindowKey, int]:
    """What live holds take of each window."""
    held = dict.fromkeys(lines, 0)
    if not lines:
        return held
    for tenant_id, budget_id, scope_key, starts_at, total, _ in _sums_held(lines, now):
        key = (tenant_id, budget_id, scope_key, int(starts_at.timestamp()))
        if key in held:
            held[key] = int(total)
    return held


def _sums_held(lines: Mapping[WindowKey, CounterLine], now: float) -> Any:
    live = Q(hold__kind=models.Hold.Kind.CALL) | Q(hold__expires_at__gt=_moment(now))
    held = models.HoldLine.objects.across_tenants().filter(_among(lines, "window_starts_at"), live)
    by_window = held.values_list(*_KEY, "window_starts_at")
    return by_window.annotate(nano_usd=Sum("amount_nano_usd"), is_held=Value(True))


def _among(lines: Mapping[WindowKey, CounterLine], start_field: str) -> Q:
    """Rows of these windows, and a few beside them: one condition per column uses one index; the caller sieves."""
    return Q(
        tenant_id__in={key[0] for key in lines},
        budget_id__in={key[1] for key in lines},
        scope_key__in={key[2] for key in lines},
        **{f"{start_field}__in": {_moment(key[3]) for key in lines}},
    )


def _insert(holds: Sequence[Hold]) -> None:
    models.Hold.objects.across_tenants().bulk_create(
        [
            models.Hold(
                id=hold.hold_id,
                tenant_id=hold.tenant_id,
                kind=hold.kind,
                amount_nano_usd=hold.amount_nano_usd,
                expires_at=_moment(hold.expires_at),
                payload=dict(hold.payload),
            )
            for hold in holds
        ],
        ignore_conflicts=True,
    )
    models.HoldLine.objects.across_tenants().bulk_create(
        [
            models.HoldLine(
                tenant_id=hold.tenant_id,
                hold_id=hold.hold_id,
                budget_id=line.budget_id,
                scope_key=line.scope_key,
                window_starts_at=_moment(line.starts_at),
                window_ends_at=None if line.ends_at is None else _moment(line.ends_at),
                amount_nano_usd=hold.amount_nano_usd,
            )
            for hold in holds
            for line in hold.lines
        ],
        ignore_conflicts=True,
    )


def _key(tenant_id: int, line: CounterLine) -> WindowKey:
    return (tenant_id, line.budget_id, line.scope_key, line.starts_at)


def _moment(epoch_seconds: float) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)
