"""What is said of a row that was saved and is right in itself, but may do what its maker does not expect."""

from __future__ import annotations

import os
from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routing.compiled_prices import default_price
from routing.models import Model, Provider, Route
from routing.own_models import shared_twin
from routing.routes import ANY, AUTO, RouteFacts, route_facts
from routing.snapshot import CATALOG, Catalog

_NOTHING = mark_safe("")
# Only what decides where calls go is worth a second word.
DECIDES_WHERE_CALLS_GO = frozenset(("name", "base_url", "api_key_env", "is_enabled"))


def told_of_provider(row: Provider) -> SafeString:
    """Of an account's own provider that stands before a shared one: what goes there from now on, and with which key;
    "" where it stands before none."""
    if row.tenant_id is None:
        return _NOTHING
    models = [
        model
        for model in CATALOG.refresh().view(row.tenant_id).models.values()
        if model.tenant_id is None and model.provider.id == row.pk
    ]
    if not models:
        return _NOTHING
    count = f"{len(models)} shared models" if len(models) > 1 else "one shared model"
    if not row.is_enabled:
        return format_html(
            "Your {} is switched off and stands before the shared one: calls of its {} are refused.", row.name, count
        )
    goes = format_html("Calls of the {} of {} go to {} from now on.", count, row.name, row.base_url)
    return format_html("{} {}", goes, _told_of_key(row)) if not _has_key(row) else goes


def _told_of_key(row: Provider) -> SafeString:
    enter = format_html(
        '<a href="{}?provider={}" class="underline">enter one under Vendor keys</a>',
        reverse("admin:routing_credential_add"),
        row.pk,
    )
    if row.api_key_env:
        return format_html("They are refused, for the variable {} is empty: {}.", row.api_key_env, enter)
    return format_html("No key is sent there, for this provider has none: {}, unless that server needs none.", enter)


def _has_key(row: Provider) -> bool:
    facts = next((each for each in CATALOG.current().providers if each.id == row.pk), None)
    is_held = facts is not None and any(key.secret is not None for key in facts.credentials)
    return is_held or bool(row.api_key_env and os.environ.get(row.api_key_env, "").strip())


def told_of_model(row: Model, now: datetime) -> SafeString:
    """That a model without a price at `now` cannot be called, and whose place it takes; "" where it has one, is
    switched off, or where the account lets such models through."""
    facts = next((each for each in CATALOG.refresh().models_of(row.tenant_id) if each.id == row.pk), None)
    if facts is None or not facts.is_enabled or facts.price_at(now) is not None:
        return _NOTHING
    if row.tenant is not None and row.tenant.unpriced_models == "default" and default_price() is not None:
        return _NOTHING
    told = format_html(
        '{} has no price, so every call of it is refused: <a href="{}?model={}" class="underline">set one under '
        "Prices</a>.",
        row.name,
        reverse("admin:routing_price_add"),
        row.pk,
    )
    if shared_twin(row) is None:
        return told
    return format_html(
        "{} It stands in the place of the shared {} from now on, also while it has none.", told, row.name
    )


def told_of_route(row: Route) -> list[str]:
    """Of a rule: names it is for that nothing has, and another rule for the same calls, where one of the two never
    comes to a turn."""
    catalog = CATALOG.refresh()
    route = route_facts(row)
    if not route.match or not route.is_enabled:
        return []
    return [*_told_of_names(catalog, row.tenant_id, route), *_told_of_twins(catalog, row.tenant_id, route)]


def _told_of_names(catalog: Catalog, tenant_id: int | None, route: RouteFacts) -> list[str]:
    known = {AUTO, ANY, *(name.casefold() for name in catalog.routes.seen_by(tenant_id))}
    unknown = [
        name
        for name in sorted(route.match.get("model", ()))
        if name.casefold() not in known and catalog.resolve(tenant_id, name) is None
    ]
    if not unknown:
        return []
    listed, who = ", ".join(f"“{name}”" for name in unknown), "that very name" if len(unknown) == 1 else "these names"
    return [
        f"No model and no route is called {listed}: the rule answers whoever asks for {who}. If you meant another one, "
        "change it."
    ]


def _told_of_twins(catalog: Catalog, tenant_id: int | None, route: RouteFacts) -> list[str]:
    rules = catalog.routes.rules_of(tenant_id)
    alike = [rule.name for rule in rules if _is_for_the_same_calls(rule, route) and rule.priority == route.priority]
    if len(alike) < 2:
        return []
    names = " and ".join(f"“{name}”" for name in alike)
    return [f"{names} are rules for the same calls, of the same priority: “{alike[0]}” is used."]


def _is_for_the_same_calls(one: RouteFacts, other: RouteFacts) -> bool:
    whose = [{key: keys for key, keys in route.match.items() if key != "model"} for route in (one, other)]
    return whose[0] == whose[1] and one.asked_as == other.asked_as
