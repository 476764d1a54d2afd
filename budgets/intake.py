"""From a request's body to the call in question: whose it is, for which model, at what estimate."""

from __future__ import annotations

from datetime import datetime

from budgets.bodies import AttributionBody, CheckBody
from budgets.calls import Call
from budgets.estimates import estimate_call
from budgets.models import ScopeType
from budgets.scope_names import counted_as
from routing.extras import Extras
from routing.service_tiers import tier_name
from spendhub.errors import Invalid
from spendhub.money import parse_usd
from spendhub.tenants.attribution import DIMENSIONS, Attribution, clean_key
from spendhub.tenants.snapshot import Principal


class UnknownScope(Invalid):
    """A scope type that does not exist, or a key that cannot be of its type."""

    code = "unknown_scope"


def attribution_of(body: AttributionBody | None, principal: Principal) -> Attribution:
    """What the body names, and the key's own attribution where it says nothing. Raises InvalidAttribution."""
    if body is None:
        return principal.attribution
    named = {dimension: clean_key(dimension, key) for dimension in DIMENSIONS if (key := getattr(body, dimension))}
    return Attribution(**named).over(principal.attribution) if named else principal.attribution


def call_of(body: CheckBody, principal: Principal, now: datetime, scope: tuple[str, str] | None = None) -> Call:
    """The call that a body asks about. `scope` is one more scope it names, e.g. by header (see `scoped`).

    Raises Invalid for what cannot be, and UnpricedModel as `estimate_call` does.
    """
    given = body.estimated_cost
    estimate = estimate_call(
        principal.tenant_id,
        principal.tenant.unpriced_models,
        body.model or None,
        given_nano_usd=None if given is None else parse_usd(given),
        input_tokens=body.input_tokens,
        max_output_tokens=body.max_output_tokens,
        now=now,
        extras=Extras(tier_name(*body.service_tier.split("+")), body.web_searches),
    )
    attribution = attribution_of(body.attribution, principal)
    model, provider = body.model or "", counted_as(principal.tenant_id, ScopeType.PROVIDER, body.provider or "")
    names = frozenset((model,)) if model else frozenset()
    if estimate.model is not None:
        names |= {estimate.model.name}
        model = estimate.model.name
        provider = provider or estimate.model.provider.name
    if scope is not None:
        attribution, provider, model = scoped(scope, principal, attribution, provider, model)
    return Call(
        tenant_id=principal.tenant_id,
        now=now,
        estimated_nano_usd=estimate.nano_usd,
        attribution=attribution,
        api_key=principal.key_prefix,
        provider=provider,
        model=model,
        model_names=names,
        tools=tuple(body.tools),
        input_tokens=estimate.input_tokens,
        max_output_tokens=estimate.max_output_tokens,
    )


def scoped(
    scope: tuple[str, str], principal: Principal, attribution: Attribution, provider: str = "", model: str = ""
) -> tuple[Attribution, str, str]:
    """Attribution, provider and model with a (scope type, key) laid over them.

    `tenant` and `api_key` can only name the caller's own: they apply to every call anyway.
    """
    scope_type, key = scope
    if scope_type in DIMENSIONS:
        return Attribution(**{scope_type: clean_key(scope_type, key)}).over(attribution), provider, model
    key = counted_as(principal.tenant_id, scope_type, clean_key("scopeKey", key)) if key != "*" else key
    if scope_type == ScopeType.PROVIDER and key != "*":
        return attribution, key, model
    if scope_type == ScopeType.MODEL and key != "*":
        return attribution, provider, model or key
    if scope_type == ScopeType.TENANT and key in ("*", principal.tenant_slug):
        return attribution, provider, model
    if scope_type == ScopeType.API_KEY and key == principal.key_prefix:
        return attribution, provider, model
    if scope_type in ScopeType.values:
        raise UnknownScope(f"a call cannot be for {scope_type} {key[:60]!r}", scope_type=scope_type)
    seen, known = scope_type[:40], ", ".join(ScopeType.values)
    raise UnknownScope(f"there is no scope type {seen!r}; there are {known}", scope_type=seen)


def scope_of_headers(scope_type: str | None, key: str | None) -> tuple[str, str] | None:
    """The scope that x-budget-scope-type and x-budget-scope-key name; None without them."""
    if not scope_type and not key:
        return None
    if not scope_type or not key:
        raise UnknownScope("x-budget-scope-type and x-budget-scope-key go together")
    return scope_type.strip().lower(), key.strip()
