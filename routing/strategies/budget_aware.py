"""Better models while there is money, cheaper ones as it runs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.errors import InvalidRoute
from routing.performance import BEST_QUALITY
from routing.strategies.base import Option, Ranking, Strategy, Task, in_order
from routing.strategies.settings import OptionsReader


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """From `comfortable` of the budget left on, quality alone counts; at `tight` and below, the price alone."""

    comfortable: float = 0.5
    tight: float = 0.1


class BudgetAware(Strategy):
    """By quality and price, weighed by how much is left of the tightest budget. Without a budget quality alone counts.

    With less left, the chosen model is never a dearer one.
    """

    name = "budget-aware"
    summary = "Better models while there is money left, cheaper ones as the budget runs out."
    options_in_words = {
        "comfortable": "from this share of the budget left on, quality alone counts; 0.5 unless said otherwise",
        "tight": "with this share left or less, the price alone counts; 0.1 unless said otherwise",
    }
    example = '{"comfortable": 0.5, "tight": 0.1}'
    weighs_budgets = True

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> BudgetSettings:
        reader = OptionsReader(self.name, given)
        found = BudgetSettings(
            reader.number("comfortable", 0.5, least=0, most=1), reader.number("tight", 0.1, least=0, most=1)
        )
        reader.done()
        if found.tight >= found.comfortable:
            raise InvalidRoute(
                f"{self.name}: tight ({found.tight:g}) must be below comfortable ({found.comfortable:g})", field="tight"
            )
        return found

    def rank(self, options: Sequence[Option], task: Task, settings: BudgetSettings) -> Ranking:
        left = task.wanted.share_left()
        weight = quality_weight(left, settings)
        dearest = max((option.estimate_nano_usd for option in options), default=0) or 1

        def score(option: Option) -> float:
            saved = 1 - option.estimate_nano_usd / dearest
            return weight * option.quality / BEST_QUALITY + (1 - weight) * saved

        share = "no budget applies" if left is None else f"{left:.0%} of the tightest budget is left"
        reason = f"{share}: quality counts {weight:.0%}, the price {1 - weight:.0%}"
        return Ranking(in_order(options, score), reason, "score, at most 1", 0.8, facts={"budget_share_left": left})


def quality_weight(share_left: float | None, settings: BudgetSettings) -> float:
    """How much quality counts, 0..1, when `share_left` of the budget is left."""
    if share_left is None:
        return 1.0
    return min(max((share_left - settings.tight) / (settings.comfortable - settings.tight), 0.0), 1.0)
