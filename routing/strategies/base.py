"""The contract of every strategy: options with facts go in, a ranking comes out. No clock, no rows, no network.

A strategy of one's own is a class with `name`, `summary`, `settings` and `rank`, and one
`registry.register(...)`; docs/routing.md, "A strategy of your own".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from routing.requirements import FellOut, Option
from routing.reviewing import Review
from routing.wanted import Wanted

__all__ = ["Option", "Ranked", "Ranking", "Strategy", "Task", "by_cost", "cheapest_of_near", "in_order"]


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, beyond what every model that is left can do. `route` is the name it was asked under."""

    wanted: Wanted
    capabilities: frozenset[str] = frozenset()
    route: str = ""

    def text(self) -> str:
        """The request's words."""
        return self.wanted.text()


@dataclass(frozen=True, slots=True)
class Ranked:
    """An option in its place. `score` is in the strategy's own measure, which `Ranking.measure` names."""

    option: Option
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Options, the chosen one first; what the strategy itself leaves out is in `fell_out`. Empty: it cannot choose,
    and `reason` says which of its demands nothing meets; the route's fallback then answers, without those that fell out
    at Hurdle.LATENCY. `review`: its answer is shown to other models."""

    ranked: tuple[Ranked, ...]
    reason: str
    measure: str
    confidence: float = 1.0
    fell_out: tuple[FellOut, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    review: Review | None = None


class Strategy(Protocol):
    """One way of choosing. `rank` is pure: the same options, task and settings give the same ranking."""

    name: str
    summary: str  # one line, for people who choose among strategies
    options_in_words: Mapping[str, str] = {}  # what each of its options says, for who fills in a route
    example: str = ""  # some of them as JSON, to copy
    weighs_budgets: bool = False  # whether it is told what is left of them, by `Wanted.share_left()`

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> Any:
        """A route's `options` and candidate `models` as this strategy's own settings. Raises InvalidRoute."""
        ...

    def names_in(self, settings: Any) -> tuple[str, ...]:
        """The models that the settings name, so that a name nobody knows is refused when a route is saved."""
        return ()

    def candidates_in(self, settings: Any) -> tuple[str, ...]:
        """Those of them that it chooses among: a route that names its models is refused without them, and for one that
        names none they count as named."""
        return ()

    def scorers_in(self, settings: Any) -> tuple[str, ...]:
        """Those of them that are shown answers and score them."""
        return ()

    def rank(self, options: Sequence[Option], task: Task, settings: Any) -> Ranking:
        """`options` (in no particular order) in the order in which they should be tried."""
        ...


def by_cost(option: Option) -> tuple[int, str]:
    """The order in which ties break, always: the cheaper first, then by name."""
    return (option.estimate_nano_usd, option.name)


def in_order(options: Iterable[Option], score_of: Callable[[Option], float]) -> tuple[Ranked, ...]:
    """Options by their score, the highest first; ties by cost and name."""
    scored = [Ranked(option, score_of(option)) for option in options]
    return tuple(sorted(scored, key=lambda each: (-each.score, *by_cost(each.option))))


def cheapest_of_near(ranked: Sequence[Ranked], within: float) -> tuple[Ranked, ...]:
    """`ranked` (the best first), but those whose score is within `within` of the best one by cost and name."""
    if not ranked:
        return ()
    least = ranked[0].score - within
    near = [each for each in ranked if each.score >= least]
    return (*sorted(near, key=lambda each: by_cost(each.option)), *ranked[len(near) :])
