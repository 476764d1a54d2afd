"""Which models of a tenant can be called at all, worked out once per version of the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from routing.errors import CredentialMissing, DialectNotSpoken
from routing.extras import always_searches
from routing.key_choice import credential_of
from routing.model_facts import ModelFacts
from routing.requirements import FellOut
from routing.snapshot import Catalog
from routing.upstreams.registry import dialect_of

# These two answer slowly or not at all, on purpose: for tests, so only by name.
MADE_TO_FAIL = frozenset({"sandbox-slow", "sandbox-error"})


def unusable_because(model: ModelFacts) -> str | None:
    """Why no call at all can be made of the model: switched off, without a key, of an unspoken dialect."""
    reason = model.unavailable_because()
    if reason is not None:
        return reason
    try:
        check_can_be_asked(model)
    except (DialectNotSpoken, CredentialMissing) as error:
        return error.message
    return None


def check_can_be_asked(model: ModelFacts) -> None:
    """Raises DialectNotSpoken or CredentialMissing where no call could be sent to the model."""
    dialect_of(model)
    credential_of(model)


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant's catalog, divided into what can be called at all and what cannot. `searching` can be called too, and
    always search the web: they are for whoever asks for them, or for searches. `by_name_only`: the names of these, and
    of the models among `fell_out` that can be called by whoever names them."""

    usable: tuple[ModelFacts, ...]
    searching: tuple[ModelFacts, ...]
    fell_out: tuple[FellOut, ...]
    by_name_only: frozenset[str] = frozenset()


# A catalog never changes and the environment's keys do not either, so this is worked out once per version.
_standings: WeakKeyDictionary[Catalog, dict[int, Standing]] = WeakKeyDictionary()


def standing_of(catalog: Catalog, tenant_id: int) -> Standing:
    """Which of the tenant's models may be chosen from when a route names none.

    Wildcards stand for no model in particular. The sandbox stands in only where no vendor can be called.
    """
    by_tenant = _standings.setdefault(catalog, {})
    found = by_tenant.get(tenant_id)
    if found is None:
        found = by_tenant[tenant_id] = _divide(catalog.models_of(tenant_id))
    return found


def _divide(models: Iterable[ModelFacts]) -> Standing:
    reasons: dict[str, str] = {}
    usable, by_name_only = [], set()
    for model in models:
        if model.is_wildcard:
            continue
        reason = unusable_because(model)
        if reason is None and model.provider.dialect == "sandbox" and model.name in MADE_TO_FAIL:
            reason = "it is made for tests, and used by name only"
            by_name_only.add(model.name)
        if reason is None:
            usable.append(model)
        else:
            reasons[model.name] = reason
    vendors = [model for model in usable if model.provider.dialect != "sandbox"]
    if vendors:
        sandbox = "it is the sandbox, which stands in only where no vendor can be called"
        set_aside = [model.name for model in usable if model.provider.dialect == "sandbox"]
        reasons |= dict.fromkeys(set_aside, sandbox)
        by_name_only.update(set_aside)
        usable = vendors
    searching = tuple(model for model in usable if always_searches(model))
    usable = [model for model in usable if not always_searches(model)]
    by_name_only.update(model.name for model in searching)
    fell_out = tuple(FellOut(name, reason) for name, reason in reasons.items())
    return Standing(tuple(usable), searching, fell_out, frozenset(by_name_only))
