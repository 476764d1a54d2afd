"""Spans on disk and in the ledger, in one transaction: the applier of the group commit.

A span that is stored is counted in every window it falls under, and one that was stored before is
not counted again. The unique key (tenant, request id) decides which it is, not a look beforehand.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from django.db import connection

from budgets.calls import scopes_of
from budgets.counters.base import WindowTotal
from budgets.counters.database import end_holds
from budgets.errors import ReservationSettled
from budgets.ledger import Charge, Standing, add_charges, budgets_for_writing
from budgets.matching import count_budgets
from budgets.models import Reservation
from budgets.snapshot import NO_BUDGETS, TenantBudgets
from budgets.states import WindowKey
from spendhub.bulk_insert import adapt, insert_rows, read_uuid
from telemetry.corrections import Correction, correct_rows
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan
from telemetry.request_ids import GATEWAYS_SOURCES, RequestIdTaken, is_the_same_call

SPAN_COLUMNS = (
    "id", "tenant_id", "request_id", "occurred_at", "recorded_at", "source", "reservation_id", "trace_id", "parent_id",
    "provider", "model", "requested_model", "org", "user", "agent", "feature", "session", "task", "api_key",
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "cost_nano_usd", "breakdown", "reserved_nano_usd", "is_estimated", "status", "error_code",
    "duration_ms", "first_token_ms", "metadata",
)  # fmt: skip


class SpanBatch(msgspec.Struct, frozen=True):
    """Spans of one tenant that are accepted or refused together; `reservation_id` is settled with them.

    `ended_holds` end in the same transaction: for the time in which the database counts what is held.
    """

    tenant_id: int
    drafts: tuple[SpanDraft, ...]
    now: datetime
    reservation_id: uuid.UUID | None = None
    ended_holds: tuple[uuid.UUID, ...] = ()


class StoredBatch(msgspec.Struct, frozen=True):
    """What became of a batch: each draft's span id (of the earlier span where it is a duplicate), how many
    were new, the absolute totals of every window they count in, and how the ledger's rows stand that were added to."""

    ids: tuple[uuid.UUID, ...]
    accepted: int
    totals: tuple[WindowTotal, ...]
    standings: tuple[Standing, ...] = ()

    @property
    def duplicates(self) -> int:
        return len(self.ids) - self.accepted


def store_spans(batches: Sequence[SpanBatch]) -> list[StoredBatch | ReservationSettled]:
    """Stores the batches' spans and adds them to the ledger. A batch whose reservation is settled already
    is answered ReservationSettled and stores nothing. Raises RequestIdTaken where a commit names another call; then
    nothing is stored of any batch."""
    settled = _settle_reservations(batches)
    wanted = [batch for batch in batches if batch.reservation_id is None or batch.reservation_id in settled]
    new = _insert(wanted)
    budgets = budgets_for_writing()
    charges_of: list[list[Charge]] = []
    late_totals: dict[int, list[WindowTotal]] = {}
    earlier = _earlier_spans(wanted, new)
    for position, batch in enumerate(wanted):
        charges: list[Charge] = []
        for draft in batch.drafts:
            before = earlier.get((batch.tenant_id, draft.request_id))
            if draft.id in new:
                charges.extend(charges_for(budgets, batch.tenant_id, draft, draft.cost_nano_usd))
            elif batch.reservation_id is not None and not is_the_same_call(before, draft):
                # Recorded in the moment since it was asked for (refuse_others_id), or by this very batch. Undoes all of
                # this; the writer then applies each batch alone.
                raise RequestIdTaken(draft.request_id)
            elif before is not None and _may_upgrade(before, draft):
                # Before the ledger's rows of the new spans: a correction too locks a span first.
                late_totals.setdefault(position, []).extend(_upgrade(before, draft, batch.now))
        charges_of.append(charges)
    standings: dict[WindowKey, Standing] = {}
    if any(charges_of):
        standings = add_charges([charge for charges in charges_of for charge in charges], batches[0].now)
    ended_holds = [hold_id for batch in wanted for hold_id in batch.ended_holds]
    if ended_holds:
        end_holds(ended_holds)
    stored = iter(
        stored_as(
            tuple(_id_of(batch, draft, new, earlier) for draft in batch.drafts),
            sum(draft.id in new for draft in batch.drafts),
            charges_of[position],
            standings,
            tuple(late_totals.get(position, ())),
        )
        for position, batch in enumerate(wanted)
    )
    return [
        next(stored)
        if batch.reservation_id is None or batch.reservation_id in settled
        else ReservationSettled(batch.reservation_id, "settled")
        for batch in batches
    ]


def stored_as(
    ids: tuple[uuid.UUID, ...],
    accepted: int,
    charges: Sequence[Charge],
    standings: Mapping[WindowKey, Standing],
    late_totals: tuple[WindowTotal, ...] = (),
) -> StoredBatch:
    """What is told of one batch, given how the ledger's rows stand after all that were written with it."""
    mine = tuple({charge.window_key: standings[charge.window_key] for charge in charges}.values())
    return StoredBatch(ids, accepted, tuple([each.total for each in mine]) + late_totals, mine)


