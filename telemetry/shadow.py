"""What recorded calls would have cost with another strategy, or all with one model: priced at each call's own moment.

What is known of a call is what was recorded: its tokens, whom it was for, and (in `metadata["needs"]`) what it needed
of a model. The candidates, routes and speeds are today's. docs/feedback-and-savings.md, "What another strategy would
have cost", says what that leaves out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routing.errors import InvalidRoute, ModelNotAvailable, NoModelFits, UnknownModel, UnpricedModel
from routing.plans import choose
from routing.pricing import CompiledPrice, price_usage
from routing.requirements import FellOut, Requirements
from routing.routes import AUTO, RouteFacts
from routing.snapshot import CATALOG, Catalog
from routing.strategies.base import Strategy
from routing.strategies.registry import STRATEGIES
from routing.token_usage import MAX_TOKENS, TokenUsage
from routing.upstreams.base import CHAT, EMBEDDINGS
from routing.wanted import Declared, Wanted
from spendhub.money import format_usd
from spendhub.tenants.attribution import DIMENSIONS, Attribution
from spendhub.tenants.snapshot import TenantFacts
from telemetry.models import CostSpan

MAX_CALLS = 2_000
USUAL_STRATEGY = "cost-optimized"
# Calls that were routed, or stand for such; spans that were recorded over the API were routed by somebody else.
_SOURCES = ("gateway", "demo")
CHAT_KIND = "chat"

_COLUMNS = (
    "model", "occurred_at", "cost_nano_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "cache_write_1h_tokens", "reasoning_tokens", "metadata", *DIMENSIONS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PastCall:
    """One recorded call. `needs` is what it needed of a model, as far as that was recorded."""

    model: str
    occurred_at: datetime
    cost_nano_usd: int
    usage: TokenUsage
    attribution: Attribution
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StandIn:
    """Who would have answered instead, and what that would have cost."""

    model: str
    cost_nano_usd: int


FindStandIn = Callable[[PastCall], StandIn | None]


@dataclass(slots=True)
class Compared:
    """Sums over some calls. A call that no model fits stays as it was: it counts with its own cost on both sides."""

    calls: int = 0
    actual_nano_usd: int = 0
    shadow_nano_usd: int = 0
    unfit_calls: int = 0
    unfit_nano_usd: int = 0
    answered_by: Counter[str] = field(default_factory=Counter)

    def add(self, call: PastCall, stand_in: StandIn | None) -> None:
        """Counts one call."""
        self.calls += 1
        self.actual_nano_usd += call.cost_nano_usd
        if stand_in is None:
            self.unfit_calls += 1
            self.unfit_nano_usd += call.cost_nano_usd
            self.shadow_nano_usd += call.cost_nano_usd
        else:
            self.shadow_nano_usd += stand_in.cost_nano_usd
            self.answered_by[stand_in.model] += 1

    @property
    def saved_nano_usd(self) -> int:
        """Below 0: what it would have cost more."""
        return self.actual_nano_usd - self.shadow_nano_usd

    @property
    def saved_share(self) -> float | None:
        """Of what was paid; None where nothing was."""
        return round(self.saved_nano_usd / self.actual_nano_usd, 4) if self.actual_nano_usd else None

    def most_first(self) -> dict[str, int]:
        """How many answers would have come from each model."""
        return dict(sorted(self.answered_by.items(), key=lambda each: (-each[1], each[0])))

    def told(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "calls": self.calls,
            "actual_cost": format_usd(self.actual_nano_usd),
            "shadow_cost": format_usd(self.shadow_nano_usd),
            "savings": format_usd(self.saved_nano_usd),
            "savings_share": self.saved_share,
            "no_model_fits": {"calls": self.unfit_calls, "cost": format_usd(self.unfit_nano_usd)},
            "answered_by": self.most_first(),
        }


def compare(calls: Iterable[PastCall], stand_in_of: FindStandIn) -> tuple[Compared, Mapping[str, Compared]]:
    """All calls compared with their stand-ins, and those of each model that really answered."""
    total = Compared()
    by_model: dict[str, Compared] = defaultdict(Compared)
    for call in calls:
        found = stand_in_of(call)
        total.add(call, found)
        by_model[call.model].add(call, found)
    return total, by_model


def by_strategy(catalog: Catalog, tenant: TenantFacts, strategy: str) -> FindStandIn:
    """Stand-ins as the strategy chooses them, by the route that the call would have gone by as `auto`.

    Only chat calls may change their model; vectors of two models, say, cannot be compared. The finder raises
    UnknownStrategy, and InvalidRoute for a strategy that a route has no options for.
    """

    def stand_in_of(call: PastCall) -> StandIn | None:
        kind = _kind_of(catalog, tenant.id, call)
        name = AUTO if kind == CHAT_KIND else call.model
        declared = Declared(strategy=strategy if kind == CHAT_KIND else None)
        return _chosen(catalog, call, _wanted(tenant, call, name, kind, declared))

    return stand_in_of


def by_route(catalog: Catalog, tenant: TenantFacts, route: RouteFacts) -> FindStandIn:
    """Stand-ins as one route chooses them, with its own options, whatever the calls asked for. The finder raises
    InvalidRoute where those are not what they must be."""

    def stand_in_of(call: PastCall) -> StandIn | None:
        kind = _kind_of(catalog, tenant.id, call)
        if kind != CHAT_KIND:  # vectors of two models cannot be compared
            return _chosen(catalog, call, _wanted(tenant, call, call.model, kind, Declared()))
        return _chosen(catalog, call, _wanted(tenant, call, route.name, kind, Declared()), route)

    return stand_in_of


def _chosen(catalog: Catalog, call: PastCall, wanted: Wanted, route: RouteFacts | None = None) -> StandIn | None:
    try:
        # Without the hooks of `make_plan`: they are told of real calls.
        plan = choose(catalog, wanted, route=route).plan
    except (NoModelFits, ModelNotAvailable, UnknownModel, UnpricedModel):
        return None
    chosen = plan.candidates[0]
    return _priced(call, chosen.model.name, chosen.quote.price)


def strategies_at_hand() -> list[Strategy]:
    """The strategies that choose without options of their own, and so by any route."""
    return [strategy for strategy in STRATEGIES.values() if _needs_no_options(strategy)]


def _needs_no_options(strategy: Strategy) -> bool:
    try:
        strategy.settings({}, ())
    except InvalidRoute:
        return False
    return True


def by_model(catalog: Catalog, tenant: TenantFacts, name: str) -> FindStandIn:
    """One model as everybody's stand-in, where it can do the call; it need not be switched on. Raises UnknownModel."""
    model = catalog.resolve(tenant.id, name)
    if model is None:
        raise UnknownModel(name)

    def stand_in_of(call: PastCall) -> StandIn | None:
        wanted = _wanted(tenant, call, name, _kind_of(catalog, tenant.id, call), Declared())
        fit = Requirements.of(wanted).fit(model)
        return None if isinstance(fit, FellOut) else _priced(call, model.name, fit.quote.price)

    return stand_in_of


