"""ROUTER_CONFIG_MODELS: models that the environment adds to the shared catalog, or overrides in it.

The variable is a JSON list in the recipe's own form:

    [{"id": "glm-edge", "provider": "zhipu", "inputCostPerMillion": 0.3, "outputCostPerMillion": 0.6,
      "maxTokens": 128000, "capabilities": ["general", "chinese"], "apiKeyEnv": "GLM_KEY",
      "region": "ap", "enabled": true, "config": {"baseUrl": "https://open.bigmodel.cn/api/paas/v4"}}]

snake_case is understood as well. It is applied at `catalog update` and at every start of the server,
and wins over what an admin has set for the same model; what it does not mention it does not touch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from routing.catalog import remember_edits
from routing.errors import InvalidCatalog
from routing.models import CAPABILITIES, Model, Price, Provider
from routing.price_changes import set_price
from routing.price_specs import COLUMNS, KINDS, PriceSpec
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

SOURCE = "ROUTER_CONFIG_MODELS"
# The recipe has words for what a model is good at, none for what its interface can do: a list without any such word
# says nothing about it, and the model is taken to do what every current chat model can.
INTERFACE_WORDS = frozenset(("tools", "vision", "json", "streaming", "audio", "files", "embeddings", "caching"))
ASSUMED_OF_CHAT = ("json", "streaming", "tools")
PRICE_FIELDS = {
    "input_cost_per_million": "input",
    "output_cost_per_million": "output",
    "cache_read_cost_per_million": "cache_read",
    "cache_write_cost_per_million": "cache_write",
    "reasoning_cost_per_million": "reasoning",
    "web_search_cost_per_thousand": "web_search",
}
KNOWN_FIELDS = {
    "id", "name", "provider", "max_tokens", "max_output_tokens", "capabilities", "api_key_env", "enabled", "config",
    "aliases", "quality", "kind", "upstream_name", "region", *PRICE_FIELDS,
}  # fmt: skip


def apply_configured_models(entries: Sequence[Any], now: datetime) -> list[str]:
    """Writes the models of ROUTER_CONFIG_MODELS into the shared catalog; returns one line per change.

    Raises InvalidCatalog, naming the entry and the field, before anything is written.
    """
    lines: list[str] = []
    with transaction.atomic():
        for position, given in enumerate(entries):
            entry = _snake_case(given, f"{SOURCE}[{position}]")
            lines += _apply(entry, f"{SOURCE}[{position}] ({entry.get('id')})", now)
    return lines


def _apply(entry: Mapping[str, Any], where: str, now: datetime) -> list[str]:
    lines: list[str] = []
    name = entry.get("id")
    if not isinstance(name, str) or not name or len(name) > 120:
        raise InvalidCatalog(f"{where}: id must be the model's name")
    model = Model.objects.across_tenants().filter(tenant=None, name=name).select_related("provider").first()
    provider = _provider(entry, model, where, lines)
    values = _model_values(entry, where)
    if model is None or "capabilities" in values:
        values["capabilities"] = _with_assumed(values.get("capabilities", []), values.get("kind", "chat"))
    if model is None:
        model = Model(tenant=None, name=name, provider=provider, source=SOURCE)
        changed = ["provider", *values]
        lines.append(f"+ model {name} ({SOURCE})")
    else:
        changed = [field for field, value in values.items() if getattr(model, field) != value]
        if model.provider_id != provider.pk:
            changed.append("provider")
        lines += [f"~ model {name}: {', '.join(changed)} ({SOURCE})"] if changed else []
    if changed or model.pk is None:
        model.provider = provider
        for field, value in values.items():
            setattr(model, field, value)
        remember_edits(model, changed)
        try:
            model.full_clean(exclude=["edited_fields", "tenant"])
        except ValidationError as error:
            field, messages = next(iter(error.message_dict.items()))
            raise InvalidCatalog(f"{where}: {field}: {messages[0]}") from None
        model.save()
    return lines + _apply_price(entry, model, where, now)


def _with_assumed(capabilities: list[str], kind: str) -> list[str]:
    if kind != Model.Kind.CHAT or not INTERFACE_WORDS.isdisjoint(capabilities):
        return capabilities
    return [*capabilities, *ASSUMED_OF_CHAT]


def _provider(entry: Mapping[str, Any], model: Model | None, where: str, lines: list[str]) -> Provider:
    if "provider" not in entry:
        if model is None:
            raise InvalidCatalog(f"{where}: provider is missing")
        return model.provider
    name = str(entry["provider"])
    provider = Provider.objects.across_tenants().filter(tenant=None, name=name).first()
    if provider is None:
        # The vendor is unknown: an OpenAI-compatible one, at the address that its model gives.
        provider = Provider(tenant=None, name=name, dialect=Provider.Dialect.OPENAI)
        try:
            provider.full_clean(exclude=["edited_fields", "tenant"])
        except ValidationError as error:
            raise InvalidCatalog(f"{where}: provider: {next(iter(error.message_dict.values()))[0]}") from None
        provider.save()
        lines.append(f"+ provider {name} ({SOURCE})")
    return provider


def _model_values(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for ours, theirs in (("context_tokens", "max_tokens"), ("max_output_tokens", "max_output_tokens")):
        if entry.get(theirs) is not None:
            count = entry[theirs]
            if isinstance(count, bool) or not isinstance(count, int) or not 0 < count < 2**31:
                raise InvalidCatalog(f"{where}: {theirs} must be a whole number above 0, not {str(count)[:40]!r}")
            values[ours] = count
    for name in ("capabilities", "aliases"):
        if name in entry:
            words = entry[name]
            if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
                raise InvalidCatalog(f"{where}: {name} must be a list of words")
            values[name] = words
    unknown = set(values.get("capabilities", ())) - set(CAPABILITIES)
    if unknown:
        raise InvalidCatalog(f"{where}: capability {min(unknown)!r} is none of {', '.join(CAPABILITIES)}")
    if "enabled" in entry:
        if not isinstance(entry["enabled"], bool):
            raise InvalidCatalog(f"{where}: enabled must be true or false")
        values["is_enabled"] = entry["enabled"]
    for name in ("api_key_env", "quality", "kind", "upstream_name", "region"):
        if entry.get(name) is not None:
            values[name] = str(entry[name])
    base_url = _snake_case(entry.get("config") or {}, f"{where}: config", allow_any=True).get("base_url")
    if base_url is not None:
        values["base_url"] = str(base_url)
    return values


def _apply_price(entry: Mapping[str, Any], model: Model, where: str, now: datetime) -> list[str]:
    rates: dict[str, Any] = {}
    for theirs, ours in PRICE_FIELDS.items():
        if entry.get(theirs) is not None:
            value = entry[theirs]
            try:
                rates[ours] = parse_usd(format(value, "f") if isinstance(value, Decimal) else value)
            except InvalidMoney as error:
                raise InvalidCatalog(f"{where}: {theirs}: {error.message}") from None
    if not rates:
        return []
    if "input" not in rates or "output" not in rates:
        raise InvalidCatalog(f"{where}: inputCostPerMillion and outputCostPerMillion belong together")
    current = [
        row
        for row in Price.objects.across_tenants().filter(tenant=None, model=model, valid_from__lte=now)
        if row.valid_until is None or row.valid_until > now
    ]
    if len(current) == 1 and current[0].is_custom:
        held = tuple(getattr(current[0], COLUMNS[kind]) for kind in KINDS)
        if held == tuple(rates.get(kind) for kind in KINDS):
            return []
    for row in current:
        # It names one price for every size, hour and service tier; the catalog's others do not live on beside it.
        row.valid_until = now
        row.save(update_fields=["valid_until"])
    set_price(model, PriceSpec(**rates, valid_from=now, source=SOURCE), tenant=None, now=now)
    return [f"~ price {model.name}: as {SOURCE} says"]


def _snake_case(given: Any, where: str, *, allow_any: bool = False) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidCatalog(f"{where}: must be an object")
    entry = {re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", str(key)).lower(): value for key, value in given.items()}
    unknown = set(entry) - KNOWN_FIELDS
    if unknown and not allow_any:
        raise InvalidCatalog(f"{where}: {min(unknown)!r} is no field; known are {', '.join(sorted(KNOWN_FIELDS))}")
    return entry