def charges_for(budgets: Mapping[int, TenantBudgets], tenant_id: int, draft: SpanDraft, nano_usd: int) -> list[Charge]:
    """One charge per window that the span counts in: those that held the moment of its check."""
    if nano_usd == 0:
        return []
    scopes = scopes_of(draft.attribution, draft.api_key, draft.provider, draft.model)
    return [
        Charge(tenant_id, matched, nano_usd)
        for matched in count_budgets(budgets.get(tenant_id, NO_BUDGETS), scopes, draft.occurred_at)
    ]


def _settle_reservations(batches: Sequence[SpanBatch]) -> set[uuid.UUID]:
    """Turns held reservations into committed ones; those that were not held any more are not in the answer."""
    spans = {batch.reservation_id: batch.drafts[0].id for batch in batches if batch.reservation_id is not None}
    ids = sorted(spans)
    if not ids:
        return set()
    others = [(each, spans[each]) for each in ids if spans[each] != each]
    span_id = f"CASE id{' WHEN %s THEN %s' * len(others)} ELSE id END" if others else "id"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE budgets_reservation SET status = %s, settled_at = %s, span_id = {span_id} "
            f"WHERE status = %s AND id IN ({', '.join(['%s'] * len(ids))}) RETURNING id",
            [
                Reservation.Status.COMMITTED.value,
                adapt(batches[0].now),
                *(adapt(each) for pair in others for each in pair),
                Reservation.Status.HELD.value,
                *(adapt(each) for each in ids),
            ],
        )
        settled = {read_uuid(row[0]) for row in cursor.fetchall()}
    claimed: set[uuid.UUID] = set()
    for batch in batches:
        if batch.reservation_id in settled:
            if batch.reservation_id in claimed:
                # Two commits of one reservation met in this very batch; the writer applies each alone.
                raise ReservationSettled(batch.reservation_id, "settled")
            claimed.add(batch.reservation_id)
    return settled


def _insert(batches: Sequence[SpanBatch]) -> set[uuid.UUID]:
    rows = [span_row(batch, draft) for batch in batches for draft in batch.drafts]
    if not rows:
        return set()
    return {read_uuid(row[0]) for row in insert_rows(CostSpan, SPAN_COLUMNS, rows, "DO NOTHING", ("id",))}


def span_row(batch: SpanBatch, draft: SpanDraft) -> tuple[object, ...]:
    """The row of SPAN_COLUMNS that keeps a draft."""
    who, usage = draft.attribution, draft.usage
    return (
        draft.id, batch.tenant_id, draft.request_id, draft.occurred_at, batch.now, draft.source, draft.reservation_id,
        draft.trace_id, draft.parent_id, draft.provider, draft.model, draft.requested_model,
        who.org or "", who.user or "", who.agent or "", who.feature or "", who.session or "", who.task or "",
        draft.api_key, usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens,
        usage.cache_write_1h_tokens, usage.output_tokens, usage.reasoning_tokens, draft.cost_nano_usd,
        dict(draft.breakdown), draft.reserved_nano_usd, draft.is_estimated, draft.status, draft.error_code,
        draft.duration_ms, draft.first_token_ms, dict(draft.metadata),
    )  # fmt: skip


def _earlier_spans(batches: Sequence[SpanBatch], new: set[uuid.UUID]) -> dict[tuple[int, str], CostSpan]:
    repeated: dict[int, set[str]] = {}
    for batch in batches:
        for draft in batch.drafts:
            if draft.id not in new:
                repeated.setdefault(batch.tenant_id, set()).add(draft.request_id)
    return {
        (tenant_id, span.request_id): span
        for tenant_id, request_ids in repeated.items()
        for span in CostSpan.objects.for_tenant(tenant_id).filter(request_id__in=request_ids)
    }


def _may_upgrade(before: CostSpan, draft: SpanDraft) -> bool:
    return before.status == CostSpan.Status.INTERRUPTED and draft.source in GATEWAYS_SOURCES


def _upgrade(interrupted: CostSpan, draft: SpanDraft, now: datetime) -> list[WindowTotal]:
    """Sets right what an interrupted call was booked at, where it has answered after all or had held more; gives the
    new totals."""
    # Read again, and locked: another answer, or an admin, may have been here before.
    span = CostSpan.objects.for_tenant(interrupted.tenant_id).filter(id=interrupted.id).select_for_update().first()
    if span is None or span.status != CostSpan.Status.INTERRUPTED:
        return []
    if draft.status != CostSpan.Status.INTERRUPTED:
        return correct_rows([Correction.by_late_answer(span, draft, now)])
    # What an admin has set is no estimate any more.
    if span.is_estimated and span.cost_nano_usd < draft.cost_nano_usd:
        return correct_rows([Correction.by_more_held(span, draft, now)])
    return []


def _id_of(
    batch: SpanBatch, draft: SpanDraft, new: set[uuid.UUID], earlier: Mapping[tuple[int, str], CostSpan]
) -> uuid.UUID:
    if draft.id in new:
        return draft.id
    before = earlier.get((batch.tenant_id, draft.request_id))
    return before.id if before is not None else draft.id
