"""What a call that was told us has cost, where its cost is ours to work out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgets.bodies import UsageBody
from routing.model_facts import Quote
from routing.pricing import is_whole, price_usage
from routing.service_tiers import tier_name
from routing.token_usage import TokenUsage


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost in nano_usd, its parts, and whether some of it is a guess; `facts` are for the span's metadata."""

    cost_nano_usd: int
    breakdown: Mapping[str, int]
    is_estimated: bool
    facts: Mapping[str, Any]


def price_told(usage: TokenUsage, quote: Quote) -> Priced:
    """The cost of `usage` at `quote`, which is of the tier the call was given in."""
    priced = price_usage(usage, quote.price)
    whole = is_whole(usage, quote.price)
    facts: dict[str, Any] = {} if whole else {"not_priced": ["web_search"]}
    if quote.model is not None and quote.model.owner_id is not None:
        facts["own_model_id"] = quote.model.id  # its name may be another one's later
    return Priced(priced.total_nano_usd, priced.by_kind(), quote.is_estimated or not whole, facts)


def tier_of(body: UsageBody | None) -> str:
    """The service tier that a body names, as prices name it."""
    return tier_name(*body.service_tier.split("+")) if body is not None and body.service_tier else ""


def facts_of(usage: TokenUsage | None, tier: str) -> dict[str, Any]:
    """What the span's metadata keeps of a call beside its tokens."""
    facts: dict[str, Any] = {"service_tier": tier} if tier else {}
    if usage is not None and usage.web_searches:
        facts["web_searches"] = usage.web_searches
    return facts
