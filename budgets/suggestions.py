"""Cheaper models to name: by a policy's downgrade rules, and in a refusal the one that would still fit."""

from __future__ import annotations

from budgets.calls import Call
from budgets.decisions import Decision
from budgets.known_models import known_models
from budgets.snapshot import BudgetFacts
from routing.model_facts import ModelFacts
from routing.pricing import estimate_nano_usd
from routing.snapshot import CATALOG

# A call whose size is unknown is compared at this one: the recipe's own assumption.
ASSUMED_INPUT_TOKENS = 1_000
ASSUMED_OUTPUT_TOKENS = 500


def model_is_known(tenant_id: int, name: str) -> bool:
    """Whether the tenant's catalog has a model of that name that may be called."""
    return known_models(tenant_id).is_known(name)


def downgrade_chain(budget: BudgetFacts, model: str, tenant_id: int) -> tuple[str, ...]:
    """The models that the budget's rules would step through from `model`, without going in circles."""
    known, chain = known_models(tenant_id), list[str]()
    current = known.meant(model)
    tried = {current}
    while (rule := known.next_rule(budget.downgrade_rules, {current}, tried)) is not None:
        chain.append(rule.to)
        current = known.meant(rule.to)
        tried.add(current)
    return tuple(chain)


def model_that_fits(decision: Decision) -> tuple[str, str, int] | None:
    """(model, provider, estimate in nano_usd) of a model that the refused call's budgets have room for.

    The policy's own downgrade targets come first, in their order; else the dearest model of the same
    provider that fits, for it is likely the nearest in ability. None where nothing fits.
    """
    call, bound = decision.call, decision.bound
    if bound is None or not call.model:
        return None
    catalog = CATALOG.current()
    current = catalog.resolve(call.tenant_id, call.model)
    room = min(each.remaining_nano_usd for each in decision.looked_at if each.matched.budget.is_enforced)
    if current is None or room <= 0:
        return None
    targets = [
        found
        for each in decision.looked_at
        for name in downgrade_chain(each.matched.budget, call.model, call.tenant_id)
        if (found := catalog.resolve(call.tenant_id, name)) is not None
    ]
    for model in targets:
        estimate = estimate_for(model, call, current)
        if estimate is not None and estimate <= room:
            return model.name, model.provider.name, estimate
    best: tuple[int, str, ModelFacts] | None = None
    for model in catalog.models_of(call.tenant_id):
        if (
            model.provider.name != current.provider.name
            or model.kind != current.kind
            or model.name == current.name
            or model.name.endswith("*")
            or not current.capabilities <= model.capabilities
            or model.unavailable_because() is not None
            or (model.retires_at is not None and model.retires_at <= call.now)
        ):
            continue
        estimate = estimate_for(model, call, current)
        if estimate is not None and 0 < estimate <= room and (best is None or (estimate, model.name) > best[:2]):
            best = (estimate, model.name, model)
    return None if best is None else (best[2].name, best[2].provider.name, best[0])


def estimate_for(model: ModelFacts, call: Call, current: ModelFacts) -> int | None:
    """What the call would be estimated at with `model`; where its size is unknown, its estimate scaled by
    what both models cost at an assumed size. None without a price."""
    price = model.price_at(call.now)
    if price is None:
        return None
    if call.input_tokens is not None:
        return estimate_nano_usd(price, call.input_tokens, call.max_output_tokens or 0)
    own = current.price_at(call.now)
    if own is None:
        return None
    theirs = estimate_nano_usd(price, ASSUMED_INPUT_TOKENS, ASSUMED_OUTPUT_TOKENS)
    ours = estimate_nano_usd(own, ASSUMED_INPUT_TOKENS, ASSUMED_OUTPUT_TOKENS)
    return -(-call.estimated_nano_usd * theirs // ours) if ours else None
