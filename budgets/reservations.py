"""Check, reserve, release: money is held before it is spent, in every matching budget or in none.

Each is a journey (spendhub.steps): the data plane, the API and the worker share one body. Commits
live in telemetry.recording, where the span is.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from msgspec.structs import replace

from budgets.calls import Call, scopes_of
from budgets.counters.base import Count, CounterLine, Hold, HoldKind, Reserved
from budgets.counters.charge import counters
from budgets.decision_log import keep_sample, store_decisions
from budgets.decisions import Decision, ModelsKnown, decide
from budgets.errors import (
    BudgetExceeded,
    EstimateTooLarge,
    IdempotencyConflict,
    ReservationMissing,
    ReservationSettled,
)
from budgets.known_models import known_models
from budgets.matching import Matches, match_budgets
from budgets.models import Reservation
from budgets.snapshot import tenant_budgets
from budgets.suggestions import model_that_fits
from spendhub import group_commit
from spendhub.bulk_insert import insert_rows, read_uuid
from spendhub.ids import new_id
from spendhub.money import MAX_NANO_USD
from spendhub.steps import AwaitFuture, CallInThread, Journey

# Hold ids made from idempotency keys: the same key finds the same hold.
_KEYED = uuid.UUID("6f1c9b2e-2d39-5d0a-9a5e-0c5a6a0f9b71")


class HeldCall(msgspec.Struct, frozen=True):
    """A call that was let through. `hold` is None for a reservation that no budget matches."""

    call: Call
    decision: Decision
    hold: Hold | None
    matched: Matches


@dataclass(frozen=True, slots=True)
class DurableReservation:
    """A reservation made over the API, as it was first answered."""

    id: uuid.UUID
    amount_nano_usd: int
    expires_at: datetime
    answer: Mapping[str, Any]
    is_repeat: bool


def look_at(call: Call) -> Journey[Decision]:
    """What a reserve of this call would answer now. Holds nothing and stores nothing. Raises EstimateTooLarge."""
    matched = match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now)
    counts: tuple[Count, ...] = ()
    if matched:
        counts = yield from counters().look(call.tenant_id, matched.lines, call.now.timestamp())
    decision = decide(new_id(), call, matched, counts, _models_of(call))
    if decision.allowed and _is_too_large(call):
        raise EstimateTooLarge
    return decision


def check(call: Call) -> Journey[Decision]:
    """As `look_at`, but stores refusals, with a cheaper model that would fit, and a sample of the rest."""
    decision = yield from look_at(call)
    if decision.allowed:
        keep_sample(decision)
    else:
        decision = yield from _kept(decision)
    return decision


def reserve(
    call: Call,
    *,
    hold_id: uuid.UUID | None = None,
    kind: HoldKind = "call",
    ttl_seconds: float | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Journey[HeldCall]:
    """As `try_to_reserve`, but a refusal is stored, with a cheaper model that would fit: the call has been refused."""
    try:
        return (yield from try_to_reserve(call, hold_id=hold_id, kind=kind, ttl_seconds=ttl_seconds, payload=payload))
    except BudgetExceeded as refusal:
        raise (yield from refuse(refusal)) from None


def refuse(refusal: BudgetExceeded) -> Journey[BudgetExceeded]:
    """Stores the refusal of a call for which nothing else will be tried; the refusal as its caller is told it, with a
    cheaper model that would still fit, where there is one."""
    return BudgetExceeded((yield from _kept(refusal.decision)))


def try_to_reserve(
    call: Call,
    *,
    hold_id: uuid.UUID | None = None,
    kind: HoldKind = "call",
    ttl_seconds: float | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Journey[HeldCall]:
    """Holds the call's estimate in every matching budget, or raises BudgetExceeded or, where no budget stops what is
    more than can be held, EstimateTooLarge, and holds nothing.

    A hold of kind `call` is extended while this process lives and stays until it is settled;
    `payload` is what the worker needs to book it if the process dies (see telemetry.interrupted).
    """
    matched = match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now)
    now = call.now.timestamp()
    hold: Hold | None = None
    reserved = Reserved(True, ())
    if _is_too_large(call):
        # Before the counters, whose sums it could outgrow; an enforced budget has no room for it, and refuses it.
        yield from look_at(call)
    # A gateway call is held even where no budget matches: should its process die, it must be found.
    if matched or kind == "call":
        hold = Hold(
            tenant_id=call.tenant_id,
            hold_id=hold_id or new_id(),
            kind=kind,
            lines=matched.lines,
            amount_nano_usd=call.estimated_nano_usd,
            expires_at=now + (ttl_seconds or settings.CALL_HOLD_SECONDS),
            payload=payload or {},
        )
        if any(each.budget.is_frozen and each.budget.is_enforced for each in matched):
            reserved = Reserved(False, (yield from counters().look(call.tenant_id, hold.lines, now)))
        else:
            reserved = yield from counters().reserve(hold, now)
    decision = decide(new_id(), call, matched, reserved.counts, _models_of(call))
    if reserved.is_held:
        keep_sample(decision)
        # A repeat of a hold that is there already finds its own money in the counts: it is held all the same.
        return HeldCall(call, decision if decision.allowed else replace(decision, allowed=True), hold, matched)
    raise BudgetExceeded(decision)


def release(held: HeldCall, now: datetime) -> Journey[None]:
    """Gives the held money back; nothing was spent."""
    if held.hold is not None:
        yield from counters().settle(held.hold, (), now.timestamp())


def abandon(held: Sequence[HeldCall]) -> None:
    """Extends these calls' holds no more: once they have run out, the worker books them (telemetry.interrupted)."""
    for each in held:
        if each.hold is not None:
            counters().holds.remove(each.hold.hold_id)


