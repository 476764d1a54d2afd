"""Budgets, the ledger of what they have spent, and what was held, decided and told about them."""

from budgets.models.budget import BUDGETS_SNAPSHOT, Budget, BudgetRaise, Period, ScopeType, State, default_thresholds
from budgets.models.counter_fence import CounterFence
from budgets.models.decision import Decision
from budgets.models.event import BudgetEvent
from budgets.models.hold import Hold, HoldLine
from budgets.models.reservation import Reservation
from budgets.models.window import BudgetWindow

__all__ = [
    "BUDGETS_SNAPSHOT",
    "Budget",
    "BudgetEvent",
    "BudgetRaise",
    "BudgetWindow",
    "CounterFence",
    "Decision",
    "Hold",
    "HoldLine",
    "Period",
    "Reservation",
    "ScopeType",
    "State",
    "default_thresholds",
]
