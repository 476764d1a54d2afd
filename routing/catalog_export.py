"""The shared catalog as a file that `catalog update FILE` reads: providers, models, prices with their history, routes.

Reading it back changes nothing; read by an empty installation, it makes the same catalog. Tenants' own rows are not
part of it, and no secret is: keys are named by their variables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from routing.catalog import PROVIDER_FIELDS
from routing.models import Model, Price, Provider, Route
from routing.price_specs import BEGINNING, COLUMNS, KINDS
from spendhub.money import format_usd

SOURCE = "manage.py catalog export"
_PLAIN = ("kind", "quality", "context_tokens", "max_output_tokens", "capabilities", "is_enabled")
# Left out where they say nothing, so that a person can read the file.
_WHERE_SAID = ("upstream_name", "region", "aliases", "base_url", "api_key_env", "source")


def export_catalog(now: datetime) -> dict[str, Any]:
    """The shared rows, everything in a fixed order: the same catalog gives the same file."""
    providers = Provider.objects.across_tenants().filter(tenant=None).order_by("name")
    models = Model.objects.across_tenants().filter(tenant=None).select_related("provider").order_by("name")
    prices: dict[int, list[Price]] = defaultdict(list)
    in_order = ("service_tier", "valid_from", "min_context_tokens", "daily_from_minute")
    for price in Price.objects.across_tenants().filter(tenant=None).order_by(*in_order):
        prices[price.model_id].append(price)
    checked_on = max((row.checked_on for row in models if row.checked_on is not None), default=now.date())
    return {
        "source": SOURCE,
        "checked_on": checked_on.isoformat(),
        "providers": [{"name": row.name, **{key: getattr(row, key) for key in PROVIDER_FIELDS}} for row in providers],
        "models": [_model(row, prices[row.pk]) for row in models],
        "routes": [_route(row) for row in Route.objects.across_tenants().filter(tenant=None).order_by("name")],
    }


def _model(row: Model, prices: list[Price]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": row.name, "provider": row.provider.name}
    told |= {name: getattr(row, name) for name in _PLAIN}
    told |= {name: getattr(row, name) for name in _WHERE_SAID if getattr(row, name)}
    if row.retires_at is not None:
        told["retires_on"] = _moment(row.retires_at)
    told["prices"] = [_price(price) for price in prices]
    return told


def _price(row: Price) -> Mapping[str, Any]:
    rates = {kind: getattr(row, COLUMNS[kind]) for kind in KINDS}
    told: dict[str, Any] = {kind: format_usd(rate) for kind, rate in rates.items() if rate is not None}
    if row.service_tier:
        told["service_tier"] = row.service_tier
    if row.valid_from != BEGINNING:
        told["valid_from"] = _moment(row.valid_from)
    if row.valid_until is not None:
        told["valid_until"] = _moment(row.valid_until)
    if row.min_context_tokens:
        told["min_context_tokens"] = row.min_context_tokens
    if (row.daily_from_minute, row.daily_until_minute) != (0, 1440):
        told |= {"daily_from_minute": row.daily_from_minute, "daily_until_minute": row.daily_until_minute}
    return {**told, "source": row.source}


def _route(row: Route) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "models": row.candidate_models,
        "strategy": row.strategy,
        "fallback": row.fallback,
        "match": row.match,
        "options": row.options,
        "priority": row.priority,
        "is_enabled": row.is_enabled,
    }


def _moment(moment: datetime) -> str:
    """A day where it is midnight, as people write it, else the moment."""
    utc = moment.astimezone(UTC)
    is_day = (utc.hour, utc.minute, utc.second, utc.microsecond) == (0, 0, 0, 0)
    return utc.date().isoformat() if is_day else utc.isoformat()
