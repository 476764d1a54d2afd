"""One model and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.errors import InvalidRoute
from routing.requirements import FellOut
from routing.strategies.base import Option, Ranked, Ranking, Strategy, Task
from routing.strategies.settings import OptionsReader


class Pinned(Strategy):
    """The model of the option `model`, else the route's first candidate; its settings are that name."""

    name = "pinned"
    summary = "Always the same model."
    options_in_words = {"model": "which of the models above it is, or which one at all"}
    example = '{"model": "gpt-5"}'

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> str:
        reader = OptionsReader(self.name, given)
        found = reader.word("model", models[0] if models else "")
        reader.done()
        if not found:
            raise InvalidRoute(f"{self.name} needs a model: name one as candidate", field="models")
        return found

    def names_in(self, settings: str) -> tuple[str, ...]:
        return (settings,)

    def candidates_in(self, settings: str) -> tuple[str, ...]:
        return (settings,)

    def rank(self, options: Sequence[Option], task: Task, settings: str) -> Ranking:
        chosen = tuple(Ranked(option, 1.0) for option in options if option.name == settings)
        others = tuple(
            FellOut(option.name, f"the route is pinned to {settings}") for option in options if option.name != settings
        )
        reason = f"pinned to {settings}" if chosen else f"{settings}, to which the route is pinned, cannot do it"
        return Ranking(chosen, reason, "", 1.0, others)
