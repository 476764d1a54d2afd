"""Models, catalogs and calls in a line each, for tests of how a model is chosen. No database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from routing.model_facts import ModelFacts
from routing.performance import UNMEASURED, Observed
from routing.pricing import CompiledPrice, PriceTable, Rates, estimate_nano_usd
from routing.routes import RouteBook, RouteFacts
from routing.snapshot import Catalog
from routing.strategies.base import Option, Task
from routing.wanted import Declared, Wanted
from spendhub.tenants.attribution import Attribution
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NANO = 10**9
TENANT = 7


def priced(name: str, input_usd: float, output_usd: float, **changes: Any) -> ModelFacts:
    """A model with these prices per million tokens."""
    rates = Rates(round(input_usd * NANO), round(output_usd * NANO))
    table = PriceTable((CompiledPrice((rates,)),))
    return model_facts(name, **{"prices": table, "id": abs(hash(name)) % 10**6, **changes})


def option(
    name: str,
    input_usd: float = 1,
    output_usd: float = 2,
    *,
    tokens: tuple[int, int] = (1000, 500),
    observed: Observed = UNMEASURED,
    **changes: Any,
) -> Option:
    """A model that can do a call of so many input and output tokens."""
    model = priced(name, input_usd, output_usd, **changes)
    price = model.prices.prices[0]
    return Option(model, price, estimate_nano_usd(price, *tokens), observed)


def measured(p95_ms: float, *, error_rate: float = 0.0, calls: int = 100, **facts: Any) -> Observed:
    """A model that has been called often enough to be known."""
    return Observed(calls=calls, error_rate=error_rate, p50_ms=p95_ms / 2, p95_ms=p95_ms, p99_ms=p95_ms * 2, **facts)


def wanted(name: str = "auto", **facts: Any) -> Wanted:
    """A call at NOW of 1000 input and at most 500 output tokens, unless said otherwise."""
    declared = Declared(**facts.pop("declared", {}))
    text = facts.pop("text", "")
    needs = frozenset(facts.pop("needs", ()))
    attribution = Attribution(**facts.pop("attribution", {}))
    given = {"input_tokens": 1000, "max_output_tokens": 500, "unpriced_models": "refuse", **facts}
    return Wanted(
        tenant_id=TENANT,
        name=name,
        now=NOW,
        declared=declared,
        text=lambda: text,
        needs=lambda: needs,
        attribution=attribution,
        **given,
    )


def task(capabilities: Sequence[str] = (), **facts: Any) -> Task:
    """What a strategy is told of a call."""
    return Task(wanted(**facts), frozenset(capabilities), "auto")


def route(name: str, strategy: str = "cost-optimized", **facts: Any) -> RouteFacts:
    """A shared route over all models, unless said otherwise."""
    match: Mapping[str, Sequence[str]] = facts.pop("match", {})
    given: dict[str, Any] = {
        "tenant_id": None, "models": (), "fallback": (), "options": {}, "priority": 100, "is_enabled": True,
    }  # fmt: skip
    return RouteFacts(
        id=uuid4(),
        name=name,
        strategy=strategy,
        match={dimension: frozenset(keys) for dimension, keys in match.items()},
        **{**given, **facts},
    )


def catalog_of(*models: ModelFacts, routes: Sequence[RouteFacts] = ()) -> Catalog:
    """A catalog of shared models and some routes."""
    return Catalog([], models, {}, RouteBook(routes))
