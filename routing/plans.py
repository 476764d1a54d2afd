"""Which models a call is sent to, in which order, and why: made before any money is held.

A name in `model` is a catalog model (or its alias), or a route: a name that stands for candidate models,
a strategy and a fallback order. docs/routing.md is its page.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from routing import hooks
from routing.candidates import Candidate, find_candidates, find_option, find_options
from routing.conversation import BESIDE_WORDS
from routing.errors import ModelNotAvailable, NoModelFits
from routing.misfits import beside, nearest_in_words, why_none_fits
from routing.model_facts import ModelFacts
from routing.requirements import FellOut, Hurdle, Option, Requirements
from routing.review_plans import ReviewPlan, ScoringPlan, plan_review, plan_scoring
from routing.route_options import RouteOptions, options_of
from routing.routes import AUTO, RouteFacts
from routing.snapshot import Catalog
from routing.strategies.base import Ranking, Task
from routing.strategies.registry import strategy_called
from routing.wanted import Wanted

# A route that names no fallback falls back on so many of its strategy's next best (see `_next_best`).
NEXT_BEST = 2
SHOWN_ALTERNATIVES = 5
# In a fallback that answers because none of the route's models can.
FALLBACK_CONFIDENCE = 0.5
# What `auto` is where no row says otherwise.
PLAIN_AUTO = RouteFacts(UUID(int=0), None, AUTO, (), "cost-optimized", (), {}, {}, 0, True)


@dataclass(frozen=True, slots=True)
class Plan:
    """The models that are tried, best first and never empty. `route` is "" where a model was named.

    `timeout_ms` bounds the whole call; `retries` is how often one candidate is asked again after a failure that is
    safe to repeat (None: the installation's setting). `may_choose_cheaper`: a candidate that no budget has room
    for gives way to the next one; a model that was named by the client does not. `cheaper` are more models that can
    do it, each cheaper than the chosen one, the cheapest last: for when no budget has room for any of the candidates.
    `review`: what happens to the answer before it goes out, `scoring`: after it; None for nothing. `demanded()`: what a
    model that takes the place of one of them must be and be able to do (None: anything). `begins_with_fallback`: none
    of the route's models can be called or chosen, so the first candidate is one of its fallback, which no strategy has
    chosen.
    """

    candidates: tuple[Candidate, ...]
    strategy: str = "pinned"
    route: str = ""
    reason: str = "named by the client"
    confidence: float = 1.0
    fell_out: tuple[FellOut, ...] = ()
    timeout_ms: int | None = None
    retries: int | None = None
    may_choose_cheaper: bool = False
    falls_back_on_refusal: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    cheaper: tuple[Candidate, ...] = ()
    review: ReviewPlan | None = None
    scoring: ScoringPlan | None = None
    demanded: Callable[[], Requirements] | None = field(default=None, compare=False, repr=False)
    begins_with_fallback: bool = False

    def may_be_answered_by(self, model: ModelFacts) -> bool:
        """Whether a model that a budget's policy names can do the call, and is none that its caller or route rules
        out. That it may be called at all is for others to say."""
        return self.demanded is None or isinstance(self.demanded().fit(model), Option)


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan, and the ranking it was made from: None where a model was named, empty where the plan begins with a
    fallback."""

    plan: Plan
    ranking: Ranking | None = None


def make_plan(catalog: Catalog, wanted: Wanted) -> Plan:
    """The plan for one call, hooks included.

    Raises UnknownModel, ModelNotAvailable, UnpricedModel, NoModelFits, UnknownStrategy, or InvalidRoute for a strategy
    that the caller asks for and the route has no options for.
    """
    if hooks.BEFORE_ROUTING:
        wanted = hooks.run_before_routing(wanted)
    plan = choose(catalog, wanted).plan
    if hooks.AFTER_ROUTING:
        hooks.run_after_routing(wanted, plan)
    return plan


def weighs_budgets(catalog: Catalog, wanted: Wanted) -> bool:
    """Whether the call's strategy wants to know how much money is left (`Wanted.budget_share_left`).

    Raises UnknownStrategy."""
    if wanted.declared.strategy is not None:
        return strategy_called(wanted.declared.strategy).weighs_budgets
    try:
        route = find_route(catalog, wanted)
    except ModelNotAvailable:
        return False  # `make_plan` says so
    return route is not None and strategy_called(route.strategy).weighs_budgets


def choose(catalog: Catalog, wanted: Wanted, *, route: RouteFacts | None = None) -> Choice:
    """As `make_plan`, without hooks and with the ranking; by `route` where given, whatever the call asks for."""
    if wanted.declared.strategy is not None:
        strategy_called(wanted.declared.strategy)
    found = route or find_route(catalog, wanted)
    return _choose_named(catalog, wanted) if found is None else _choose_by_route(catalog, wanted, found)


def find_route(catalog: Catalog, wanted: Wanted) -> RouteFacts | None:
    """The route a call goes by, None for a named model.

    The first rule it falls under; else, unless a model or alias has the name, the route of that name, or where no
    wildcard catches it, the one that differs in case alone. `auto` is a route whatever models are called.
    Raises ModelNotAvailable for one that is switched off.
    """
    tenant_id, name = wanted.tenant_id, wanted.name
    # Embeddings keep the model they name: vectors of two models cannot be compared.
    rule = catalog.routes.rule_for(tenant_id, name, wanted.attribution) if wanted.kind == "chat" else None
    if rule is not None:
        return rule
    route = _route_called(catalog, tenant_id, name)
    if route is not None and not route.is_enabled:
        raise ModelNotAvailable(name, "the route is switched off")
    return route


def _route_called(catalog: Catalog, tenant_id: int, name: str) -> RouteFacts | None:
    routes, view = catalog.routes, catalog.view(tenant_id)
    if name != AUTO and view.knows(name):
        return None
    found = routes.named(tenant_id, name)
    if found is not None:
        return found
    if name.casefold() == AUTO:
        found = routes.named(tenant_id, AUTO) or routes.named_in_another_case(tenant_id, name)
        # One that is merely called nearly so does not switch `auto` off.
        return found if found is not None and (found.is_enabled or found.name == AUTO) else PLAIN_AUTO
    found = routes.named_in_another_case(tenant_id, name)
    return None if found is None or view.resolve(name) is not None else found


def _choose_named(catalog: Catalog, wanted: Wanted) -> Choice:
    found = find_candidates(catalog, wanted.tenant_id, wanted.name, wanted.now, unpriced_models=wanted.unpriced_models)
    model = found[0].model
    if model.kind != wanted.kind:
        raise ModelNotAvailable(wanted.name, f"it is a model for {model.kind}, not for {wanted.kind}")
    if wanted.declared.restricts():
        # What the request needs is between the client and its model; what was declared beside it is meant.
        demanded = Requirements.of(wanted, reads_request=False)
        fit = demanded.fit(model)
        if isinstance(fit, FellOut):
            raise _nothing_fits(wanted, fit.reason, demanded, [fit])
    # Read only when a policy wants another model: it looks through the whole request.
    plan = Plan(
        tuple(found), timeout_ms=wanted.declared.timeout_ms, demanded=functools.partial(Requirements.of, wanted)
    )
    return Choice(plan)


def _choose_by_route(catalog: Catalog, wanted: Wanted, route: RouteFacts) -> Choice:
    own = options_of(route, wanted.declared.strategy)
    timeout_ms = min((ms for ms in (wanted.declared.timeout_ms, own.timeout_ms) if ms is not None), default=None)
    wanted = replace(wanted, declared=replace(wanted.declared, timeout_ms=timeout_ms))
    demanded = Requirements.of(wanted, own.demands)
    options, misfits = find_options(catalog, demanded, route.models, own.strategy.candidates_in(own.settings))
    ranking = _rank(own, options, misfits, Task(wanted, demanded.capabilities - BESIDE_WORDS, route.name))
    chain, skipped = _chain(catalog, demanded, route, ranking)
    fell_out = [*ranking.fell_out, *misfits]
    if not chain:
        why = ranking.reason if options else why_none_fits(_cared_for(demanded, misfits))
        raise _neither_fits(why, demanded, fell_out, skipped)
    tried = {option.name for option in chain}
    plan = Plan(
        candidates=tuple(map(Candidate.of, chain)),
        strategy=own.strategy.name,
        route=route.name,
        fell_out=tuple({each.model: each for each in (*skipped, *fell_out) if each.model not in tried}.values()),
        timeout_ms=timeout_ms,
        retries=own.retries,
        may_choose_cheaper=True,
        falls_back_on_refusal=own.falls_back_on_refusal,
        review=plan_review(catalog, demanded, ranking.review) if wanted.kind == "chat" else None,
        scoring=plan_scoring(catalog, demanded, own) if own.scored_by and wanted.kind == "chat" else None,
        demanded=lambda: demanded,
    )
    if ranking.ranked:
        return Choice(_as_ranked(plan, chain, ranking, wanted.kind), ranking)
    if options:
        why = f"none of the route's models can be chosen: {ranking.reason}"
    else:
        why = f"none of the route's models can be called: {nearest_in_words(_cared_for(demanded, misfits))}"
    return Choice(_begun_with_fallback(plan, chain, why), ranking)


def _as_ranked(plan: Plan, chain: list[Option], ranking: Ranking, kind: str) -> Plan:
    """`plan` with what the strategy says of its choice, the first of `chain`."""
    chosen, tried = chain[0], {option.name for option in chain}
    alternatives = [each.option for each in ranking.ranked if each.option.name != chosen.name]
    cheaper = [
        option
        for option in alternatives
        if option.estimate_nano_usd < chosen.estimate_nano_usd and option.name not in tried and kind == "chat"
    ]
    cheaper.sort(key=lambda option: (-option.estimate_nano_usd, option.name))
    return replace(
        plan,
        reason=ranking.reason,
        confidence=ranking.confidence,
        facts={"score": ranking.ranked[0].score, **_facts_of(chosen, alternatives), **ranking.facts},
        cheaper=tuple(map(Candidate.of, cheaper)),
    )


def _begun_with_fallback(plan: Plan, chain: list[Option], why: str) -> Plan:
    """`plan` where all of `chain` is the route's fallback: nobody has scored or drawn a model of it."""
    return replace(
        plan,
        reason=why,
        confidence=FALLBACK_CONFIDENCE,
        facts=_facts_of(chain[0], chain[1:]),
        begins_with_fallback=True,
    )


def _facts_of(chosen: Option, alternatives: list[Option]) -> dict[str, Any]:
    return {
        "estimate_nano_usd": chosen.estimate_nano_usd,
        "alternatives": [option.name for option in alternatives[:SHOWN_ALTERNATIVES]],
    }


def _rank(own: RouteOptions, options: list[Option], misfits: list[FellOut], task: Task) -> Ranking:
    """Empty where the strategy cannot choose; `reason` then says why, also of the models that it was given by name."""
    if not options:
        return Ranking((), "", "")
    ranking = own.strategy.rank(options, task, own.settings)
    if ranking.ranked:
        return ranking
    if ranking.reason:
        reason = ranking.reason + beside(own.strategy.names_in(own.settings), misfits)
    else:
        reason = _untold(own, ranking, misfits)
    return replace(ranking, reason=reason, measure="")


def _untold(own: RouteOptions, ranking: Ranking, misfits: list[FellOut]) -> str:
    """Why a strategy that says no reason may have chosen none: what it has left out itself came nearest."""
    fell_out = ranking.fell_out or misfits
    return nearest_in_words(fell_out) if fell_out else f"{own.strategy.name} gives no reason"


def _chain(
    catalog: Catalog, demanded: Requirements, route: RouteFacts, ranking: Ranking
) -> tuple[list[Option], list[FellOut]]:
    """The chosen model, then the route's fallback in its order (without one: the next best), and what was skipped.

    The fallback alone where nothing was chosen: it is held to what is demanded, not to what the strategy asks for. But
    what the strategy expects too late is not asked first: that would be paid for, and cut off by the timeout."""
    ranked = [each.option for each in ranking.ranked]
    chain, skipped = ranked[:1], []
    if demanded.wanted.kind != "chat":
        return chain, []  # vectors of two models cannot be compared
    if not route.fallback:
        return [*chain, *_next_best(ranked)], []
    known = {option.name: option for option in ranked}
    late = {} if ranked else {each.model: each for each in ranking.fell_out if each.hurdle is Hurdle.LATENCY}
    for name in route.fallback:
        found = known.get(name) or find_option(catalog, demanded, name)
        if isinstance(found, Option):
            found = late.get(found.name, found)
        if isinstance(found, FellOut):
            skipped.append(found)
        elif all(found.name != option.name for option in chain):
            chain.append(found)
    return chain, skipped


def _next_best(ranked: list[Option]) -> list[Option]:
    """The next of the ranking; one of another provider is among them, if there is any: an outage seldom takes two."""
    others = ranked[1:]
    nearest = others[:NEXT_BEST]
    elsewhere = (option for option in others if option.model.provider.name != ranked[0].model.provider.name)
    other = next(elsewhere, None)
    return nearest if other is None or other in nearest else [*nearest[:-1], other]


def _cared_for(demanded: Requirements, fell_out: list[FellOut]) -> list[FellOut]:
    """Of the models that fell out those that are allowed by name, where some are."""
    allowed = {name.casefold() for name in demanded.allow}
    return [each for each in fell_out if each.model.casefold() in allowed] or fell_out


def _neither_fits(why: str, demanded: Requirements, fell_out: list[FellOut], fallback: list[FellOut]) -> NoModelFits:
    """What is raised where neither a route's models nor its `fallback` can do the call."""
    told = {each.model for each in fell_out}
    others = [each for each in fallback if each.model not in told]
    if others:
        why = f"{why}; nor can its fallback: {why_none_fits(_cared_for(demanded, others))}"
    return _nothing_fits(demanded.wanted, why, demanded, [*fell_out, *others])


def _nothing_fits(wanted: Wanted, reason: str, demanded: Requirements, fell_out: list[FellOut]) -> NoModelFits:
    # Not all of them are told: where some models are allowed by name, why those fell out is what helps; then why those
    # did that could have done another call.
    allowed = {name.casefold() for name in demanded.allow}
    told = sorted(
        fell_out, key=lambda each: (each.model.casefold() not in allowed, each.hurdle is Hurdle.CALLED_AT_ALL)
    )
    return NoModelFits(wanted.name, reason, demanded.in_words(), [(each.model, each.reason) for each in told])
