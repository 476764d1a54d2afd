"""A call that is refused although the money is not spent, only held for others: it may wait until they are settled.

docs/budgets.md, "Waiting for held money".
"""

from __future__ import annotations

from typing import Literal

from budgets.calls import Call
from budgets.counters.base import has_room
from budgets.counters.charge import counters
from budgets.decisions import HARD_STOP, Decision
from budgets.matching import match_budgets
from budgets.snapshot import tenant_budgets
from spendhub.steps import Journey

# Room for a call: there is; there would be if nothing but what is spent counted; there is none.
Room = Literal["free", "held", "spent"]


def patience_of(decision: Decision) -> int:
    """How many seconds the policies of the budgets that refuse let a call wait: the least of theirs."""
    return min(
        (
            each.matched.budget.patience_seconds
            for each in decision.looked_at
            if each.action == HARD_STOP and each.matched.budget.is_enforced
        ),
        default=0,
    )


def room_for(call: Call) -> Journey[Room]:
    """What the enforced budgets have for the call at this moment. Holds and stores nothing."""
    matched = match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now)
    if not matched:
        return "free"
    counts = yield from counters().look(call.tenant_id, matched.lines, call.now.timestamp())
    enforced = [each for each in zip(matched.lines, counts, strict=True) if each[0].is_enforced]
    if all(has_room(line, count, call.estimated_nano_usd) for line, count in enforced):
        return "free"
    would_fit = (
        has_room(line, count._replace(reserved_nano_usd=0), call.estimated_nano_usd) for line, count in enforced
    )
    return "held" if all(would_fit) else "spent"
