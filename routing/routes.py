"""Routes as every process holds them: found by name, or as the rule that a call falls under, without a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from routing.models import Route
from spendhub.tenants.attribution import Attribution

# Always a route, whatever a model or alias is called.
AUTO = "auto"
ANY = "*"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class RouteFacts:
    """A route as calls need it. `match` has the keys it is a rule for, by dimension; empty: found by name only.

    `asked_as` are the names, in folded letters, that a call asks for which the rule is for."""

    id: UUID
    tenant_id: int | None
    name: str
    models: tuple[str, ...]
    strategy: str
    fallback: tuple[str, ...]
    match: Mapping[str, frozenset[str]]
    options: Mapping[str, Any]
    priority: int
    is_enabled: bool
    asked_as: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Once per version of the catalog.
        names = self.match.get("model", (AUTO,))
        object.__setattr__(self, "asked_as", frozenset(name.casefold() for name in names))

    def applies_to(self, name: str, attribution: Attribution) -> bool:
        """Whether it is a rule for a call that asks for `name` on behalf of `attribution`."""
        for dimension, keys in self.match.items():
            if dimension == "model":
                continue
            key = getattr(attribution, dimension, None)
            if key is None or (key not in keys and ANY not in keys):
                return False
        return ANY in self.asked_as or name.casefold() in self.asked_as


class RouteBook:
    """All routes of the installation at one version. Never changes."""

    def __init__(self, routes: Iterable[RouteFacts] = ()) -> None:
        ordered = sorted(routes, key=lambda route: (-route.priority, route.tenant_id is None, route.name))
        self._routes = tuple(ordered)
        self._tenants = {route.tenant_id for route in ordered}
        self._rules: dict[int | None, tuple[RouteFacts, ...]] = {}
        self._names: dict[int | None, dict[str, RouteFacts]] = {}
        self._folded: dict[int | None, dict[str, RouteFacts]] = {}

    def rules_of(self, tenant_id: int | None) -> tuple[RouteFacts, ...]:
        """The tenant's rules in force; the first that applies wins: by priority, own before shared ones, by name."""
        owner = tenant_id if tenant_id in self._tenants else None
        found = self._rules.get(owner)
        if found is None:
            seen = set(self.seen_by(owner).values())
            found = tuple(each for each in self._routes if each.match and each.is_enabled and each in seen)
            self._rules[owner] = found
        return found

    def seen_by(self, tenant_id: int | None) -> Mapping[str, RouteFacts]:
        """The routes a tenant sees, by name; one of its own hides the shared one, even when switched off."""
        owner = tenant_id if tenant_id in self._tenants else None
        found = self._names.get(owner)
        if found is None:
            shared = {route.name: route for route in self._routes if route.tenant_id is None}
            own = {route.name: route for route in self._routes if owner is not None and route.tenant_id == owner}
            found = self._names[owner] = shared | own
        return found

    def rule_for(self, tenant_id: int, name: str, attribution: Attribution) -> RouteFacts | None:
        """The rule that a call falls under."""
        for rule in self.rules_of(tenant_id):
            if rule.applies_to(name, attribution):
                return rule
        return None

    def named(self, tenant_id: int, name: str) -> RouteFacts | None:
        """The route called `name` to the letter, switched off or not."""
        return self.seen_by(tenant_id).get(name)

    def named_in_another_case(self, tenant_id: int, name: str) -> RouteFacts | None:
        """The route called `name` but for its letters' case, switched off or not: one's own before a shared one."""
        return self._folded_names(tenant_id).get(name.casefold())

    def _folded_names(self, tenant_id: int | None) -> Mapping[str, RouteFacts]:
        owner = tenant_id if tenant_id in self._tenants else None
        found = self._folded.get(owner)
        if found is None:
            ordered = sorted(self.seen_by(owner).values(), key=lambda route: (route.tenant_id is not None, route.name))
            found = self._folded[owner] = {route.name.casefold(): route for route in ordered}
        return found


NO_ROUTES = RouteBook()


def read_routes() -> RouteBook:
    """Reads the routes of the whole installation: one query."""
    return RouteBook(route_facts(row) for row in Route.objects.across_tenants())


def route_facts(row: Route) -> RouteFacts:
    """A row as calls need it. What is of no use in it (it was saved around the checks) counts as absent."""
    match = row.match if isinstance(row.match, dict) else {}
    return RouteFacts(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        models=_names(row.candidate_models),
        strategy=row.strategy,
        fallback=_names(row.fallback),
        match={str(dimension): frozenset(_names(keys)) for dimension, keys in match.items()},
        options=row.options if isinstance(row.options, dict) else {},
        priority=row.priority,
        is_enabled=row.is_enabled,
    )


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(name) for name in value) if isinstance(value, list) else ()
