"""A route's options: those that every route has, and those of its strategy; read once, checked when saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from routing.errors import InvalidRoute
from routing.models.rows import CAPABILITIES
from routing.routes import RouteFacts
from routing.strategies.base import Strategy
from routing.strategies.registry import strategy_called
from routing.strategies.settings import OptionsReader, UnknownOption
from routing.wanted import MOST_MS, QUALITIES, Declared
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

MOST_RETRIES = 10
# One answer of twenty shows how good a route's models are, at a twentieth of what the scores of all would cost.
SCORED_SHARE = 0.05
COMMON = (
    "capabilities", "min_quality", "max_cost", "max_latency_ms", "region", "deny", "timeout_ms", "retries",
    "falls_back_on_refusal", "scored_by", "scored_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """A strategy with its settings, and what a route demands of every model and call of its own.

    `scored_by` is the model that scores a `scored_share` (0..1) of its answers, "" for none."""

    strategy: Strategy
    settings: Any
    demands: Declared
    timeout_ms: int | None = None
    retries: int | None = None
    falls_back_on_refusal: bool = False
    scored_by: str = ""
    scored_share: float = SCORED_SHARE

    def models_named(self) -> tuple[str, ...]:
        """The models that the options name, each by its own name."""
        named = self.strategy.names_in(self.settings)
        return (*named, self.scored_by) if self.scored_by else named

    def models_that_score(self) -> tuple[str, ...]:
        """Those of them that are shown answers and score them."""
        scorers = self.strategy.scorers_in(self.settings)
        return (*scorers, self.scored_by) if self.scored_by else scorers


def read_options(strategy_name: str, given: Mapping[str, Any], models: Sequence[str]) -> RouteOptions:
    """A route's `options` for a strategy. Raises UnknownStrategy, or InvalidRoute naming the option."""
    strategy = strategy_called(strategy_name)
    reader = OptionsReader("route", {name: value for name, value in given.items() if name in COMMON})
    capabilities = reader.names("capabilities")
    unknown = [word for word in capabilities if word not in CAPABILITIES]
    if unknown:
        raise reader.wrong("capabilities", f"must be of {', '.join(CAPABILITIES)}", unknown[0])
    max_cost = reader.money("max_cost")
    try:
        max_cost_nano_usd = None if max_cost is None else parse_usd(max_cost)
    except InvalidMoney:
        raise reader.wrong("max_cost", 'must be USD such as "0.05"', max_cost) from None
    demands = Declared(
        capabilities=frozenset(capabilities),
        min_quality=reader.word("min_quality", "", among=QUALITIES) or None,
        max_cost_nano_usd=max_cost_nano_usd,
        max_latency_ms=reader.whole("max_latency_ms", None, least=1, most=MOST_MS),
        region=reader.word("region", "") or None,
        deny=frozenset(reader.names("deny")),
    )
    try:
        settings = strategy.settings({name: value for name, value in given.items() if name not in COMMON}, models)
    except UnknownOption as error:
        told = f"{error.message}; every route has {', '.join(COMMON)}"
        raise InvalidRoute(told, field=error.details["field"]) from None
    return RouteOptions(
        strategy,
        settings,
        demands,
        reader.whole("timeout_ms", None, least=1, most=MOST_MS),
        reader.whole("retries", None, least=0, most=MOST_RETRIES),
        reader.flag("falls_back_on_refusal", False),
        *_read_scoring(reader),
    )


def _read_scoring(reader: OptionsReader) -> tuple[str, float]:
    scored_by = reader.word("scored_by", "")
    share = reader.number("scored_share", -1.0, least=0, most=1)
    if share >= 0 and not scored_by:
        raise reader.wrong("scored_by", "must name the model that scores that share", scored_by)
    return scored_by, SCORED_SHARE if share < 0 else share


_read: WeakKeyDictionary[RouteFacts, dict[str, RouteOptions]] = WeakKeyDictionary()


def options_of(route: RouteFacts, strategy_name: str | None = None) -> RouteOptions:
    """The route's options for its own strategy, or for another one that the caller asks for: that one then has its
    defaults, and the route's demands hold. Raises UnknownStrategy or InvalidRoute."""
    name = strategy_name or route.strategy
    by_strategy = _read.setdefault(route, {})
    found = by_strategy.get(name)
    if found is None or found.strategy is not strategy_called(name):
        own = route.options
        if name != route.strategy:
            own = {option: value for option, value in own.items() if option in COMMON}
        found = by_strategy[name] = read_options(name, own, route.models)
    return found
