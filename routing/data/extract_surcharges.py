"""Makes routing/data/surcharges.json: what vendors bill beside the standard prices, where genai-prices has none of it.

    python -m routing.data.extract_surcharges model_prices_and_context_window_backup.json > routing/data/surcharges.json

The input is litellm's model file, as for extract_catalog.py; run it after that one. The tiers of Google's and Bedrock's
models are taken from there, where the two sources agree about the standard price beside which they stand; what is
written here by hand has its source and the day it was checked beside it. Rules: docs/pricing.md, "Service tiers".
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from routing.data.extract_catalog import VENDORS
from routing.price_specs import PriceSpec, genai_model_of, specs_from_genai
from spendhub.money import parse_usd

RATES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
# genai-prices has OpenAI's other tiers with their history.
TIERS = {"google": ("flex", "priority"), "bedrock": ("flex", "priority", "ultrafast"), "openai": ("ultrafast",)}
# By hand, checked 2026-11-24.
# platform.claude.com/docs, "Data residency": 1.1 x all token prices for `inference_geo: us`, on Opus 4.6, Sonnet 4.6
# and all later models; earlier ones refuse the field.
US_FACTOR = "1.1"
# developers.openai.com/api/docs/pricing, "Built-in tools": with these models a search counts as 8,000 input tokens.
SEARCH_BLOCKS = {"gpt-4o-mini": 8_000, "gpt-4.1-mini": 8_000}
# The same page, USD per thousand: chat's search models of the 4o family cost what the first version of the tool did,
# later ones what the tool costs.
CHAT_SEARCH = {re.compile(r"gpt-4o(-mini)?-search-preview"): "25", re.compile(r"gpt-5-search-api"): "10"}
# console.groq.com/docs/flex-processing: "Pricing matches the on-demand tier".
SAME_PRICE = {"groq": ["flex"]}


def main(path: str, today: date) -> None:
    """Prints the surcharges of the catalog's models, made from the file at `path`."""
    facts: dict[str, dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))
    catalog = json.loads((Path(__file__).parent / "catalog.json").read_text(encoding="utf-8"))
    prefixes = {ours: theirs for ours, _, theirs, _ in VENDORS.values()}
    entries = []
    for model in catalog["models"]:
        fact = facts.get(prefixes[model["provider"]] + model.get("upstream_name", model["name"]), {})
        rules = _rules(model, fact, today)
        if rules:
            entries.append({"name": model["name"], **rules})
    head, tail = json.dumps(
        {"source": catalog["source"], "checked_on": today.isoformat(), "models": "@"}, indent=1
    ).split('"@"')
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    print(f"{head}[\n{lines}\n]{tail}")


def _rules(model: dict[str, Any], fact: dict[str, Any], today: date) -> dict[str, Any]:
    name, provider = model["name"], model["provider"]
    rules: dict[str, Any] = {}
    entry = fact.get("provider_specific_entry") or {}
    if provider == "anthropic" and entry.get("us"):
        assert Fraction(str(entry["us"])) == Fraction(US_FACTOR), name
        rules["factors"] = {"us": US_FACTOR}
    if provider == "openai" and "cache_creation_input_token_cost_above_12hr" in fact:
        rules["long_cache_write"] = _long_write_factor(name, fact)
    chat_search = next((usd for names, usd in CHAT_SEARCH.items() if names.match(name)), None)
    if provider == "openai" and chat_search is not None:
        rules["web_search"] = chat_search
    family = re.sub(r"-20\d\d-\d\d-\d\d$", "", name)
    if provider == "openai" and family in SEARCH_BLOCKS:
        rules["search_block_tokens"] = SEARCH_BLOCKS[family]
    if provider in SAME_PRICE and model["kind"] == "chat":
        rules["same_price"] = SAME_PRICE[provider]
    tiers = _tiers(model, fact, today)
    if tiers:
        rules["tiers"] = tiers
    return rules


def _long_write_factor(name: str, fact: dict[str, Any]) -> str:
    """How many times its input a write for twelve hours costs: the same in every tier, or an error."""
    found = set()
    for key, usd in fact.items():
        if key.startswith("cache_creation_input_token_cost_above_12hr"):
            beside = key.replace("cache_creation_input_token_cost_above_12hr", "input_cost_per_token")
            found.add(Fraction(str(usd)) / Fraction(str(fact[beside])))
    assert len(found) == 1, (name, found)
    return str(float(found.pop()))


def _tiers(model: dict[str, Any], fact: dict[str, Any], today: date) -> list[dict[str, Any]]:
    standard = _standard_now(model, today)
    if not standard or any(not _agrees(spec, fact) for spec in standard):
        return []
    tiers = []
    for tier in TIERS.get(model["provider"], ()):
        base = {kind: _usd(fact.get(f"{key}_{tier}")) for kind, key in RATES.items()}
        if base["input"] is None or (base["output"] is None and fact.get("output_cost_per_token")):
            continue
        for spec in standard:
            said: dict[str, Any] = {"service_tier": tier}
            if spec.min_context_tokens:
                said["min_context_tokens"] = spec.min_context_tokens
            rates = {kind: _rate(fact, kind, spec, tier, base) for kind in RATES}
            told = {kind: format(rate.normalize(), "f") for kind, rate in rates.items() if rate is not None}
            tiers.append({**said, "output": "0", **told})
    return tiers


def _rate(
    fact: dict[str, Any], kind: str, spec: PriceSpec, tier: str, base: dict[str, Decimal | None]
) -> Decimal | None:
    """USD per million tokens of one kind in a tier; above a context size that the file does not tell of, as many times
    the standard price as below it."""
    if not spec.min_context_tokens or base[kind] is None:
        return base[kind]
    told = _usd(fact.get(f"{RATES[kind]}_above_{spec.min_context_tokens // 1000}k_tokens_{tier}"))
    if told is not None:
        return told
    above, below = (
        _usd(fact.get(f"{RATES[kind]}_above_{spec.min_context_tokens // 1000}k_tokens")),
        _usd(fact.get(RATES[kind])),
    )
    assert above is not None and below, (kind, spec)
    return base[kind] * above / below  # type: ignore[operator]  # not None: see above


def _standard_now(model: dict[str, Any], today: date) -> list[PriceSpec]:
    found = genai_model_of(model)
    now = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    specs = specs_from_genai(found) if found is not None else []
    return [spec for spec in specs if spec.valid_from <= now and (spec.valid_until is None or spec.valid_until > now)]


def _agrees(spec: PriceSpec, fact: dict[str, Any]) -> bool:
    above = f"_above_{spec.min_context_tokens // 1000}k_tokens" if spec.min_context_tokens else ""
    return all(_nano(fact.get(f"{RATES[kind]}{above}")) == (getattr(spec, kind) or 0) for kind in ("input", "output"))


def _usd(per_token: Any) -> Decimal | None:
    return None if per_token is None else Decimal(str(per_token)) * 1_000_000


def _nano(per_token: Any) -> int:
    usd = _usd(per_token)
    return 0 if usd is None else parse_usd(format(usd, "f"))


if __name__ == "__main__":
    main(sys.argv[1], datetime.now(UTC).date())
