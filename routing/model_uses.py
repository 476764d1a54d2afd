"""What names models: routes, and what apps above routing hand in when they start. And whether a model was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from routing.errors import InvalidRoute, UnknownStrategy
from routing.models import Route
from routing.route_options import options_of
from routing.routes import ANY, route_facts


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Something of a tenant's (None: shared) that names models; `words` are for people: "the route 'support'".

    `names` are found by any name that a model has, also an alias; `own_names` mean the model's name alone.
    `counted_names` and `counted_providers` are names of models and providers, in the catalog or not, under which calls
    are counted."""

    tenant_id: int | None
    words: str
    names: frozenset[str] = frozenset()
    own_names: frozenset[str] = frozenset()
    counted_names: frozenset[str] = frozenset()
    counted_providers: frozenset[str] = frozenset()


# Each answers the uses of one tenant's, or with None of everybody's.
FINDERS: list[Callable[[int | None], Iterable[ModelUse]]] = []


@dataclass(frozen=True, slots=True)
class CalledModel:
    """A model whose calls are asked for. `tenant_id` is None for a shared one, which anybody may have called; `since`
    is when it was made, None where that is not known."""

    id: int
    tenant_id: int | None
    names: frozenset[str]
    since: datetime | None


def _nothing_on_record(model: CalledModel) -> bool:
    return False


# Whether calls of a model are on record, by its id or under one of the names that it has now: telemetry hands it in
# when it starts (telemetry/apps.py).
was_called: Callable[[CalledModel], bool] = _nothing_on_record


def uses_of_models(tenant_id: int | None) -> list[ModelUse]:
    """All that names models: of one tenant's, or with None of everybody's and of what is shared."""
    return [use for find in (_uses_in_routes, *FINDERS) for use in find(tenant_id)]


def _uses_in_routes(tenant_id: int | None) -> Iterable[ModelUse]:
    rows = Route.objects.across_tenants().order_by("name")
    for row in rows if tenant_id is None else rows.filter(tenant=tenant_id):
        route = route_facts(row)
        named, own_named = {*route.models, *route.fallback, *route.match.get("model", ())} - {ANY}, set()
        try:
            options = options_of(route)
        except (InvalidRoute, UnknownStrategy):
            pass  # it was saved around the checks, and answers no call
        else:
            named |= options.demands.deny
            own_named |= set(options.models_named())
        yield ModelUse(row.tenant_id, f"the route {row.name!r}", frozenset(named), frozenset(own_named))
