"""What a route must be before it is saved, over the API and in the admin alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.errors import InvalidRoute, UnknownStrategy
from routing.models import Model, Route
from routing.route_options import RouteOptions, read_options
from routing.routes import ANY, AUTO
from routing.snapshot import Catalog, CatalogView
from routing.strategies.pinned import Pinned
from routing.strategies.weighted import Weighted
from spendhub.tenants.attribution import DIMENSIONS, InvalidAttribution, clean_key

MOST_KEYS = 50
MATCHED = (*DIMENSIONS, "model")


@dataclass(frozen=True, slots=True)
class CheckedRoute:
    """A route's parts as they are stored: aliases are replaced by the names of their models."""

    models: list[str]
    fallback: list[str]
    match: dict[str, list[str]]
    problems: dict[str, list[str]]


def check_route(
    catalog: Catalog,
    tenant_id: int | None,
    *,
    models: Sequence[str],
    strategy: str,
    fallback: Sequence[str],
    match: Any,
    options: Any,
    name: str = "",
    row: Route | None = None,
) -> CheckedRoute:
    """Checks a route of `tenant_id` (None: a shared one) against the catalog; problems are told by field.

    `name` "" is not looked at: a catalog file's routes may be called as a model is that an admin has added since. `row`
    is the route as it is stored, None for a new one."""
    problems: dict[str, list[str]] = {}
    names = _catalog_names(catalog, tenant_id, models, problems, "models")
    spare = _catalog_names(catalog, tenant_id, fallback, problems, "fallback")
    _check_fallback(catalog.view(tenant_id), spare, problems)
    rule = _checked_match(match, problems)
    _check_case_of_name(catalog, tenant_id, name, row, problems)
    if not rule and "match" not in problems:
        _check_name(catalog, tenant_id, name, problems)
    if not isinstance(options, Mapping):
        problems["options"] = ['must be an object such as {"timeout_ms": 30000}']
        return CheckedRoute(names, spare, rule, problems)
    try:
        found = read_options(strategy, options, names)
    except UnknownStrategy as error:
        problems["strategy"] = [error.message]
    except InvalidRoute as error:
        is_about_models = error.details.get("field") == "models"
        # Where a model that nobody has was named, that is what is wrong.
        problems.setdefault("models" if is_about_models else "options", [error.message])
    else:
        told = _problems_of_options(catalog.view(tenant_id), found, names)
        if told:
            problems["options"] = told
        if found.strategy.name == Pinned.name and len(names) > 1 and "model" not in options:
            which = f'{{"model": "{names[0]}"}}'
            problems.setdefault("models", []).append(
                f"{Pinned.name} is one model: name one, or say in the options which of them, as in {which}"
            )
    return CheckedRoute(names, spare, rule, problems)


