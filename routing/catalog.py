"""Loads and refreshes the shared catalog: what admins have set stays, old prices are closed, not changed.

`refresh_catalog` compares a catalog file with the rows and writes the difference in a few bulk
statements; a second run finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction

from routing.errors import InvalidCatalog
from routing.models import CATALOG_SNAPSHOT, Model, Provider, Route
from routing.price_changes import refresh_prices
from routing.price_specs import PriceSpec, genai_model_of, moment_of, specs_from_file, specs_from_genai
from routing.price_tiers import tiers_from_genai, with_surcharges
from routing.route_checks import check_route
from routing.snapshot import Catalog, build_catalog
from spendhub.snapshots import bump

DATA_DIR = Path(__file__).parent / "data"
BUILT_IN_FILES = tuple(DATA_DIR / f"{name}.json" for name in ("catalog", "vendors", "sandbox", "routes"))
SURCHARGES_FILE = DATA_DIR / "surcharges.json"
PROVIDER_FIELDS: Mapping[str, type] = {
    "dialect": str, "base_url": str, "api_key_env": str, "auth_header": str, "has_responses": bool,
    "timeout_seconds": int, "is_enabled": bool,
}  # fmt: skip
MODEL_FIELDS = (
    "provider_id", "kind", "quality", "context_tokens", "max_output_tokens", "capabilities", "aliases",
    "upstream_name", "region", "retires_at", "source", "base_url", "api_key_env", "is_enabled",
)  # fmt: skip
# Texts of a model that not everything is allowed in; its rows are made in bulk, which checks nothing.
_TEXTS: Mapping[str, Any] = {
    name: Model._meta.get_field(name) for name in ("upstream_name", "region", "base_url", "api_key_env")
}
ROUTE_FIELDS: Mapping[str, type] = {
    "models": list, "strategy": str, "fallback": list, "match": dict, "options": dict, "priority": int,
    "is_enabled": bool,
}  # fmt: skip

Row = TypeVar("Row", Provider, Route)


@dataclass
class CatalogChanges:
    """What a refresh did, one line each."""

    lines: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines)

    def add(self, line: str) -> None:
        """Notes one change."""
        self.lines.append(line)


def read_catalog_file(path: Path) -> dict[str, Any]:
    """The content of a catalog file. Raises InvalidCatalog, naming the file and what is wrong in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCatalog(f"{path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidCatalog(f"{path}: is no JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("models", []), list):
        raise InvalidCatalog(f"{path}: must be an object with lists `providers` and `models`")
    return content


def refresh_catalog(files: Sequence[Path], now: datetime) -> CatalogChanges:
    """Brings the shared rows up to the content of `files`; rows that the files do not name stay as they are.

    Raises InvalidCatalog before anything is written.
    """
    changes = CatalogChanges()
    with transaction.atomic():
        for path in files:
            _refresh_from(read_catalog_file(path), str(path.name), now, changes)
        if changes:
            bump(CATALOG_SNAPSHOT)
    return changes


