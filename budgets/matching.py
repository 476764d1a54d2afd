"""Which budgets a call falls under, and which window of each. Pure, given the snapshot.

All that match apply; nothing is hidden by a more specific scope of another type. Within one scope
type and period an exact key replaces the allowance "*".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from budgets.counters.base import CounterLine, Lines
from budgets.periods import Window, window_at
from budgets.snapshot import BudgetFacts, TenantBudgets

# A tenant with more callers than this at once simply works its matches out again.
MAX_REMEMBERED_MATCHES = 10_000


class Matched(NamedTuple):
    """One budget that a call falls under: for which key, in which window, with which limits at that moment."""

    budget: BudgetFacts
    scope_key: str
    window: Window
    limit_nano_usd: int
    soft_nano_usd: int
    hard_nano_usd: int
    # An allowance that an exact key replaces keeps counting, so that it is right when it takes over again;
    # it decides nothing and tells nothing.
    is_replaced: bool = False

    @property
    def line(self) -> CounterLine:
        return CounterLine(
            self.budget.id,
            self.scope_key,
            self.window.starts_at,
            self.window.ends_at,
            self.hard_nano_usd,
            self.budget.is_enforced,
        )


class Matches(tuple[Matched, ...]):
    """The budgets a call falls under, with their counter lines. Good until `valid_until` (epoch seconds):
    the first moment at which a window ends, or a budget or a raise begins or ends."""

    lines: Lines
    counted: tuple[Matched, ...]
    valid_from: float
    valid_until: float

    def __new__(cls, counted: Sequence[Matched], valid_from: float, valid_until: float) -> Matches:
        made = super().__new__(cls, [each for each in counted if not each.is_replaced])
        made.lines = Lines([each.line for each in made])
        made.counted = tuple(counted)
        made.valid_from, made.valid_until = valid_from, valid_until
        return made


def match_budgets(budgets: TenantBudgets, scopes: tuple[tuple[str, str], ...], now: datetime) -> Matches:
    """Every budget in force at `now` that the scopes fall under, in the order they were created."""
    known: Matches | None = budgets.matched.get(scopes)
    moment = now.timestamp()
    if known is not None and known.valid_from <= moment < known.valid_until:
        return known
    found = _match(budgets, scopes, now)
    if len(budgets.matched) >= MAX_REMEMBERED_MATCHES:
        budgets.matched.clear()
    budgets.matched[scopes] = found
    return found


def count_budgets(budgets: TenantBudgets, scopes: tuple[tuple[str, str], ...], now: datetime) -> tuple[Matched, ...]:
    """Every budget in whose ledger a call at `now` counts: those that match, and allowances that are replaced."""
    return match_budgets(budgets, scopes, now).counted


def replaced_keys(allowance: BudgetFacts, budgets: Iterable[BudgetFacts], now: datetime) -> frozenset[str]:
    """The keys for which one of the budgets replaces the allowance at `now`, so that it decides and tells nothing."""
    return frozenset(
        each.scope_key
        for each in budgets
        if each.scope_type == allowance.scope_type and each.scope_key != "*" and _replaces(each, allowance)
        if each.is_in_force(now)
    )


def window_of(budget: BudgetFacts, moment: datetime, timezone: str) -> Window:
    """The budget's window at `moment`: its period's, cut off where the budget itself begins or ends.

    Before its beginning that is its first window, after its end its last one.
    """
    if budget.starts_at is None and budget.ends_at is None:
        return window_at(budget.period, moment, timezone)
    if budget.ends_at is not None:
        moment = min(moment, budget.ends_at - timedelta(microseconds=1))
    if budget.starts_at is not None:
        moment = max(moment, budget.starts_at)
    starts_at, ends_at = window_at(budget.period, moment, timezone)
    # To whole seconds, outwards: the window holds every moment at which the budget is in force.
    if budget.starts_at is not None:
        starts_at = max(starts_at, math.floor(budget.starts_at.timestamp()))
    if budget.ends_at is not None:
        end = math.ceil(budget.ends_at.timestamp())
        ends_at = end if ends_at is None else min(ends_at, end)
    return Window(starts_at, ends_at)


def _match(budgets: TenantBudgets, scopes: Sequence[tuple[str, str]], now: datetime) -> Matches:
    candidates: list[tuple[BudgetFacts, str, tuple[BudgetFacts, ...]]] = []
    for scope_type, key in scopes:
        exact = budgets.by_scope.get((scope_type, key), ())
        candidates.extend((budget, key, ()) for budget in exact)
        if key != "*":
            for allowance in budgets.by_scope.get((scope_type, "*"), ()):
                replaced_by = tuple(budget for budget in exact if _replaces(budget, allowance))
                candidates.append((allowance, key, replaced_by))
    counted = [
        Matched(
            budget,
            key,
            window_of(budget, now, budgets.timezone),
            budget.limit_at(now),
            budget.soft_at(now),
            budget.hard_at(now),
            any(exact.is_in_force(now) for exact in replaced_by),
        )
        for budget, key, replaced_by in candidates
        if budget.is_in_force(now)
    ]
    moments = [moment for budget, _, _ in candidates for moment in _turning_points(budget)]
    moments += [float(end) for each in counted for end in each.window if end is not None]
    moment = now.timestamp()
    return Matches(
        counted,
        max((each for each in moments if each <= moment), default=float("-inf")),
        min((each for each in moments if each > moment), default=float("inf")),
    )


def _replaces(exact: BudgetFacts, allowance: BudgetFacts) -> bool:
    """Of two budgets of one scope type, while the exact one is in force."""
    return exact.period == allowance.period


def _turning_points(budget: BudgetFacts) -> list[float]:
    """The moments at which the budget begins or ends, or its limit changes by a raise."""
    points = [budget.starts_at, budget.ends_at]
    for each in budget.raises:
        points += [each.starts_at, each.ends_at]
    return [point.timestamp() for point in points if point is not None]
