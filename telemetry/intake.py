"""From a request's body to a span: checked, priced, attributed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from budgets.bodies import UsageBody
from budgets.intake import attribution_of
from budgets.models import ScopeType
from budgets.scope_names import counted_as
from routing.snapshot import CATALOG
from routing.token_usage import TokenUsage
from spendhub.errors import Invalid, SpendHubError
from spendhub.moments import EARLIEST
from spendhub.money import parse_usd
from spendhub.tenants.snapshot import Principal
from telemetry.bodies import SpanBody
from telemetry.drafts import NO_USAGE, SpanDraft
from telemetry.priced import facts_of, price_told, tier_of
from telemetry.request_ids import CallNotBooked, unbooked_calls

MAX_FUTURE = timedelta(minutes=5)
MAX_METADATA_BYTES = 16_384
MAX_SPANS = 10_000
MAX_ERRORS_TOLD = 100


class InvalidSpans(Invalid):
    """Some spans of a list cannot be recorded; none of the list was. `details.errors` names each by its index."""

    code = "invalid_spans"


class CostUnknown(Invalid):
    """A span came with neither a cost, nor usage and a model to work it out from."""

    code = "cost_unknown"


class InvalidSpan(Invalid):
    """A part of a span is impossible, e.g. a moment in the future."""

    code = "invalid_span"


def usage_of(body: UsageBody | None) -> TokenUsage | None:
    """The tokens in the convention of OpenTelemetry GenAI, each counted once. Raises ImpossibleUsage."""
    if body is None:
        return None
    return TokenUsage.from_totals(
        input_tokens=body.input_tokens,
        output_tokens=body.output_tokens,
        cache_read_tokens=body.cache_read_tokens,
        cache_write_tokens=body.cache_write_tokens,
        reasoning_tokens=body.reasoning_tokens,
        cache_write_1h_tokens=body.cache_write_1h_tokens,
        web_searches=body.web_searches,
    )


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata as it came. Raises InvalidSpan when it is too large to keep beside every call."""
    if metadata and len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise InvalidSpan(f"metadata may have at most {MAX_METADATA_BYTES} bytes as JSON", field="metadata")
    return metadata


def draft_of(body: SpanBody, principal: Principal, now: datetime, source: str = "api") -> SpanDraft:
    """One span from its body. Raises InvalidSpan, CostUnknown, ImpossibleUsage, InvalidMoney, UnpricedModel, and
    CallNotBooked where only the gateway may book the call."""
    return _draft_of(body, principal, now, source, unbooked_calls(principal.tenant_id, (body.request_id,)))


def _draft_of(body: SpanBody, principal: Principal, now: datetime, source: str, unbooked: frozenset[str]) -> SpanDraft:
    if body.request_id in unbooked:
        raise CallNotBooked(body.request_id)
    occurred_at = _moment(body.occurred_at, now)
    usage = usage_of(body.usage)
    requested = body.requested_model or body.model or ""
    named = body.model or requested
    model = CATALOG.current().resolve(principal.tenant_id, named) if named else None
    breakdown: Mapping[str, int] = {}
    is_estimated = False
    tier = tier_of(body.usage)
    facts = facts_of(usage, tier)
    if body.cost is not None:
        cost = parse_usd(body.cost)
    elif usage is None or not named:
        raise CostUnknown("a span needs its cost, or usage and a model to work it out from", field="cost")
    else:
        unpriced = principal.tenant.unpriced_models
        quote = CATALOG.current().quote(
            principal.tenant_id, named, occurred_at, unpriced_models=unpriced, service_tier=tier
        )
        priced = price_told(usage, quote)
        cost, breakdown, is_estimated = priced.cost_nano_usd, priced.breakdown, priced.is_estimated
        facts |= priced.facts
    return SpanDraft(
        request_id=body.request_id or uuid.uuid4().hex,
        occurred_at=occurred_at,
        source=source,
        cost_nano_usd=cost,
        attribution=attribution_of(body.attribution, principal),
        api_key=principal.key_prefix,
        provider=counted_as(principal.tenant_id, ScopeType.PROVIDER, body.provider or "")
        or (model.provider.name if model is not None else ""),
        model=model.name if model is not None else named,
        requested_model=requested,
        usage=usage or NO_USAGE,
        breakdown=breakdown,
        is_estimated=is_estimated,
        status=body.status,
        error_code=body.error_code,
        duration_ms=body.duration_ms,
        first_token_ms=body.first_token_ms,
        trace_id=body.trace_id,
        parent_id=body.parent_id,
        metadata={**checked_metadata(body.metadata), **facts},
    )


def drafts_of(bodies: Sequence[SpanBody], principal: Principal, now: datetime) -> list[SpanDraft]:
    """All spans of a list, or InvalidSpans naming each that cannot be recorded by its index."""
    if not 1 <= len(bodies) <= MAX_SPANS:
        raise InvalidSpans(f"send 1 to {MAX_SPANS} spans at once, not {len(bodies)}")
    drafts: list[SpanDraft] = []
    errors: list[dict[str, Any]] = []
    unbooked = unbooked_calls(principal.tenant_id, (body.request_id for body in bodies))
    for index, body in enumerate(bodies):
        try:
            drafts.append(_draft_of(body, principal, now, "api", unbooked))
        except SpendHubError as error:
            errors.append({"index": index, "code": error.code, "message": error.message, "details": error.details})
            if len(errors) >= MAX_ERRORS_TOLD:
                break
    if errors:
        first = errors[0]
        raise InvalidSpans(f"[{first['index']}]: {first['message']}; nothing was recorded", errors=errors)
    return drafts


def _moment(given: datetime | None, now: datetime) -> datetime:
    if given is None:
        return now
    try:
        moment = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except OverflowError:
        raise InvalidSpan("occurred_at is beyond the years that there are", field="occurred_at") from None
    if not EARLIEST <= moment <= now + MAX_FUTURE:
        raise InvalidSpan("occurred_at must lie after 1970 and at most 5 minutes in the future", field="occurred_at")
    return moment
