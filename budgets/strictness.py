"""Budgets that may never be exceeded by a bill above the estimate: they hold the worst case.

docs/budgets.md, "Strict budgets".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from budgets.calls import Call
from budgets.decisions import Decision, LookedAt
from budgets.matching import Matched, match_budgets
from budgets.snapshot import tenant_budgets


def is_strict(call: Call) -> bool:
    """Whether a strict, enforced budget applies to the call."""
    return has_strict(match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now))


def has_strict(matched: Iterable[Matched]) -> bool:
    """Whether one of these budgets is strict and enforced."""
    return any(each.budget.strict and each.budget.is_enforced for each in matched)


def least_room(decision: Decision) -> int:
    """The room to the hard cap, in nano_usd, of the enforced budget that has the least; 0 where one is frozen."""
    return min(map(_room, _enforced(decision)), default=0)


def room_for_any_model(decision: Decision) -> int | None:
    """As `least_room`, but only of budgets that hold whichever model and provider is asked; None without one."""
    held = [each for each in _enforced(decision) if each.matched.budget.scope_type not in ("model", "provider")]
    return min(map(_room, held), default=None)


def tightest_strict(decision: Decision) -> LookedAt | None:
    """The strict, enforced budget that has the least room; None without one."""
    strict = (each for each in _enforced(decision) if each.matched.budget.strict)
    return min(strict, key=_room, default=None)


def _enforced(decision: Decision) -> Iterator[LookedAt]:
    return (each for each in decision.looked_at if each.matched.budget.is_enforced)


def _room(each: LookedAt) -> int:
    return 0 if each.matched.budget.is_frozen else each.remaining_nano_usd
