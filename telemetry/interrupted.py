"""Calls whose process died after the vendor was asked: booked at the estimate, never forgotten.

The hold of a gateway call carries what is needed to book it. While the process lives it extends the
hold; when it no longer does, the worker books a span with status `interrupted`, which an admin can
correct. Should the call answer after all, its real usage replaces the estimate.

A stream that outgrew its hold has several, which are one span: all that was held is the better estimate. They may end
seconds apart, so each says how much was held when it was made, and one that is found later raises what was booked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from budgets.calls import Call
from budgets.counters.base import Hold
from budgets.counters.charge import counters
from budgets.counters.drive import drive
from spendhub import group_commit
from spendhub.steps import AwaitFuture, Journey
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan
from telemetry.recording import ended_with_spans
from telemetry.span_store import SpanBatch, StoredBatch, store_spans

logger = logging.getLogger(__name__)

# Of how its model was chosen: what reports group by. A payload is written with each call, so it is kept small.
_KEPT_FACTS = ("route", "strategy")


def payload_for(
    call: Call,
    request_id: str,
    requested_model: str,
    trace_id: str,
    facts: Mapping[str, Any],
    *,
    held_nano_usd: int | None = None,
) -> Mapping[str, Any]:
    """What a gateway call's hold carries, JSON-able. `facts` are its span's metadata; `held_nano_usd` is all that is
    held for the call, this hold included, where it has others."""
    payload: dict[str, Any] = {
        "request_id": request_id,
        "occurred_at": call.now.timestamp(),
        "attribution": call.attribution.as_dict(),
        "api_key": call.api_key,
        "provider": call.provider,
        "model": call.model,
        "requested_model": requested_model,
        "trace_id": trace_id,
    }
    if "route" in facts:
        payload["metadata"] = {name: facts[name] for name in _KEPT_FACTS if name in facts}
    if held_nano_usd is not None:
        payload["held_nano_usd"] = held_nano_usd
    return payload


def book_interrupted(now: datetime) -> int:
    """Books every call whose owner is gone, in all tenants; says how many. A job of the worker."""
    booked = 0
    for tenant_id in Tenant.objects.values_list("id", flat=True):
        for holds in _by_call(drive(counters().orphans(tenant_id, now.timestamp()))):
            booked += drive(book_holds(holds, now))
    if booked:
        logger.warning("booked %d interrupted calls at their estimate", booked)
    return booked


def _by_call(holds: Sequence[Hold]) -> Iterable[Sequence[Hold]]:
    calls: dict[str, list[Hold]] = {}
    for hold in holds:
        calls.setdefault(_request_id_of(hold), []).append(hold)
    return calls.values()


def book_holds(holds: Sequence[Hold], now: datetime) -> Journey[int]:
    """One span for all holds of one call, and their end; 1 where it is new, 0 where the call was booked already."""
    epoch, ended_holds = ended_with_spans(*(hold.hold_id for hold in holds))
    batch = SpanBatch(holds[0].tenant_id, (_draft_of(holds, now),), now, ended_holds=ended_holds)
    stored: StoredBatch = yield AwaitFuture(group_commit.submit(store_spans, batch))
    for hold in holds:
        yield from counters().settle(hold, stored.totals, now.timestamp(), epoch)
    return stored.accepted


def _draft_of(holds: Sequence[Hold], now: datetime) -> SpanDraft:
    told = holds[0].payload
    held_nano_usd = max(each.payload.get("held_nano_usd", each.amount_nano_usd) for each in holds)
    return SpanDraft(
        request_id=_request_id_of(holds[0]),
        occurred_at=datetime.fromtimestamp(told.get("occurred_at", now.timestamp()), UTC),
        source="worker",
        cost_nano_usd=held_nano_usd,
        attribution=Attribution.parse(told.get("attribution")),
        api_key=told.get("api_key", ""),
        provider=told.get("provider", ""),
        model=told.get("model", ""),
        requested_model=told.get("requested_model", ""),
        is_estimated=True,
        status=CostSpan.Status.INTERRUPTED.value,
        reserved_nano_usd=held_nano_usd,
        trace_id=told.get("trace_id", ""),
        metadata=told.get("metadata", {}),
    )


def _request_id_of(hold: Hold) -> str:
    return hold.payload.get("request_id") or str(hold.hold_id)
