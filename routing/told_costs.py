"""What a vendor itself says that a call has cost. Its bill counts, before our list of prices.

Sources, read on 2026-11-29: docs.x.ai, "Cost Tracking" (`cost_in_usd_ticks`: what was billed, discounts and tools
included; 10^10 ticks are a dollar); openrouter.ai/docs, "Usage Accounting" and "Provider Routing" (`cost` in credits, a
dollar each; `is_byok` and `cost_details.upstream_inference_cost`: what the vendor behind it bills to a key of one's
own; `provider.max_price` in USD per million tokens). docs/pricing.md, "What the vendor says itself".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from routing.model_facts import ModelFacts
from routing.pricing import Rates
from routing.upstreams.openai.addresses import host_of
from spendhub.errors import InvalidMoney
from spendhub.money import MAX_NANO_USD, NANO_PER_USD, parse_usd, round_nano_usd

TICKS_PER_NANO_USD = 10
# Behind it stand hosts with prices of their own.
_OPENROUTER = re.compile(r"(^|\.)openrouter\.ai$")


def told_nano_usd(usage: Mapping[str, Any], model: ModelFacts) -> int | None:
    """What `usage`, as the vendor wrote it, says that the call has cost; None where it says nothing, or nonsense."""
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks <= MAX_NANO_USD * TICKS_PER_NANO_USD:
        return round_nano_usd(ticks, TICKS_PER_NANO_USD)
    if "cost" not in usage or not _is_openrouters(model):
        return None  # elsewhere a `cost` may be in any currency
    try:
        cost = parse_usd(usage["cost"])
        if usage.get("is_byok") is True:
            details = usage.get("cost_details")
            cost += parse_usd((details if isinstance(details, Mapping) else {}).get("upstream_inference_cost"))  # type: ignore[arg-type]  # whatever it is, it is refused
    except InvalidMoney:
        return None
    return cost


def price_ceiling(model: ModelFacts, rates: Rates) -> dict[str, Any]:
    """The fields by which a request asks for hosts that cost no more than `rates`; none where there are no hosts."""
    if not _is_openrouters(model):
        return {}
    completion = max(rates.output, rates.reasoning or 0)
    ceiling = {"prompt": rates.input / NANO_PER_USD, "completion": completion / NANO_PER_USD, "request": 0}
    return {"provider": {"max_price": ceiling}}


def _is_openrouters(model: ModelFacts) -> bool:
    return bool(_OPENROUTER.search(host_of(model.base_url)))
