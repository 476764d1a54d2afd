"""A span's cost set right afterwards: the ledger moves by the difference, and who did it is kept."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from budgets.calls import scopes_of
from budgets.counters.base import WindowTotal
from budgets.counters.charge import counters
from budgets.ledger import Charge, add_charges, budgets_for_writing
from budgets.matching import count_budgets
from budgets.snapshot import NO_BUDGETS
from spendhub import group_commit
from spendhub.errors import Missing
from spendhub.steps import AwaitFuture, Journey
from spendhub.tenants.attribution import DIMENSIONS, Attribution
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan, SpanCorrection


class SpanMissing(Missing):
    """No span of this tenant has that id."""

    code = "span_missing"

    def __init__(self, span_id: uuid.UUID | str) -> None:
        super().__init__(f"There is no span {str(span_id)[:80]!r}.", span_id=str(span_id)[:80])


@dataclass(frozen=True, slots=True)
class Correction:
    """What a span's cost (nano_usd) becomes; `facts` are further columns that are known now."""

    tenant_id: int
    span_id: uuid.UUID
    cost_nano_usd: int
    actor: str
    reason: str
    now: datetime
    facts: Mapping[str, Any]

    @classmethod
    def by_late_answer(cls, span: CostSpan, draft: SpanDraft, now: datetime) -> Correction:
        """The call that was booked as interrupted was alive after all: its real usage replaces the estimate."""
        usage = draft.usage
        return cls(
            span.tenant_id,
            span.id,
            draft.cost_nano_usd,
            "system",
            "the call answered after its hold had ended",
            now,
            {
                "status": draft.status,
                "is_estimated": draft.is_estimated,
                "breakdown": dict(draft.breakdown),
                "input_tokens": usage.input_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "cache_write_1h_tokens": usage.cache_write_1h_tokens,
                "output_tokens": usage.output_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "duration_ms": draft.duration_ms,
                # It may have held more since the worker booked it.
                "reserved_nano_usd": draft.reserved_nano_usd,
            },
        )

    @classmethod
    def by_more_held(cls, span: CostSpan, draft: SpanDraft, now: datetime) -> Correction:
        """More had been held for the interrupted call than it was booked at: that is the better estimate."""
        facts = {"reserved_nano_usd": draft.cost_nano_usd}
        why = "more had been held for the call"
        return cls(span.tenant_id, span.id, draft.cost_nano_usd, "system", why, now, facts)


def correct_span(
    tenant_id: int, span_id: uuid.UUID, cost_nano_usd: int, *, actor: str, reason: str, now: datetime
) -> Journey[None]:
    """Sets what a span cost; budgets follow at once. Raises SpanMissing."""
    correction = Correction(tenant_id, span_id, cost_nano_usd, actor, reason, now, {"is_estimated": False})
    totals = yield AwaitFuture(group_commit.submit(apply_corrections, correction))
    yield from counters().publish(tenant_id, totals)


def apply_corrections(corrections: Sequence[Correction]) -> list[list[WindowTotal]]:
    """Applier of the group commit."""
    return [correct_rows([correction]) for correction in corrections]


def correct_rows(corrections: Sequence[Correction]) -> list[WindowTotal]:
    """Applies corrections inside the caller's transaction; gives the new totals."""
    totals: list[WindowTotal] = []
    for correction in corrections:
        mine = CostSpan.objects.for_tenant(correction.tenant_id).filter(id=correction.span_id)
        span = mine.select_for_update().first()
        if span is None:
            raise SpanMissing(correction.span_id)
        difference = correction.cost_nano_usd - span.cost_nano_usd
        SpanCorrection.objects.create(
            tenant_id=span.tenant_id,
            span=span,
            at=correction.now,
            actor=correction.actor,
            reason=correction.reason[:200],
            from_nano_usd=span.cost_nano_usd,
            to_nano_usd=correction.cost_nano_usd,
        )
        mine.update(cost_nano_usd=correction.cost_nano_usd, **correction.facts)
        if difference:
            budgets = budgets_for_writing()
            who = Attribution(*(getattr(span, dimension) or None for dimension in DIMENSIONS))
            matched = count_budgets(
                budgets.get(span.tenant_id, NO_BUDGETS),
                scopes_of(who, span.api_key, span.provider, span.model),
                span.occurred_at,
            )
            charges = [Charge(span.tenant_id, each, difference) for each in matched]
            totals.extend(each.total for each in add_charges(charges, correction.now).values())
    return totals
