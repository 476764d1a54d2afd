"""Calls whose process died after the vendor was asked: booked at the estimate, never forgotten.

The hold of a gateway call carries what is needed to book it. While the process lives it extends the
hold; when it no longer does, the worker books a span with status `interrupted`, which an admin can
correct. Should the call answer after all, its real usage replaces the estimate.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from telemetry.span_store import SpanBatch, store_spans

logger = logging.getLogger(__name__)


def payload_for(call: Call, request_id: str, requested_model: str) -> Mapping[str, Any]:
    """What a gateway call's hold carries, JSON-able."""
    return {
        "request_id": request_id,
        "occurred_at": call.now.timestamp(),
        "attribution": call.attribution.as_dict(),
        "api_key": call.api_key,
        "provider": call.provider,
        "model": call.model,
        "requested_model": requested_model,
    }


def book_interrupted(now: datetime) -> int:
    """Books every call whose owner is gone, in all tenants; says how many. A job of the worker."""
    booked = 0
    for tenant_id in Tenant.objects.values_list("id", flat=True):
        for hold in drive(counters().orphans(tenant_id, now.timestamp())):
            drive(_book(hold, now))
            booked += 1
    if booked:
        logger.warning("booked %d interrupted calls at their estimate", booked)
    return booked


def _book(hold: Hold, now: datetime) -> Journey[None]:
    told = hold.payload
    draft = SpanDraft(
        request_id=told.get("request_id") or str(hold.hold_id),
        occurred_at=datetime.fromtimestamp(told.get("occurred_at", now.timestamp()), UTC),
        source="worker",
        cost_nano_usd=hold.amount_nano_usd,
        attribution=Attribution.parse(told.get("attribution")),
        api_key=told.get("api_key", ""),
        provider=told.get("provider", ""),
        model=told.get("model", ""),
        requested_model=told.get("requested_model", ""),
        is_estimated=True,
        status="interrupted",
        reserved_nano_usd=hold.amount_nano_usd,
    )
    batch = SpanBatch(hold.tenant_id, (draft,), now)
    stored = yield AwaitFuture(group_commit.submit(store_spans, batch))
    yield from counters().settle(hold, stored.totals, now.timestamp())