def reserve_durably(
    call: Call, *, idempotency_key: str | None, request_sha256: str, ttl_seconds: int, answer: Any
) -> Journey[DurableReservation]:
    """A reservation that outlives this process: held, and on disk before it is answered.

    `answer(decision, reservation_id, expires_at)` gives what the caller will be told; a repeat with
    the same idempotency key is told the same. Raises BudgetExceeded, and IdempotencyConflict when
    the key was used for another request.
    """
    reservation_id = hold_id_for(call.tenant_id, idempotency_key) if idempotency_key else new_id()
    expires_at = call.now + timedelta(seconds=ttl_seconds)
    try:
        held = yield from reserve(call, hold_id=reservation_id, kind="reservation", ttl_seconds=ttl_seconds)
    except BudgetExceeded:
        # The money may be gone because this very request has already had it.
        known = None
        if idempotency_key:
            known = yield CallInThread(find_reservation, (call.tenant_id, reservation_id))
        if known is None:
            raise
        return _repeat(known, request_sha256, idempotency_key or "")
    told = answer(held.decision, reservation_id, expires_at)
    row = _ReservationRow(
        reservation_id, call, idempotency_key, request_sha256, held.hold.lines if held.hold else (), told, expires_at
    )
    is_new = yield AwaitFuture(group_commit.submit(store_reservations, row))
    if is_new:
        return DurableReservation(reservation_id, call.estimated_nano_usd, expires_at, told, is_repeat=False)
    known = yield CallInThread(find_reservation, (call.tenant_id, reservation_id))
    if known is None:
        raise ReservationMissing(reservation_id)
    still_held = known.status == Reservation.Status.HELD and known.expires_at > call.now
    if not still_held:
        # The first request's hold is long settled; the one just made would hold the money a second time.
        yield from release(held, call.now)
    return _repeat(known, request_sha256, idempotency_key or "")


def release_reservation(tenant_id: int, reservation_id: uuid.UUID, now: datetime) -> Journey[Reservation]:
    """Gives a reservation's money back. Repeating it answers the same.
    Raises ReservationMissing, and ReservationSettled when it was committed."""
    known: Reservation | None = yield CallInThread(find_reservation, (tenant_id, reservation_id))
    if known is None:
        raise ReservationMissing(reservation_id)
    if known.status == Reservation.Status.HELD:
        known = yield AwaitFuture(group_commit.submit(mark_released, (tenant_id, reservation_id, now)))
        assert known is not None, "set just now"
    if known.status != Reservation.Status.RELEASED:
        raise ReservationSettled(reservation_id, known.status)
    yield from counters().settle(hold_of(known), (), now.timestamp())
    return known


def hold_id_for(tenant_id: int, idempotency_key: str) -> uuid.UUID:
    """The reservation id that an idempotency key of this tenant always gets."""
    return uuid.uuid5(_KEYED, f"{tenant_id}:{idempotency_key}")


def find_reservation(tenant_id: int, reservation_id: uuid.UUID) -> Reservation | None:
    """The stored reservation, or None. Reads the database."""
    return Reservation.objects.for_tenant(tenant_id).filter(id=reservation_id).first()


