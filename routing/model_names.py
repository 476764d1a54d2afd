"""What a model may be called: nothing that means something else already, and nothing else while something names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from routing.counted_names import problems_of_counted_names
from routing.model_facts import ModelFacts
from routing.model_uses import ModelUse, uses_of_models
from routing.models import Model, Provider
from routing.routes import AUTO, RouteFacts
from routing.snapshot import CATALOG, Catalog, CatalogView
from spendhub.tenants.models import Tenant

_MOST_TOLD = 3

Problems = dict[str, list[str]]


def problems_of_names(
    tenant_id: int | None, row: Model | None, *, name: str, aliases: Sequence[str], provider: Provider | None = None
) -> Problems:
    """What is wrong, by field, with calling a model of `tenant_id` (None: a shared one) so from now on: a name means
    something else already, or something names the model as it is called now.

    `row` is the model as it is stored, None for a new one; `provider` its provider from now on, None for the one it
    has. Nothing is wrong with names that stay as they are.

    A route and a model of one name that are saved at the same moment both pass, for neither sees the other yet. That is
    tolerated: calls go to the model, and whoever saves the route next is told; a lock would make all edits of models
    and routes wait for each other."""
    provider = provider or (None if row is None else row.provider)
    provider_name = "" if provider is None else provider.name
    if row is not None and row.tenant_id == tenant_id and _is_called_so(row, name, aliases, provider_name):
        return {}
    catalog = CATALOG.refresh()
    problems = _taken(catalog, tenant_id, row, name, aliases, provider_name) or problems_of_counted_names(
        catalog, tenant_id, row, name=name, aliases=aliases, provider=provider_name
    )
    if row is None or problems:
        return problems
    return _problem_of_renaming(catalog, row, name, aliases, provider_name)


def _is_called_so(row: Model, name: str, aliases: Sequence[str], provider: str) -> bool:
    return (row.name, set(row.aliases), row.provider.name) == (name, set(aliases), provider)


def _taken(
    catalog: Catalog, tenant_id: int | None, row: Model | None, name: str, aliases: Sequence[str], provider: str
) -> Problems:
    known = set() if row is None else {row.name, *row.aliases, f"{row.provider.name}/{row.name}"}
    others = [each for each in catalog.models_of(tenant_id) if row is None or each.id != row.pk]
    in_full = "name" if row is None or name != row.name else "provider"
    problems: Problems = {}
    for field, words in (("name", [name]), ("aliases", aliases), (in_full, [f"{provider}/{name}"])):
        for word in words:
            if word in known:
                continue
            told = _route_called(catalog, tenant_id, word) or _model_called(others, tenant_id, name, word, field)
            if told:
                problems.setdefault(field, []).append(f"{word[:120]!r} is {told}")
    return problems


def _problem_of_renaming(catalog: Catalog, row: Model, name: str, aliases: Sequence[str], provider: str) -> Problems:
    is_renamed, is_moved = name != row.name, provider != row.provider.name
    uses = _broken_uses(catalog, row, _called(catalog, row, name, aliases, provider))
    if not uses:
        return {}
    told = told_uses(row, uses, " as it is called now")
    with_aliases = _called(catalog, row, name, [*aliases, row.name, *row.aliases], provider)
    if is_renamed and not _broken_uses(catalog, row, with_aliases):
        told += f", or keep {row.name!r} as an alias"
    return {"name" if is_renamed else "provider" if is_moved else "aliases": [told]}


def uses_of_model(catalog: Catalog, row: Model) -> list[ModelUse]:
    """What names the stored model `row`, and would mean nothing without it."""
    return _broken_uses(catalog, row, None)


def told_uses(row: Model | Provider, uses: Sequence[ModelUse], how: str) -> str:
    """The uses, at least one, as a sentence's words: "the route 'support' and the budget 'Cap' name it", `how` they do
    so or what of it, and what to do first."""
    # Names of accounts are for the operator, who alone edits shared rows.
    accounts = {} if row.tenant_id is not None else dict(Tenant.objects.values_list("pk", "name"))
    words = [
        f"{use.words} of {accounts[use.tenant_id]}" if use.tenant_id in accounts else use.words
        for use in uses[:_MOST_TOLD]
    ]
    if len(uses) > _MOST_TOLD:
        words.append(f"{len(uses) - _MOST_TOLD} more")
    listed = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    names, them = ("names", "that") if len(uses) == 1 else ("name", "them")
    return f"{listed} {names} it{how}: change {them} first"


def _route_called(catalog: Catalog, tenant_id: int | None, word: str) -> str:
    if word.casefold() == AUTO:
        return "always a route, so no call would come to the model"
    route = next((each for each in _found_by_name(catalog, tenant_id) if each.name.casefold() == word.casefold()), None)
    if route is None:
        return ""
    which = "a route" if route.name == word else f"the route {route.name!r}"
    return f"{which}, and no call would come to it any more"


def _found_by_name(catalog: Catalog, tenant_id: int | None) -> list[RouteFacts]:
    # A rule is found by what a call is for, whatever models are called; and auto whatever they are called.
    seen = catalog.routes.seen_by(tenant_id).values()
    return [route for route in seen if route.is_enabled and not route.match and route.name != AUTO]


def _model_called(others: Sequence[ModelFacts], tenant_id: int | None, name: str, word: str, field: str) -> str:
    folded = word.casefold()
    for other in others:
        # One's own model stands before the shared one that it is called as, also under its other name.
        if field == "aliases" and folded == other.name.casefold() and folded != name.casefold():
            return "the name of another model, which calls for it go to"
        if other.tenant_id == tenant_id and folded in {alias.casefold() for alias in other.aliases}:
            return f"an alias of the model {other.name!r}"
        is_hidden = other.name.casefold() == name.casefold() or (field == "name" and other.tenant_id != tenant_id)
        if folded == f"{other.provider.name}/{other.name}".casefold() and not is_hidden:
            return f"how the model {other.name!r} is called in full"
    return ""


def _called(catalog: Catalog, row: Model, name: str, aliases: Sequence[str], provider: str) -> ModelFacts | None:
    """The stored model as it would be under those names."""
    stored = next((each for each in catalog.models_of(row.tenant_id) if each.id == row.pk), None)
    if stored is None:
        return None
    return replace(stored, name=name, aliases=tuple(aliases), provider=replace(stored.provider, name=provider))


def _broken_uses(catalog: Catalog, row: Model, becomes: ModelFacts | None) -> list[ModelUse]:
    """Uses that mean `row` now, and would find nothing where it is what it `becomes`, or is gone (None)."""
    views: dict[int | None, tuple[CatalogView, CatalogView]] = {}
    broken = []
    for use in uses_of_models(row.tenant_id):
        if use.tenant_id not in views:
            views[use.tenant_id] = catalog.view(use.tenant_id), _changed_view(catalog, use.tenant_id, row, becomes)
        before, after = views[use.tenant_id]
        # Also one that leads to a tenant's own model, by an alias of the shared one that this hides.
        lost = any(before.resolve(word) is not None and after.resolve(word) is None for word in use.names)
        if lost or any(_is_meant(before.models.get(w), row) and w not in after.models for w in use.own_names):
            broken.append(use)
    return broken


def _is_meant(found: ModelFacts | None, row: Model) -> bool:
    return found is not None and found.id == row.pk


def _changed_view(catalog: Catalog, tenant_id: int | None, row: Model, becomes: ModelFacts | None) -> CatalogView:
    # Where one's own model goes, the shared one that it hid comes to light.
    rest = [each for each in (*catalog.models_of(None), *catalog.models_of(tenant_id)) if each.id != row.pk]
    return CatalogView(rest if becomes is None else [*rest, becomes])
