"""Every strategy by its name. One of your own is one class and one `register(...)`."""

from __future__ import annotations

from routing.errors import UnknownStrategy
from routing.strategies.base import Strategy
from routing.strategies.budget_aware import BudgetAware
from routing.strategies.capability_based import CapabilityBased
from routing.strategies.cost_optimized import CostOptimized
from routing.strategies.judgment_based import JudgmentBased
from routing.strategies.latency_optimized import LatencyOptimized
from routing.strategies.pinned import Pinned
from routing.strategies.weighted import Weighted

STRATEGIES: dict[str, Strategy] = {}


def register(strategy: Strategy) -> None:
    """Makes a strategy known under its name; one of the same name gives way."""
    STRATEGIES[strategy.name] = strategy


for built_in in (
    CostOptimized(),
    LatencyOptimized(),
    JudgmentBased(),
    CapabilityBased(),
    BudgetAware(),
    Weighted(),
    Pinned(),
):
    register(built_in)


def strategy_called(name: str) -> Strategy:
    """The strategy of that name. Raises UnknownStrategy, which names the known ones."""
    found = STRATEGIES.get(name)
    if found is None:
        raise UnknownStrategy(name, list(STRATEGIES))
    return found
