"""GET /v1/budget: what is left for whoever holds the key, and until when. Help for agents; stores nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from budgets.answers import iso_of_epoch, looked_at_answer
from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.decisions import Decision
from budgets.reservations import look_at
from routing.snapshot import CATALOG
from spendhub.gateway.attribution import attribute
from spendhub.gateway.exchange import Exchange
from spendhub.money import format_usd
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal


async def what_is_left(exchange: Exchange, principal: Principal) -> dict[str, Any]:
    """The budgets that a call of this key falls under, by the same headers as a call; `?model=` looks at that model's
    too. `remaining` is the least room of the enforced ones, null where nothing limits; `until` is when there is more
    of it, null for never."""
    model = CATALOG.current().resolve(principal.tenant_id, exchange.query.get("model", ""))
    attribution = attribute(exchange, None, None, principal.attribution)
    decision = await look_for(
        principal, attribution, provider=model.provider.name if model else "", model=model.name if model else ""
    )
    remaining = decision.remaining_nano_usd
    return {
        "object": "budget",
        "allowed": decision.allowed,
        "action": decision.action,
        "remaining": None if remaining is None else format_usd(remaining),
        "until": iso_of_epoch(_renewed_at(decision)),
        "attribution": attribution.as_dict(),
        "budgets": [looked_at_answer(each) for each in decision.looked_at],
    }


def _renewed_at(decision: Decision) -> int | None:
    """When the last of those enforced budgets that have the least room begins afresh, in epoch seconds."""
    enforced = [each for each in decision.looked_at if each.matched.budget.is_enforced]
    least = min((each.remaining_nano_usd for each in enforced), default=None)
    ends = [each.matched.window.ends_at for each in enforced if each.remaining_nano_usd == least]
    known_ends = [end for end in ends if end is not None]
    return max(known_ends) if known_ends and len(known_ends) == len(ends) else None


async def look_for(principal: Principal, attribution: Attribution, *, provider: str = "", model: str = "") -> Decision:
    """How the budgets stand that a call of this kind falls under: those of the model too, where it is named."""
    call = Call(
        tenant_id=principal.tenant_id,
        now=datetime.now(UTC),
        estimated_nano_usd=0,
        attribution=attribution,
        api_key=principal.key_prefix,
        provider=provider,
        model=model,
    )
    return await drive_async(look_at(call))


async def share_left(principal: Principal, attribution: Attribution) -> float | None:
    """How much of the tightest enforced budget is left, 0 to 1, whichever model is chosen; None without a budget."""
    decision = await look_for(principal, attribution)
    shares = [
        each.remaining_nano_usd / each.matched.hard_nano_usd if each.matched.hard_nano_usd else 0.0
        for each in decision.looked_at
        if each.matched.budget.is_enforced
    ]
    return min(shares, default=None)
