"""A call that is refused although the money is not spent, only held for others: it may wait until they are settled.

docs/budgets.md, "Waiting for held money".
"""

from __future__ import annotations

from budgets.calls import Call
from budgets.counters.base import has_room
from budgets.counters.charge import counters
from budgets.decisions import HARD_STOP, Decision
from budgets.matching import match_budgets
from budgets.snapshot import tenant_budgets
from spendhub.steps import Journey


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


def has_room_now(call: Call) -> Journey[bool]:
    """Whether every enforced budget has room for the call at this moment. Holds and stores nothing."""
    matched = match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now)
    if not matched:
        return True
    counts = yield from counters().look(call.tenant_id, matched.lines, call.now.timestamp())
    return all(
        has_room(line, count, call.estimated_nano_usd)
        for line, count in zip(matched.lines, counts, strict=True)
        if line.is_enforced
    )
