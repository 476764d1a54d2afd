"""Our cost of a call against two independent price packages, for every model of the catalog.

genai-prices calculates in Decimals from the data that our rows were made from: it checks our compiler and our
arithmetic, history included. litellm's file (facts of another hand, trimmed to our models, see data/NOTICE) checks
the data. Every difference is named here, with its reason.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data import providers as genai_providers

from routing.catalog import DATA_DIR, read_catalog_file
from routing.compiled_prices import compile_prices
from routing.models import Price
from routing.price_changes import _row
from routing.price_specs import specs_from_genai
from routing.pricing import PriceTable, price_usage
from routing.token_usage import TokenUsage

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MOMENTS = (
    datetime(2026, 2, 1, 12, tzinfo=UTC),
    datetime(2026, 8, 20, 7, 30, tzinfo=UTC),
    datetime(2026, 11, 24, 2, tzinfo=UTC),
    NOW,
)
MODELS: list[dict[str, Any]] = read_catalog_file(DATA_DIR / "catalog.json")["models"]
CHAT_USAGES = (
    TokenUsage.from_totals(1_000, 500),
    TokenUsage.from_totals(50_000, 1_000, 10_000),
    TokenUsage.from_totals(50_000, 1_000, 10_000, 5_000),
    TokenUsage.from_totals(199_999, 3),
    TokenUsage.from_totals(300_000, 12_345, 100_000),
    TokenUsage.from_totals(7, 1, 0, 0, 1),
)
EMBEDDING_USAGES = (TokenUsage.from_totals(1_000), TokenUsage.from_totals(123_457))

# Models whose facts differ between the two packages on NOW, and why we keep ours.
REGIONAL = (
    "Bedrock's regional ids cost 10 % more than global ones (genai-prices); litellm says so of `us.` and `eu.` ids only"
)
PEAK = "DeepSeek has peak hours; litellm lists the peak price for the whole day"
LONG_CONTEXT_GONE = "only one of the two still lists the long-context tier; the model takes no such input by default"
NO_CACHE_RATE = "only litellm lists a discount for cached input; without one it counts as plain input"
ONLY_WE_DISCOUNT = "litellm lists no discount for cached input"
WRITES_FREE = "litellm lists cache writes at 0; the vendor reports none, so they would count as plain input"
REGIONAL_IDS = (
    "claude-fable-5", "claude-fable-5-1", "claude-haiku-4-5-20251001-v1:0", "claude-haiku-5-5",
    "claude-opus-4-5-20251101-v1:0", "claude-opus-4-6-v1", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5",
    "claude-opus-5-5", "claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-6", "claude-sonnet-5", "claude-sonnet-5-5",
)  # fmt: skip
DIFFERENT_AT_LITELLM: dict[str, str] = {
    **{f"anthropic.{name}": REGIONAL for name in REGIONAL_IDS},
    "openai.gpt-6-luna": REGIONAL,
    "openai.gpt-6-sol": REGIONAL,
    "deepseek-flash": PEAK,
    "deepseek-v4-flash": PEAK,
    "deepseek-v4-flash-vision-exp": PEAK,
    "deepseek-v4-pro": PEAK,
    "claude-sonnet-4-5": LONG_CONTEXT_GONE,
    "claude-sonnet-4-5-20250929": LONG_CONTEXT_GONE,
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0": LONG_CONTEXT_GONE,
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": LONG_CONTEXT_GONE,
    "eu.anthropic.claude-sonnet-4-5-20250929-v1:0": LONG_CONTEXT_GONE,
    "gpt-5.6-cyber": LONG_CONTEXT_GONE,
    "anthropic.claude-3-opus-20240229-v1:0": NO_CACHE_RATE,
    "us.anthropic.claude-3-opus-20240229-v1:0": NO_CACHE_RATE,
    "eu.anthropic.claude-3-opus-20240229-v1:0": NO_CACHE_RATE,
    "codestral-latest": NO_CACHE_RATE,
    "pixtral-large-latest": NO_CACHE_RATE,
    "gpt-4o-search-preview": NO_CACHE_RATE,
    **dict.fromkeys(("glm-4.5", "glm-4.5-air", "glm-4.5-airx", "glm-4.5-x", "glm-4.5v"), ONLY_WE_DISCOUNT),
    **dict.fromkeys(("glm-4.6", "glm-4.7", "glm-5", "glm-5.1", "glm-5.2", "glm-5.3", "glm-5.3-flash"), WRITES_FREE),
    "mistral-large-4": "Mistral's page lists 0.70/2.10 since 2026-10-29; litellm still has the list price before",
    "mistral-large-4-0": "as mistral-large-4",
    "mistral-medium": "Mistral Medium 3.1 kept its 0.40/2; litellm takes the name for 3.5",
}
# genai-prices applies a model's peak hours to its whole past; ours begin with the price that they came with.
DIFFERENT_AT_GENAI = {
    ("deepseek-v4-flash", MOMENTS[1]): "peak hours came with the price of 2026-09-10",
    ("deepseek-v4-flash-vision-exp", MOMENTS[1]): "as deepseek-v4-flash",
}


def usages_of(model: dict[str, Any]) -> tuple[TokenUsage, ...]:
    return EMBEDDING_USAGES if model["kind"] == "embedding" else CHAT_USAGES


@cache
def genai_model(reference: str, name: str) -> Any:
    provider_id, _, _ = reference.partition(":")
    provider = next(provider for provider in genai_providers if provider.id == provider_id)
    return provider, provider.find_model(name)


@cache
def our_prices(reference: str, name: str) -> PriceTable:
    _, model = genai_model(reference, name)
    rows = [_row_without_model(spec) for spec in specs_from_genai(model)]
    return compile_prices(rows)


def _row_without_model(spec: Any) -> Price:
    return _row(None, spec, spec.valid_from, spec.valid_until, NOW.date())  # type: ignore[arg-type]  # only its rates are read


def our_cost(model: dict[str, Any], usage: TokenUsage, moment: datetime) -> int:
    price = our_prices(model["genai_prices"], model.get("upstream_name", model["name"])).at(moment)
    assert price is not None
    return price_usage(usage, price).total_nano_usd


def genai_cost(model: dict[str, Any], usage: TokenUsage, moment: datetime) -> int:
    _, found = genai_model(model["genai_prices"], model.get("upstream_name", model["name"]))
    given = Usage(
        input_tokens=usage.total_input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    total: Decimal = found.get_prices(moment).calc_price(given)["total_price"]
    return int(Fraction(total) * 10**9 + Fraction(1, 2))


@cache
def litellm_prices() -> dict[str, dict[str, Any]]:
    path = Path(__file__).parent / "data" / "litellm_prices.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"), parse_float=Fraction)
    return found


def litellm_cost(model: dict[str, Any], usage: TokenUsage) -> int:
    """Its rule: the rates of the highest `above_Nk_tokens` that the input exceeds, for the whole call."""
    facts = litellm_prices()[model["name"]]
    sizes = {int(found[1]) for found in (re.search(r"_above_(\d+)k_tokens$", name) for name in facts) if found}
    exceeded = [size for size in sizes if usage.total_input_tokens > size * 1000]
    suffix = f"_above_{max(exceeded)}k_tokens" if exceeded else ""

    def rate(name: str, otherwise: Fraction) -> Fraction:
        return Fraction(facts.get(name + suffix, facts.get(name, otherwise)))

    plain = rate("input_cost_per_token", Fraction(0))
    output = rate("output_cost_per_token", Fraction(0))
    total = (
        usage.input_tokens * plain
        + usage.cache_read_tokens * rate("cache_read_input_token_cost", plain)
        + usage.cache_write_tokens * rate("cache_creation_input_token_cost", plain)
        + usage.output_tokens * output
    )
    return int(total * 10**9 + Fraction(1, 2))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_a_call_costs_what_genai_prices_says_at_any_moment(model: dict[str, Any]) -> None:
    for moment in MOMENTS:
        for usage in usages_of(model):
            is_equal = our_cost(model, usage, moment) == genai_cost(model, usage, moment)
            assert is_equal == ((model["name"], moment) not in DIFFERENT_AT_GENAI), (moment, usage)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_a_call_costs_what_litellm_says_today(model: dict[str, Any]) -> None:
    different = [usage for usage in usages_of(model) if our_cost(model, usage, NOW) != litellm_cost(model, usage)]
    assert bool(different) == (model["name"] in DIFFERENT_AT_LITELLM), different


def test_hundreds_of_pairs_were_compared() -> None:
    assert sum(len(usages_of(model)) for model in MODELS) > 1_500
    assert len(DIFFERENT_AT_LITELLM) < len(MODELS) / 4
