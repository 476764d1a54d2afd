"""GET /v1/budget: what is left for whoever holds the key, and until when. Help for agents; stores nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from budgets.answers import iso, looked_at_answer
from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.reservations import look_at
from routing.snapshot import CATALOG
from spendhub.gateway.attribution import attribute
from spendhub.gateway.exchange import Exchange
from spendhub.money import format_usd
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal


async def what_is_left(exchange: Exchange, principal: Principal) -> dict[str, Any]:
    """The budgets that a call of this key falls under, by the same headers as a call; `?model=` looks at that model's
    too. `remaining` is the least room of the enforced ones, null where nothing limits."""
    model = CATALOG.current().resolve(principal.tenant_id, exchange.query.get("model", ""))
    call = Call(
        tenant_id=principal.tenant_id,
        now=datetime.now(UTC),
        estimated_nano_usd=0,
        attribution=attribute(exchange, None, None, principal.attribution),
        api_key=principal.key_prefix,
        provider=model.provider.name if model is not None else "",
        model=model.name if model is not None else "",
    )
    decision = await drive_async(look_at(call))
    remaining, resets_at = decision.remaining_nano_usd, decision.resets_at
    ends = [each.matched.window.ends_at for each in decision.looked_at if each.matched.budget.is_enforced]
    known_ends = [end for end in ends if end is not None]
    until = resets_at or (datetime.fromtimestamp(min(known_ends), UTC) if known_ends else None)
    return {
        "object": "budget",
        "allowed": decision.allowed,
        "action": decision.action,
        "remaining": None if remaining is None else format_usd(remaining),
        "until": None if until is None else iso(until),
        "attribution": call.attribution.as_dict(),
        "budgets": [looked_at_answer(each) for each in decision.looked_at],
    }


async def share_left(principal: Principal, attribution: Attribution) -> float | None:
    """How much of the tightest enforced budget is left, 0 to 1, whichever model is chosen; None without a budget."""
    call = Call(
        tenant_id=principal.tenant_id,
        now=datetime.now(UTC),
        estimated_nano_usd=0,
        attribution=attribution,
        api_key=principal.key_prefix,
    )
    decision = await drive_async(look_at(call))
    shares = [
        each.remaining_nano_usd / each.matched.hard_nano_usd if each.matched.hard_nano_usd else 0.0
        for each in decision.looked_at
        if each.matched.budget.is_enforced
    ]
    return min(shares, default=None)