def set_provider(
    name: str,
    *,
    dialect: str | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    auth_header: str | None = None,
    has_responses: bool | None = None,
) -> tuple[Provider, bool]:
    """Adds the shared provider `name`, or gives it another dialect, address or key; what is None stays.

    Returns the row and whether it is new. What was set here a catalog refresh leaves alone. Raises
    InvalidCatalog for values that no provider can have.
    """
    given = {
        "dialect": dialect,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "auth_header": auth_header,
        "has_responses": has_responses,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    with transaction.atomic():
        provider = Provider.objects.across_tenants().filter(tenant=None, name=name).first()
        created = provider is None
        provider = provider or Provider(tenant=None, name=name)
        for attribute, value in wanted.items():
            setattr(provider, attribute, value)
        remember_edits(provider, wanted)
        try:
            provider.full_clean()
        except ValidationError as error:
            raise InvalidCatalog(_first_message(error)) from None
        provider.save()
    return provider, created


def remember_edits(row: Provider | Model | Route, field_names: Iterable[str]) -> None:
    """Notes that an admin has set these fields of a shared row, so that a refresh leaves them alone."""
    row.edited_fields = sorted({*row.edited_fields, *field_names})


def _refresh_from(content: Mapping[str, Any], label: str, now: datetime, changes: CatalogChanges) -> None:
    checked_on = _date(content.get("checked_on"), f"{label}: checked_on") or now.date()
    providers = _refresh_providers(content.get("providers", []), changes)
    entries = content.get("models", [])
    models = _refresh_models(entries, providers, checked_on, label, changes)
    wanted = {
        models[str(entry["name"])]: _prices_of(entry, providers_of_prices=content, label=label) for entry in entries
    }
    for line in refresh_prices(wanted, checked_on, now):
        changes.add(line)
    _refresh_routes(content.get("routes", []), label, changes)


def _refresh_providers(entries: Sequence[Mapping[str, Any]], changes: CatalogChanges) -> dict[str, Provider]:
    known = {row.name: row for row in Provider.objects.across_tenants().filter(tenant=None)}
    for entry in entries:
        name = str(entry.get("name", ""))
        values = _values_of(entry, PROVIDER_FIELDS, f"provider {name!r}")
        known[name] = _brought_up_to_date(known.get(name) or Provider(tenant=None, name=name), values, "", changes)
    return known


def _values_of(entry: Mapping[str, Any], fields: Mapping[str, type], where: str) -> dict[str, Any]:
    for key, kind in fields.items():
        if not isinstance(entry.get(key, kind()), kind):
            raise InvalidCatalog(f"{where}: {key}: {entry[key]!r} must be a {kind.__name__}")
    return {key: entry[key] for key in fields if key in entry}


def _brought_up_to_date(row: Row, values: Mapping[str, Any], where: str, changes: CatalogChanges) -> Row:
    """The provider or route with those values, saved where that makes it another one."""
    kind = row._meta.verbose_name
    if row._state.adding:
        for name, value in values.items():
            setattr(row, name, value)
        changes.add(f"+ {kind} {row.name}")
    elif not _take_over(row, values, f"{kind} {row.name}", changes):
        return row
    try:
        row.full_clean(exclude=["edited_fields"])
    except ValidationError as error:
        raise InvalidCatalog(f"{where}{kind} {row.name!r}: {_first_message(error)}") from None
    row.save()
    return row


def _refresh_models(
    entries: Sequence[Mapping[str, Any]],
    providers: Mapping[str, Provider],
    checked_on: date,
    label: str,
    changes: CatalogChanges,
) -> dict[str, Model]:
    known = {row.name: row for row in Model.objects.across_tenants().filter(tenant=None)}
    created, updated = [], []
    for entry in entries:
        values = _model_values(entry, providers, label)
        name = str(entry["name"])
        row = known.get(name)
        if row is None:
            row = known[name] = Model(tenant=None, name=name, checked_on=checked_on, **values)
            created.append(row)
            changes.add(f"+ model {name}")
        elif _take_over(row, values, f"model {name}", changes):
            row.checked_on = checked_on
            updated.append(row)
    Model.objects.across_tenants().bulk_create(created, batch_size=200)
    if updated:
        Model.objects.across_tenants().bulk_update(updated, [*_columns(MODEL_FIELDS), "checked_on"], batch_size=100)
    return known


def _refresh_routes(entries: Any, label: str, changes: CatalogChanges) -> None:
    if not isinstance(entries, list):
        raise InvalidCatalog(f"{label}: routes must be a list")
    known = {row.name: row for row in Route.objects.across_tenants().filter(tenant=None)}
    catalog: Catalog | None = None
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry.get("name"):
            raise InvalidCatalog(f"{label}: a route needs a name: {str(entry)[:80]}")
        name = str(entry["name"])
        row = known.get(name)
        if row is not None and all(getattr(row, _column(key)) == entry[key] for key in ROUTE_FIELDS if key in entry):
            continue  # also where its models have left the catalog since
        catalog = catalog or build_catalog()
        values = _route_values(entry, catalog, f"{label}: route {name!r}")
        _brought_up_to_date(row or Route(tenant=None, name=name), values, f"{label}: ", changes)


def _route_values(entry: Mapping[str, Any], catalog: Catalog, where: str) -> dict[str, Any]:
    values = _values_of(entry, ROUTE_FIELDS, where)
    models, fallback = values.get("models", []), values.get("fallback", [])
    if not all(isinstance(name, str) for name in (*models, *fallback)):
        raise InvalidCatalog(f"{where}: models and fallback must be lists of models' names")
    # What the file leaves out counts as a new route has it.
    checked = check_route(
        catalog, None, models=models, strategy=values.get("strategy", Route().strategy), fallback=fallback,
        match=values.get("match", {}), options=values.get("options", {}),
    )  # fmt: skip
    for field_name, problems in checked.problems.items():
        raise InvalidCatalog(f"{where}: {field_name}: {problems[0]}")
    as_stored = {"models": checked.models, "fallback": checked.fallback, "match": checked.match}
    values |= {name: value for name, value in as_stored.items() if name in values}
    return {_column(name): value for name, value in values.items()}


def _column(route_field: str) -> str:
    return "candidate_models" if route_field == "models" else route_field


def _take_over(row: Provider | Model | Route, values: Mapping[str, Any], label: str, changes: CatalogChanges) -> bool:
    changed = False
    for name, value in values.items():
        before = getattr(row, name)
        if before == value or name.removesuffix("_id") in row.edited_fields:
            continue
        setattr(row, name, value)
        changes.add(f"~ {label}: {name.removesuffix('_id')} {before!r} -> {value!r}")
        changed = True
    return changed


def _model_values(entry: Any, providers: Mapping[str, Provider], label: str) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or not entry.get("name"):
        raise InvalidCatalog(f"{label}: a model needs a name: {str(entry)[:80]}")
    where = f"{label}: model {entry['name']!r}"
    provider = providers.get(str(entry.get("provider")))
    if provider is None:
        raise InvalidCatalog(f"{where}: no provider is called {entry.get('provider')!r}")
    values: dict[str, Any] = {"provider_id": provider.pk, "source": str(entry.get("source", ""))[:300]}
    for name in ("kind", "quality", "upstream_name", "region", "base_url", "api_key_env"):
        if name in entry:
            values[name] = str(entry[name])
    if "is_enabled" in entry:
        if not isinstance(entry["is_enabled"], bool):
            raise InvalidCatalog(f"{where}: is_enabled must be true or false")
        values["is_enabled"] = entry["is_enabled"]
    for name in ("context_tokens", "max_output_tokens"):
        if name in entry:
            values[name] = entry[name]
            if entry[name] is not None and (not isinstance(entry[name], int) or entry[name] < 0):
                raise InvalidCatalog(f"{where}: {name}: {entry[name]!r} is no number of tokens")
    for name in ("capabilities", "aliases"):
        if name in entry:
            if not isinstance(entry[name], list) or not all(isinstance(word, str) for word in entry[name]):
                raise InvalidCatalog(f"{where}: {name} must be a list of words")
            values[name] = entry[name]
    if values.get("kind", Model.Kind.CHAT) not in Model.Kind.values:
        raise InvalidCatalog(f"{where}: kind must be one of {', '.join(Model.Kind.values)}")
    if values.get("quality", Model.Quality.STANDARD) not in Model.Quality.values:
        raise InvalidCatalog(f"{where}: quality must be one of {', '.join(Model.Quality.values)}")
    for name in _TEXTS:
        if values.get(name):
            try:
                _TEXTS[name].run_validators(values[name])
            except ValidationError as error:
                raise InvalidCatalog(f"{where}: {name}: {error.messages[0]}") from None
    if entry.get("retires_on"):
        try:
            values["retires_at"] = moment_of("retires_on", entry["retires_on"])
        except InvalidCatalog as error:
            raise InvalidCatalog(f"{where}: {error.message}") from None
    return values


def _prices_of(entry: Mapping[str, Any], providers_of_prices: Mapping[str, Any], label: str) -> list[PriceSpec]:
    try:
        if "prices" in entry:
            return specs_from_file(entry["prices"], str(providers_of_prices.get("source", label)))
    except InvalidCatalog as error:
        raise InvalidCatalog(f"{label}: model {entry['name']!r}: {error.message}") from None
    found = genai_model_of(entry)
    if found is None:
        return []
    specs = [*specs_from_genai(found), *tiers_from_genai(found)]
    surcharges = _surcharges()
    own = surcharges.by_model.get(str(entry["name"]))
    return specs if own is None else with_surcharges(specs, own, surcharges.source, surcharges.checked_on)


@dataclass(frozen=True)
class Surcharges:
    """What `surcharges.json` says: by model, from where, and when it was checked."""

    by_model: Mapping[str, Mapping[str, Any]]
    source: str
    checked_on: date


@cache
def _surcharges() -> Surcharges:
    content = read_catalog_file(SURCHARGES_FILE)
    by_model = {str(entry["name"]): entry for entry in content["models"]}
    return Surcharges(by_model, str(content["source"]), date.fromisoformat(content["checked_on"]))


def _columns(names: Iterable[str]) -> list[str]:
    return [name.removesuffix("_id") for name in names]


def _date(value: Any, where: str) -> date | None:
    if not value:
        return None
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InvalidCatalog(f"{where}: {str(value)[:40]!r} is no date like 2026-10-14") from None


def _first_message(error: ValidationError) -> str:
    name, messages = next(iter(error.message_dict.items()))
    return f"{name}: {messages[0]}"
