"""A new budget begins with what its current window has already spent.

Spans are another app's: telemetry hands in its `recorded` when it starts (telemetry/apps.py), so that
budgets need not know what a span is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from budgets.ledger import Charge, add_charges
from budgets.matching import Matched, window_of
from budgets.models import Budget
from budgets.periods import Window
from budgets.snapshot import BudgetFacts, facts_of


class Recorded(Protocol):
    """What budgets need to know of spans."""

    def hold_still(self) -> None:
        """Until the transaction ends: waits for every transaction that writes spans, and lets none begin."""
        ...

    def spend(self, tenant_id: int, scope_type: str, scope_key: str, window: Window) -> Mapping[str, int]:
        """nano_usd recorded in the window, by key of the scope type; only `scope_key` unless that is "*"."""
        ...


class NothingRecorded:
    """Budgets without telemetry: nobody spends."""

    def hold_still(self) -> None:
        return None

    def spend(self, tenant_id: int, scope_type: str, scope_key: str, window: Window) -> Mapping[str, int]:
        return {}


recorded: Recorded = NothingRecorded()


def open_budget(budget: Budget, now: datetime) -> None:
    """Writes the ledger rows of a budget that has just been inserted; call it inside that transaction.

    Every writer that does not know the budget has committed before its spans are summed, and none
    begins until this transaction ends.
    """
    recorded.hold_still()
    facts = facts_of(budget)
    if budget.starts_at is not None and budget.starts_at > now:
        return
    window = window_of(facts, now, budget.tenant.timezone)
    open_window(facts, window, now)


def open_window(facts: BudgetFacts, window: Window, now: datetime) -> None:
    """Opens the ledger rows of one window with what was recorded in it; nobody records meanwhile."""
    spent = recorded.spend(facts.tenant_id, facts.scope_type, facts.scope_key, window)
    charges = [
        Charge(
            facts.tenant_id,
            Matched(facts, key, window, facts.limit_at(now), facts.soft_at(now), facts.hard_at(now)),
            nano_usd,
        )
        for key, nano_usd in spent.items()
        if nano_usd
    ]
    if charges:
        add_charges(charges, now)