def with_experiment_kept(row: Route, name: str, strategy: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the stored route `row` when it is called `name` from now on. A weighted route draws by its name
    unless it names its experiment: renamed, it names it as it was called, so that nobody draws another model."""
    is_experiment = row.strategy == strategy == Weighted.name
    if not is_experiment or name == row.name or "experiment" in options or "experiment" in row.options:
        return options
    return options | {"experiment": row.name}


def _catalog_names(
    catalog: Catalog, tenant_id: int | None, given: Sequence[str], problems: dict[str, list[str]], field: str
) -> list[str]:
    names: list[str] = []
    for name in given:
        model = catalog.resolve(tenant_id, name)
        if model is None:
            problems.setdefault(field, []).append(f"no model is called {name[:120]!r}; see Models")
        elif model.is_wildcard:
            problems.setdefault(field, []).append(_names_a_wildcard(name))
        elif model.name not in names:
            names.append(model.name)
    return names


def _check_name(catalog: Catalog, tenant_id: int | None, name: str, problems: dict[str, list[str]]) -> None:
    # A model of that name that is saved at this moment is not seen yet: see problems_of_names on why that is tolerated.
    view = catalog.view(tenant_id)
    model = view.resolve(name) if name.casefold() != AUTO and view.knows(name) else None
    if model is not None:
        which = "a model" if name == model.name else f"the model {model.name!r}"
        problems["name"] = [
            f"{name!r} is {which}, so a call for it never comes to the route: give the route another name, or a match"
        ]


def _check_case_of_name(
    catalog: Catalog, tenant_id: int | None, name: str, row: Route | None, problems: dict[str, list[str]]
) -> None:
    """Routes are found in whatever case they are asked for, so two names that differ in case alone are one."""
    if row is not None and row.name == name:
        return
    for other in catalog.routes.seen_by(tenant_id).values():
        is_itself = row is not None and other.id == row.pk
        if other.name != name and other.name.casefold() == name.casefold() and not is_itself:
            whose = "the shared" if other.tenant_id is None else "your"
            problems["name"] = [
                f"{name!r} differs in case alone from {whose} route {other.name!r}: take another name, or that one to "
                "the letter"
            ]


def _check_fallback(view: CatalogView, names: Sequence[str], problems: dict[str, list[str]]) -> None:
    for name in _embedding_among(view, names):
        problems.setdefault("fallback", []).append(
            f"{name[:120]!r} is a model for embedding, and a fallback answers chats alone"
        )


def _embedding_among(view: CatalogView, names: Iterable[str]) -> list[str]:
    found = ((name, view.resolve(name)) for name in names)
    return [name for name, model in found if model is not None and model.kind == Model.Kind.EMBEDDING]


def _problems_of_options(view: CatalogView, found: RouteOptions, candidates: Sequence[str]) -> list[str]:
    named, chosen_among = found.models_named(), found.strategy.candidates_in(found.settings)
    told = [f"no catalog model has the name {name[:120]!r}" for name in named if name not in view.models]
    told += [_names_a_wildcard(name) for name in named if name in view.models and view.models[name].is_wildcard]
    told += [
        f"{found.strategy.name}: {name[:120]!r} is no candidate of the route"
        for name in chosen_among
        if candidates and name in view.models and name not in candidates
    ]
    told += [
        f"{name[:120]!r} is a model for embedding, which scores no answers"
        for name in _embedding_among(view, found.models_that_score())
    ]
    if candidates and all(_is_denied(view, name, found.demands.deny) for name in candidates):
        told.append("deny: all models of the route are on it, so none of them could ever answer")
    return [*told, *(_names_nothing(word) for word in sorted(found.demands.deny) if not _names_some(view, word))]


def _is_denied(view: CatalogView, name: str, deny: Iterable[str]) -> bool:
    model = view.resolve(name)
    return model is not None and not model.listed_as.isdisjoint(word.casefold() for word in deny)


def _names_a_wildcard(name: str) -> str:
    return f"{name[:120]!r} is a wildcard, which stands for no model in particular: write a name that it catches"


def _names_some(view: CatalogView, word: str) -> bool:
    """Whether a deny list with `word` leaves some model out."""
    name = word.casefold()
    if name.endswith("/*"):
        return any(name in model.listed_as for model in view.models.values())
    # What a wildcard catches is asked for without its provider.
    found = (view.resolve(each) for each in (word, word.partition("/")[2]))
    return any(model is not None and name in model.listed_as for model in found)


def _names_nothing(word: str) -> str:
    return f"deny: {word[:120]!r} names no model: neither by name or alias, nor as provider/name or provider/*"


def _checked_match(given: Any, problems: dict[str, list[str]]) -> dict[str, list[str]]:
    if not isinstance(given, Mapping):
        problems["match"] = ['must be an object such as {"feature": "support"}']
        return {}
    found: dict[str, list[str]] = {}
    for dimension, keys in given.items():
        listed = [keys] if isinstance(keys, str) else keys
        if dimension not in MATCHED:
            problems["match"] = [f"{str(dimension)[:40]!r} is none of {', '.join(MATCHED)}"]
        elif not isinstance(listed, list) or not 1 <= len(listed) <= MOST_KEYS:
            problems["match"] = [f"{dimension}: must be a key, or a list of 1 to {MOST_KEYS} keys"]
        else:
            try:
                found[dimension] = list(
                    dict.fromkeys(key if key == ANY else clean_key(dimension, key) for key in listed)
                )
            except InvalidAttribution as error:
                problems["match"] = [error.message]
    return found