def _priced(call: PastCall, model: str, price: CompiledPrice) -> StandIn:
    return StandIn(model, price_usage(call.usage, price).total_nano_usd)


def _kind_of(catalog: Catalog, tenant_id: int, call: PastCall) -> str:
    model = catalog.resolve(tenant_id, call.model)
    return CHAT_KIND if model is None else model.kind


def _wanted(tenant: TenantFacts, call: PastCall, name: str, kind: str, declared: Declared) -> Wanted:
    return Wanted(
        tenant_id=tenant.id,
        name=name,
        now=call.occurred_at,
        unpriced_models=tenant.unpriced_models,
        kind=kind,
        wire=EMBEDDINGS if kind == "embedding" else CHAT,
        input_tokens=call.usage.total_input_tokens,
        attribution=call.attribution,
        declared=declared,
        needs=lambda: call.needs,
        expected_output_of=lambda model: call.usage.output_tokens,
    )


def past_calls(tenant_id: int, starts_at: datetime, ends_at: datetime) -> tuple[list[PastCall], int]:
    """The latest `MAX_CALLS` answered gateway calls of a period, without those from memory and without reviews, which
    another strategy would not have made; and how many it has."""
    spans = CostSpan.objects.for_tenant(tenant_id).filter(
        source__in=_SOURCES, status=CostSpan.Status.OK, occurred_at__gte=starts_at, occurred_at__lt=ends_at
    )
    rows = spans.order_by("-occurred_at").values(*_COLUMNS)[:MAX_CALLS]
    calls = [_past_call(row) for row in rows if _was_routed(row["metadata"])]
    return calls, spans.order_by().count()


def _was_routed(metadata: Mapping[str, Any]) -> bool:
    return metadata.get("cache") != "hit" and "review_of" not in metadata


def _past_call(row: Mapping[str, Any]) -> PastCall:
    needs = row["metadata"].get("needs")
    return PastCall(
        model=row["model"],
        occurred_at=row["occurred_at"],
        cost_nano_usd=row["cost_nano_usd"],
        usage=TokenUsage(
            **{name: row[name] for name in _COLUMNS if name.endswith("_tokens")},
            web_searches=_searches(row["metadata"].get("web_searches")),
        ),
        attribution=Attribution(**{name: row[name] or None for name in DIMENSIONS}),
        needs=frozenset(map(str, needs)) if isinstance(needs, list) else frozenset(),
    )


def _searches(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value <= MAX_TOKENS else 0


@dataclass(frozen=True, slots=True)
class Shadow:
    """The calls that were looked at, compared; `by_model`: those of each model that answered, what cost most first."""

    total: Compared
    by_model: tuple[tuple[str, Compared], ...]
    recorded: int


def find_shadow(
    tenant: TenantFacts, starts_at: datetime, ends_at: datetime, *, strategy: str | None, model: str | None,
    route: RouteFacts | None = None,
) -> Shadow:  # fmt: skip
    """What the period's calls would have cost with one model, else by one route, else with one strategy. Raises what
    `by_model`, `by_route` and `by_strategy` raise."""
    catalog = CATALOG.current()
    if model is not None:
        finder = by_model(catalog, tenant, model)
    elif route is not None:
        finder = by_route(catalog, tenant, route)
    else:
        finder = by_strategy(catalog, tenant, strategy or "")
    calls, recorded = past_calls(tenant.id, starts_at, ends_at)
    total, groups = compare(calls, finder)
    dearest = sorted(groups.items(), key=lambda each: (-each[1].actual_nano_usd, each[0]))
    return Shadow(total, tuple(dearest), recorded)


def shadow_report(
    tenant: TenantFacts, starts_at: datetime, ends_at: datetime, *, strategy: str | None, model: str | None
) -> dict[str, Any]:
    """`find_shadow` as the API tells it."""
    found = find_shadow(tenant, starts_at, ends_at, strategy=strategy, model=model)
    return {
        "from": starts_at,
        "to": ends_at,
        "strategy": strategy if model is None else None,
        "model": model,
        "sample": {"calls": found.total.calls, "recorded": found.recorded, "at_most": MAX_CALLS},
        **found.total.told(),
        "by_model": [{"model": name, **compared.told()} for name, compared in found.by_model],
    }
