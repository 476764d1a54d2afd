"""The recipe's POST /api/budget/record: what a call has cost, in the scope it names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from msgspec.structs import replace

from budgets.bodies import UsageBody
from budgets.counters.drive import drive
from budgets.errors import ReservationMissing
from budgets.intake import scoped
from budgets.recipe import RecipeError, RecipeView, as_number, idempotency_key_of
from spendhub.api.lean import LeanAnswer
from spendhub.errors import Invalid
from spendhub.money import parse_usd
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal
from telemetry.bodies import RecipeRecordAnswer, RecipeRecordBody, SpanBody
from telemetry.drafts import SpanDraft
from telemetry.intake import checked_metadata, draft_of, usage_of
from telemetry.models import CostSpan
from telemetry.recording import Settlement, commit_by_key, record


@extend_schema(tags=["recipe"])
class RecipeRecordView(RecipeView[RecipeRecordBody]):
    """Records what a call has cost: actualCost, or the tokens of a modelId. With the requestId of a check, the
    money that it held is settled; the same requestId counts once."""

    accepts = RecipeRecordBody
    answers = {200: RecipeRecordAnswer, 400: RecipeError}

    def answer(self, principal: Principal, body: RecipeRecordBody, now: datetime, **path: Any) -> LeanAnswer:
        if not body.scope_key.strip():
            raise Invalid("scopeKey must not be empty", field="scopeKey")
        if body.request_id is not None:
            try:
                done = drive(
                    commit_by_key(
                        principal.tenant_id,
                        idempotency_key_of(body.request_id),
                        settlement_of(body),
                        unpriced_models=principal.tenant.unpriced_models,
                        source="recipe",
                        now=now,
                    )
                )
            except ReservationMissing:
                pass  # its check held nothing, or there was none: it is recorded as it comes
            else:
                return _answer(str(done.span_id), done.cost_nano_usd, is_duplicate=done.is_repeat)
        draft = span_of(body, principal, now)
        stored = drive(record(principal.tenant_id, [draft], now))
        if stored.accepted:
            return _answer(str(stored.ids[0]), draft.cost_nano_usd, is_duplicate=False)
        # The earlier span stands, whatever this repeat says it cost.
        booked = CostSpan.objects.for_tenant(principal.tenant_id).get(id=stored.ids[0])
        return _answer(str(booked.id), booked.cost_nano_usd, is_duplicate=True)


def settlement_of(body: RecipeRecordBody) -> Settlement:
    """What the reserved call turned out to be."""
    return Settlement(
        usage=usage_of(tokens_of(body)),
        actual_nano_usd=None if body.actual_cost is None else parse_usd(body.actual_cost),
        model=body.model_id,
        provider=body.provider,
        request_id=body.request_id,
        metadata=checked_metadata(body.metadata),
    )


def span_of(body: RecipeRecordBody, principal: Principal, now: datetime) -> SpanDraft:
    """A span in the scope that the body names."""
    scope = (body.scope_type, body.scope_key)
    who, provider, model = scoped(scope, principal, Attribution(), body.provider or "", body.model_id or "")
    draft = draft_of(
        SpanBody(
            request_id=body.request_id,
            attribution=None,
            provider=provider or None,
            model=model or None,
            usage=tokens_of(body),
            cost=body.actual_cost,
            metadata=body.metadata,
        ),
        principal,
        now,
        "recipe",
    )
    return replace(draft, attribution=who.over(draft.attribution))


def tokens_of(body: RecipeRecordBody) -> UsageBody | None:
    """The tokens, None when neither count was given."""
    if body.input_tokens is None and body.output_tokens is None:
        return None
    return UsageBody(input_tokens=body.input_tokens or 0, output_tokens=body.output_tokens or 0)


def _answer(span_id: str, cost_nano_usd: int, *, is_duplicate: bool) -> LeanAnswer:
    told = {"ok": True, "spanId": span_id, "cost": as_number(cost_nano_usd), "duplicate": is_duplicate}
    return LeanAnswer(200, told)
