"""What the spending routes take and answer, as structs: decoded strictly, described in the schema by themselves.

Money is USD, a decimal string or a number; `parse_usd` says what is refused. Unknown fields are refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from routing.service_tiers import MAX_TIER_LENGTH

# The look-ahead instead of a bare $ keeps a closing line feed out.
_PLAIN = r"^[^\u0000-\u001f\u007f-\u009f]*(?![\s\S])"

Text = Annotated[str, Meta(max_length=200, pattern=_PLAIN)]
ModelName = Annotated[str, Meta(max_length=120, pattern=_PLAIN, examples=["gpt-4o"])]
ProviderName = Annotated[str, Meta(max_length=60, pattern=_PLAIN, examples=["openai"])]
Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]
# Kept as it was written: `parse_usd` reads it and names what is wrong.
Tier = Annotated[
    str,
    Meta(
        max_length=MAX_TIER_LENGTH,
        pattern=_PLAIN,
        description="The vendor's service tier: flex, priority, fast, us, batch; several as fast+us. Empty: standard.",
    ),
]
Searches = Annotated[int, Meta(ge=0, le=1_000_000, description="Searches of the web that the vendor made.")]
Usd = Annotated[str | int | float, Meta(description="USD: decimal string or number.", examples=["0.25"])]
Tools = Annotated[list[Annotated[str, Meta(max_length=200, pattern=_PLAIN)]], Meta(max_length=500)]
Action = Literal["allow", "warn", "degrade", "disable-tools", "hard-stop"]


class AttributionBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who and what the call is for; what is absent comes from the key's own attribution."""

    org: Text | None = None
    user: Text | None = None
    agent: Text | None = None
    feature: Text | None = None
    session: Text | None = None
    task: Text | None = None


class UsageBody(msgspec.Struct, forbid_unknown_fields=True):
    """Tokens of one call in the convention of OpenTelemetry GenAI: `input_tokens` is all input, the cache
    counts are parts of it; `output_tokens` is all output, `reasoning_tokens` a part of it. Beside them, what the vendor
    bills on top: `web_searches`, and the `service_tier` that its answer named."""

    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    cache_write_1h_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0
    web_searches: Searches = 0
    service_tier: Tier = ""


class CheckBody(msgspec.Struct, forbid_unknown_fields=True):
    """A call in question: what it may cost (`estimated_cost`), or its model and size to work that out from."""

    attribution: AttributionBody | None = None
    model: ModelName | None = None
    provider: ProviderName | None = None
    estimated_cost: Usd | None = None
    input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    web_searches: Searches = 0
    service_tier: Tier = ""
    tools: Tools = []


class ReserveBody(CheckBody, forbid_unknown_fields=True):
    """A call to hold money for. The same `idempotency_key` is held once and answered the same."""

    idempotency_key: Annotated[str, Meta(min_length=1, max_length=200, pattern=_PLAIN)] | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None


class WindowAnswer(msgspec.Struct):
    start: datetime
    end: datetime | None


class LookedAtAnswer(msgspec.Struct):
    """One budget as it stood when the call was checked, and what it alone would have answered."""

    id: str
    name: str
    scope: str
    period: Literal["hour", "day", "week", "month", "total"]
    mode: Literal["enforce", "observe"]
    window: WindowAnswer
    limit: str
    soft_limit: str
    hard_limit: str
    spent: str
    reserved: str
    remaining: str
    overspent: str
    state: Literal["active", "warned", "degraded", "stopped"]
    action: Action
    reason: str


class CheckAnswer(msgspec.Struct):
    """May the call be made? `remaining` is the least room of all enforced budgets: after this call where it
    is allowed, as it stands where it is refused; null without any."""

    allowed: bool
    action: Action
    reason: str
    warning: str | None
    decision_id: str
    model: str | None
    estimated_cost: str
    suggested_model: str | None
    disabled_tools: list[str]
    kept_tools: list[str]
    remaining: str | None
    resets_at: datetime | None
    budgets: list[LookedAtAnswer]


class RefusalError(msgspec.Struct):
    code: Literal["budget_exceeded"]
    message: str
    details: dict[str, Any]


class RefusedAnswer(CheckAnswer):
    """A hard stop: the check's answer, and the error beside it. Retry-After says when the budget begins afresh."""

    error: RefusalError


class ReservationAnswer(CheckAnswer):
    """What is held until when, and the check's answer."""

    id: str
    amount: str
    expires_at: datetime


class ReleasedAnswer(msgspec.Struct):
    id: str
    status: Literal["released"]
    released: str
