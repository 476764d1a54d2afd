"""The model that is best at what is asked, by a score; the price breaks near-ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.models.rows import CAPABILITIES
from routing.strategies.base import Option, Ranking, Strategy, Task, cheapest_of_near, in_order
from routing.strategies.settings import OptionsReader
from spendhub.money import NANO_PER_USD

POINTS_FOR_BEING_ABLE = 40.0
POINTS_FOR_PREFERRED = 15.0
POINTS_PER_QUALITY = 4.0
POINTS_OFF_PER_USD = 0.1  # per USD of the mean of its input and output price per million tokens
NEUTRAL_QUALITY = 3.0
MOST_POINTS = 100.0


@dataclass(frozen=True, slots=True)
class CapabilitySettings:
    """`preferred`: models to prefer, by capability. `default_models`: to prefer where no capability is asked for.
    `near_tie`: points within which the cheaper one wins."""

    preferred: Mapping[str, tuple[str, ...]]
    default_models: tuple[str, ...] = ()
    near_tie: float = 0.5


class CapabilityBased(Strategy):
    """By points: being able, being preferred for what is asked, measured quality, less the price."""

    name = "capability-based"
    summary = "The model you prefer for what is asked, or the best scored; the price breaks near-ties."
    options_in_words = {
        "preferred": "for each capability the models to prefer",
        "default_models": "the models to prefer where no capability is asked for",
        "near_tie": "points within which the cheaper one wins, 0.5 unless said otherwise",
    }
    example = '{"preferred": {"code": ["gpt-5"]}, "default_models": ["gpt-5-mini"]}'

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> CapabilitySettings:
        reader = OptionsReader(self.name, given)
        found = CapabilitySettings(
            reader.names_by_word("preferred", among=CAPABILITIES),
            reader.names("default_models"),
            reader.number("near_tie", 0.5, least=0, most=MOST_POINTS),
        )
        reader.done()
        return found

    def names_in(self, settings: CapabilitySettings) -> tuple[str, ...]:
        return (*settings.default_models, *(name for names in settings.preferred.values() for name in names))

    def rank(self, options: Sequence[Option], task: Task, settings: CapabilitySettings) -> Ranking:
        ranked = in_order(options, lambda option: points(option, task.capabilities, settings))
        ranked = cheapest_of_near(ranked, settings.near_tie)
        asked = ", ".join(sorted(task.capabilities)) or "no capability in particular"
        confidence = min(max(ranked[0].score / MOST_POINTS, 0.0), 1.0) if ranked else 0.0
        return Ranking(ranked, f"the best score for {asked}", "points", confidence)


def points(option: Option, asked: frozenset[str], settings: CapabilitySettings) -> float:
    """An option's score: docs/routing.md, "Points for capabilities"."""
    rates = option.price.rates_for(0)
    mean_usd = (rates.input + rates.output) / 2 / NANO_PER_USD
    preferred_for = sum(1 for capability in asked if option.name in settings.preferred.get(capability, ()))
    if not asked and option.name in settings.default_models:
        preferred_for = 1
    measured = POINTS_PER_QUALITY * (option.quality - NEUTRAL_QUALITY) if option.observed.scores else 0.0
    return POINTS_FOR_BEING_ABLE + POINTS_FOR_PREFERRED * preferred_for + measured - POINTS_OFF_PER_USD * mean_usd
