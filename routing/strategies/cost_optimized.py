"""The cheapest model that can do it: the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.strategies.base import Option, Ranked, Ranking, Strategy, Task, by_cost
from routing.strategies.settings import OptionsReader
from spendhub.money import NANO_PER_USD

CONFIDENCE = 0.9


class CostOptimized(Strategy):
    """By what this very call would cost, the cheapest first. No options."""

    name = "cost-optimized"
    summary = "The cheapest model that can do it."

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> None:
        OptionsReader(self.name, given).done()

    def rank(self, options: Sequence[Option], task: Task, settings: Any) -> Ranking:
        ranked = tuple(
            Ranked(option, -option.estimate_nano_usd / NANO_PER_USD) for option in sorted(options, key=by_cost)
        )
        return Ranking(ranked, "the cheapest of those that can do it", "minus USD", CONFIDENCE)