def hold_of(row: Reservation) -> Hold:
    """The hold that a stored reservation has (or had) in the counter store."""
    return Hold(
        tenant_id=row.tenant_id,
        hold_id=row.id,
        kind="reservation",
        lines=tuple(
            CounterLine(uuid.UUID(each[0]), each[1], int(each[2]), None if each[3] is None else int(each[3]), 0, False)
            for each in row.lines
        ),
        amount_nano_usd=row.amount_nano_usd,
        expires_at=row.expires_at.timestamp(),
        payload={},
    )


@dataclass(frozen=True, slots=True)
class _ReservationRow:
    id: uuid.UUID
    call: Call
    idempotency_key: str | None
    request_sha256: str
    lines: Sequence[Any]
    answer: Mapping[str, Any]
    expires_at: datetime


def store_reservations(rows: Sequence[_ReservationRow]) -> list[bool]:
    """Applier of the group commit: True for each reservation that is new, False for a repeat."""
    columns = (
        "id", "tenant_id", "idempotency_key", "request_sha256", "attribution", "api_key", "provider", "model",
        "amount_nano_usd", "lines", "answer", "status", "created_at", "expires_at",
    )  # fmt: skip
    first: dict[uuid.UUID, _ReservationRow] = {}
    for row in rows:
        first.setdefault(row.id, row)
    stored = insert_rows(
        Reservation,
        columns,
        [
            (
                row.id,
                row.call.tenant_id,
                row.idempotency_key,
                row.request_sha256,
                row.call.attribution.as_dict(),
                row.call.api_key,
                row.call.provider,
                row.call.model,
                row.call.estimated_nano_usd,
                [[str(line.budget_id), line.scope_key, line.starts_at, line.ends_at] for line in row.lines],
                dict(row.answer),
                Reservation.Status.HELD.value,
                row.call.now,
                row.expires_at,
            )
            for row in first.values()
        ],
        "DO NOTHING",
        ("id",),
    )
    new = {read_uuid(each[0]) for each in stored}
    return [row.id in new and first[row.id] is row for row in rows]


def mark_released(wanted: Sequence[tuple[int, uuid.UUID, datetime]]) -> list[Reservation]:
    """Applier of the group commit: ends held reservations as released; answers each row as it then is."""
    rows = []
    for tenant_id, reservation_id, now in wanted:
        mine = Reservation.objects.for_tenant(tenant_id).filter(id=reservation_id)
        mine.filter(status=Reservation.Status.HELD).update(status=Reservation.Status.RELEASED, settled_at=now)
        rows.append(mine.get())
    return rows


def _repeat(known: Reservation, request_sha256: str, idempotency_key: str) -> DurableReservation:
    if known.request_sha256 != request_sha256:
        raise IdempotencyConflict(idempotency_key)
    return DurableReservation(known.id, known.amount_nano_usd, known.expires_at, known.answer, is_repeat=True)


def _kept(decision: Decision) -> Journey[Decision]:
    """The refusal as it is told and stored: with a cheaper model that would still fit, where there is one."""
    suggested = yield from _cheaper_that_fits(decision)
    if suggested is not None:
        decision = replace(decision, suggested_model=suggested)
    yield AwaitFuture(group_commit.submit(store_decisions, decision))
    return decision


def _cheaper_that_fits(decision: Decision) -> Journey[str | None]:
    if decision.reason == "frozen":
        return None
    call = decision.call
    candidate = model_that_fits(decision)
    if candidate is None:
        return None
    model, provider, estimate = candidate
    # The cheaper model may fall under budgets of its own: it is suggested only if they too have room.
    scopes = scopes_of(call.attribution, call.api_key, provider, model)
    matched = match_budgets(tenant_budgets(call.tenant_id), scopes, call.now)
    counts = yield from counters().look(call.tenant_id, [each.line for each in matched], call.now.timestamp())
    other = replace(
        call, model=model, provider=provider, model_names=frozenset((model,)), estimated_nano_usd=estimate, tools=()
    )
    return model if decide(decision.id, other, matched, counts, _models_of(call)).allowed else None


def _is_too_large(call: Call) -> bool:
    return call.estimated_nano_usd > MAX_NANO_USD


def _models_of(call: Call) -> ModelsKnown:
    return lambda: known_models(call.tenant_id)
