"""From a call that happened to money that is counted: on disk first, then the counters follow.

Each is a journey (spendhub.steps). When one returns, its spans and the ledger are committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from budgets.counters.charge import counters
from budgets.errors import ReservationMissing, ReservationSettled
from budgets.models import Reservation, ScopeType
from budgets.reservations import HeldCall, find_reservation, hold_id_for, hold_of
from budgets.scope_names import counted_as
from routing.snapshot import CATALOG
from routing.token_usage import TokenUsage
from spendhub import group_commit
from spendhub.errors import Invalid
from spendhub.steps import AwaitFuture, AwaitWrite, CallInThread, Journey
from spendhub.tenants.attribution import Attribution
from telemetry.drafts import NO_USAGE, SpanDraft
from telemetry.loop_ledger import book_on_loop
from telemetry.models import CostSpan
from telemetry.priced import facts_of, price_told
from telemetry.request_ids import refuse_others_id, span_of_request
from telemetry.span_store import SpanBatch, StoredBatch, store_spans

__all__ = [
    "Committed", "Settlement", "SpanDraft",
    "commit_by_key", "commit_reservation", "ended_with_spans", "record", "settle_call",
]  # fmt: skip


class NothingToCommit(Invalid):
    """A commit came with neither usage nor an actual cost."""

    code = "nothing_to_commit"


def record(tenant_id: int, drafts: Sequence[SpanDraft], now: datetime) -> Journey[StoredBatch]:
    """Stores spans of calls that held nothing. All or none; duplicates are recognised, not counted."""
    batch = SpanBatch(tenant_id, tuple(drafts), now)
    stored: StoredBatch = yield AwaitFuture(group_commit.submit(store_spans, batch, weight=len(drafts)))
    if stored.totals:
        yield from counters().publish(tenant_id, stored.totals)
    return stored


def settle_call(
    held: HeldCall, draft: SpanDraft, now: datetime, more_held: Sequence[HeldCall] = ()
) -> Journey[StoredBatch]:
    """Stores the span of a call that was held by this process, and ends its hold.

    Where the database counts, that is one transaction. Redis is told right after: between the two the money counts
    twice for a moment (spent and held), never less than once. `more_held` is for the caller to release, but where the
    database counts it ends in that transaction too.
    """
    holds = [each.hold for each in (held, *more_held) if each.hold is not None]
    epoch, ended_holds = ended_with_spans(*(hold.hold_id for hold in holds))
    batch = SpanBatch(held.call.tenant_id, (draft,), now, ended_holds=ended_holds)
    stored: StoredBatch = yield AwaitWrite(lambda: group_commit.submit(store_spans, batch), lambda: book_on_loop(batch))
    if held.hold is not None:
        yield from counters().settle(held.hold, stored.totals, now.timestamp(), epoch)
    elif stored.totals:
        yield from counters().publish(held.call.tenant_id, stored.totals)
    return stored


def ended_with_spans(*hold_ids: uuid.UUID) -> tuple[int | None, tuple[uuid.UUID, ...]]:
    """Where the database counts, its epoch and the holds, for SpanBatch to end with the spans, and `counters().settle`
    to know of."""
    epoch = counters().database_epoch
    return epoch, () if epoch is None else hold_ids


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a reserved call turned out to be: its usage, or its cost (nano_usd) where the caller knows better."""

    usage: TokenUsage | None = None
    actual_nano_usd: int | None = None
    model: str | None = None
    provider: str | None = None
    request_id: str | None = None
    duration_ms: int | None = None
    status: str = "ok"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """A settled reservation. `released_nano_usd` was held and not needed; `over_nano_usd` was needed and not held."""

    span_id: uuid.UUID
    cost_nano_usd: int
    released_nano_usd: int
    over_nano_usd: int
    is_repeat: bool
    is_late: bool


def commit_by_key(
    tenant_id: int, idempotency_key: str, settlement: Settlement, *, unpriced_models: str, source: str, now: datetime
) -> Journey[Committed]:
    """`commit_reservation`, found by the idempotency key it was made with."""
    reservation_id = hold_id_for(tenant_id, idempotency_key)
    return (
        yield from commit_reservation(
            tenant_id, reservation_id, settlement, unpriced_models=unpriced_models, source=source, now=now
        )
    )


def commit_reservation(
    tenant_id: int,
    reservation_id: uuid.UUID,
    settlement: Settlement,
    *,
    unpriced_models: str,
    source: str = "api",
    now: datetime,
) -> Journey[Committed]:
    """Books what a reserved call cost, in full even where more was spent than held, and ends the hold.

    A commit after the hold has lapsed still counts. Repeating it answers the same and counts nothing.
    Raises ReservationMissing, ReservationSettled (released, or committed differently), NothingToCommit, and routing's
    UnpricedModel; RequestIdTaken and CallNotBooked where the request id names a call that is not this one.
    """
    found: tuple[Reservation, uuid.UUID] | None = yield CallInThread(_find_with_span, (tenant_id, reservation_id))
    if found is None:
        raise ReservationMissing(reservation_id)
    known: Reservation | None
    known, span_id = found
    if known.status == Reservation.Status.RELEASED:
        raise ReservationSettled(reservation_id, known.status)
    draft = _draft_of(known, span_id, settlement, unpriced_models, source)
    if known.status == Reservation.Status.COMMITTED:
        return (yield from _repeated(known, draft, now))
    if settlement.request_id is not None:
        # Here, for in the store it would undo what its neighbours share with it.
        yield CallInThread(refuse_others_id, (tenant_id, draft))
    epoch, ended_holds = ended_with_spans(known.id)
    batch = SpanBatch(tenant_id, (draft,), now, reservation_id=known.id, ended_holds=ended_holds)
    try:
        stored: StoredBatch = yield AwaitFuture(group_commit.submit(store_spans, batch))
    except ReservationSettled:
        # Somebody else was faster by a moment: judge against what they did.
        known = yield CallInThread(find_reservation, (tenant_id, reservation_id))
        if known is None or known.status != Reservation.Status.COMMITTED:
            raise
        return (yield from _repeated(known, draft, now))
    yield from counters().settle(hold_of(known), stored.totals, now.timestamp(), epoch)
    return _committed(known, stored.ids[0], draft.cost_nano_usd, now, is_repeat=stored.accepted == 0)


def _find_with_span(tenant_id: int, reservation_id: uuid.UUID) -> tuple[Reservation, uuid.UUID] | None:
    """The reservation, and the id of the span that it has or will have: its own. But once a reservation is deleted
    (budgets/retention.py) its idempotency key makes another of the same id, and a span may have that already."""
    known = find_reservation(tenant_id, reservation_id)
    if known is None or known.idempotency_key is None:
        return None if known is None else (known, known.id)
    span = CostSpan.objects.for_tenant(tenant_id).filter(id=known.id).first()
    if span is None or span.occurred_at == known.created_at:
        return known, known.id
    return known, uuid.uuid5(known.id, known.created_at.isoformat())


def _repeated(known: Reservation, draft: SpanDraft, now: datetime) -> Journey[Committed]:
    span = yield CallInThread(span_of_request, (known.tenant_id, draft.request_id))
    if span is None or span.cost_nano_usd != draft.cost_nano_usd or span.reservation_id not in (None, known.id):
        raise ReservationSettled(known.id, "committed with another cost or request id")
    # The first commit's process may have died before it ended the hold.
    yield from counters().settle(hold_of(known), (), now.timestamp())
    return _committed(known, span.id, span.cost_nano_usd, now, is_repeat=True)


def _committed(known: Reservation, span_id: uuid.UUID, cost: int, now: datetime, *, is_repeat: bool) -> Committed:
    difference = known.amount_nano_usd - cost
    return Committed(
        span_id=span_id,
        cost_nano_usd=cost,
        released_nano_usd=max(0, difference),
        over_nano_usd=max(0, -difference),
        is_repeat=is_repeat,
        is_late=known.expires_at <= now,
    )


def _draft_of(
    known: Reservation, span_id: uuid.UUID, settlement: Settlement, unpriced_models: str, source: str
) -> SpanDraft:
    requested = settlement.model or known.model
    model = CATALOG.current().resolve(known.tenant_id, requested) if requested else None
    breakdown: Mapping[str, int] = {}
    tier, is_estimated = settlement.service_tier, False
    cost, facts = settlement.actual_nano_usd, facts_of(settlement.usage, tier)
    if cost is None:
        if settlement.usage is None:
            raise NothingToCommit("A commit needs `usage` or `actual_cost`.")
        if not requested:
            raise NothingToCommit("To price `usage`, the reservation or the commit must name a model.")
        quote = CATALOG.current().quote(
            known.tenant_id, requested, known.created_at, unpriced_models=unpriced_models, service_tier=tier
        )
        priced = price_told(settlement.usage, quote)
        cost, breakdown, is_estimated = priced.cost_nano_usd, priced.breakdown, priced.is_estimated
        facts |= priced.facts
    provider = counted_as(known.tenant_id, ScopeType.PROVIDER, settlement.provider or "")
    return SpanDraft(
        id=span_id,
        request_id=settlement.request_id or str(span_id),
        occurred_at=known.created_at,
        source=source,
        cost_nano_usd=cost,
        attribution=Attribution.parse(known.attribution),
        api_key=known.api_key,
        provider=provider or (model.provider.name if model else known.provider),
        model=model.name if model else requested,
        requested_model=requested,
        usage=settlement.usage or NO_USAGE,
        breakdown=breakdown,
        is_estimated=is_estimated,
        status=settlement.status,
        duration_ms=settlement.duration_ms,
        reserved_nano_usd=known.amount_nano_usd,
        reservation_id=known.id,
        metadata={**settlement.metadata, **facts},
    )
