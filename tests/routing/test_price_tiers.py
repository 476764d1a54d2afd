"""Service tiers and surcharges: read from genai-prices and surcharges.json, kept as prices, found by the tier's name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data import providers as genai_providers

from routing.catalog import DATA_DIR, _prices_of, read_catalog_file
from routing.compiled_prices import compile_prices
from routing.errors import InvalidCatalog
from routing.model_facts import Quote
from routing.price_changes import _row
from routing.price_specs import PriceSpec, genai_model_of, specs_from_file
from routing.price_tiers import with_surcharges
from routing.pricing import CompiledPrice, PriceTable, Rates, price_usage
from routing.service_tiers import tier_name
from routing.token_usage import TokenUsage
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NANO = 10**9
CATALOG = read_catalog_file(DATA_DIR / "catalog.json")
MODELS: dict[str, dict[str, Any]] = {model["name"]: model for model in CATALOG["models"]}
USAGES = (
    TokenUsage.from_totals(1_000, 500),
    TokenUsage.from_totals(50_000, 1_000, 10_000, 5_000, web_searches=3),
    TokenUsage.from_totals(300_000, 12_345, 100_000),
)
# How genai-prices is asked for the tier of that name.
CONTEXTS = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "batch": {"processing": "batch"},
}


def table_of(name: str) -> PriceTable:
    specs = _prices_of(MODELS[name], CATALOG, "catalog.json")
    return compile_prices([_row(None, spec, spec.valid_from, spec.valid_until, NOW.date()) for spec in specs])  # type: ignore[arg-type]  # only rates are read


def rates_of(name: str, tier: str = "", tokens: int = 1_000) -> Rates:
    price = table_of(name).at(NOW, tier)
    assert price is not None
    return price.rates_for(tokens)


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ((None,), ""),
        (("auto",), ""),
        (("default",), ""),
        (("on_demand",), ""),
        (("STANDARD", None, "global"), ""),
        (("standard", "fast", "us"), "fast+us"),
        (("us", "batch"), "batch+us"),
        (("Priority",), "priority"),
        ((5, ["flex"], "no word"), ""),
    ],
)
def test_a_tier_is_named_by_what_is_special_about_it(said: tuple[Any, ...], tier: str) -> None:
    assert tier_name(*said) == tier


@pytest.mark.parametrize("tier", CONTEXTS)
def test_a_call_in_a_tier_costs_what_genai_prices_says(tier: str) -> None:
    compared = 0
    for name, model in MODELS.items():
        price = table_of(name).at(NOW, tier)
        found = genai_model_of(model)
        if price is None or found is None or model["provider"] not in ("openai", "anthropic", "mistral", "xai"):
            continue
        provider = next(each for each in genai_providers if found in each.models)
        for usage in USAGES:
            # Searches that cost more than a call's fee are ours: "Searches of the web" in docs/pricing.md.
            theirs = found.calc_price(
                Usage(
                    input_tokens=usage.total_input_tokens, output_tokens=usage.output_tokens,
                    cache_read_tokens=usage.cache_read_tokens, cache_write_tokens=usage.cache_write_tokens,
                ),
                provider, genai_request_timestamp=NOW, price_context=CONTEXTS[tier],
            ).total_price  # fmt: skip
            ours = price_usage(replace(usage, web_searches=0), price).total_nano_usd
            assert abs(ours - theirs * NANO) <= Decimal("0.5"), (name, tier, usage)
            compared += 1
    assert compared >= 9


def test_openais_tiers_are_there_with_their_context_sizes() -> None:
    assert rates_of("gpt-6-sol", "priority").output == 20 * NANO
    assert rates_of("gpt-6-sol", "flex", 272_001).input == 2 * NANO
    assert rates_of("gpt-6-sol", "flex", 272_000).input == 1 * NANO


def test_a_tier_has_no_price_before_the_day_it_was_checked_for() -> None:
    assert table_of("gpt-6-sol").at(datetime(2026, 10, 11, tzinfo=UTC), "flex") is None


def test_anthropics_place_multiplies_every_token_price_fast_ones_too_but_no_search() -> None:
    standard, fast = rates_of("claude-opus-5-5"), rates_of("claude-opus-5-5", "fast")
    assert (standard.input, standard.output, fast.input, fast.output) == (4 * NANO, 20 * NANO, 8 * NANO, 40 * NANO)
    us, both = rates_of("claude-opus-5-5", "us"), rates_of("claude-opus-5-5", "fast+us")
    assert (us.input, us.output, us.cache_read, us.cache_write_1h) == (
        4_400_000_000, 22 * NANO, 220_000_000, 8_800_000_000,
    )  # fmt: skip
    assert (both.input, both.output) == (8_800_000_000, 44 * NANO)
    assert {rates.web_search for rates in (standard, fast, us, both)} == {10 * NANO}


def test_models_from_before_data_residency_have_no_price_for_a_place() -> None:
    assert table_of("claude-sonnet-4-5").at(NOW, "us") is None


def test_googles_tier_prices_end_when_the_price_beside_them_does() -> None:
    table = table_of("gemini-3.8-flash")
    before, after = datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    priority = table.at(before, "priority")
    assert priority is not None
    assert (priority.rates_for(1).input, priority.rates_for(1).web_search) == (1_350_000_000, 14 * NANO)
    assert table.at(after, "priority") is None
    assert table.at(after) is not None


def test_writes_for_twelve_hours_cost_two_and_a_half_times_the_input_in_every_tier() -> None:
    assert [rates_of("gpt-6-sol", tier).cache_write_1h for tier in ("", "flex", "priority")] == [
        5 * NANO, 2_500_000_000, 10 * NANO,
    ]  # fmt: skip


def test_a_search_with_a_small_model_of_openais_counts_a_block_of_input_as_well() -> None:
    # 10 USD per thousand calls, and 8,000 tokens each: at 0.15 USD per million another 1.20 USD.
    assert rates_of("gpt-4o-mini").web_search == 11_200_000_000
    assert rates_of("gpt-6-sol").web_search == 10 * NANO


def test_a_search_of_chats_search_models_costs_ten_dollars_a_thousand_and_twenty_five_with_gpt_4o() -> None:
    found = {name: rates_of(name).web_search for name in MODELS if name.startswith("gpt-") and "-search-" in name}
    assert found == {
        "gpt-4o-mini-search-preview": 25 * NANO, "gpt-4o-search-preview": 25 * NANO, "gpt-5-search-api": 10 * NANO,
    }  # fmt: skip


def test_groqs_flex_costs_what_everything_costs() -> None:
    name = next(name for name, model in MODELS.items() if model["provider"] == "groq")
    assert rates_of(name, "flex") == rates_of(name)


def test_bedrocks_tiers_are_there() -> None:
    assert rates_of("amazon.nova-pro-v1:0", "flex").input == 400_000_000
    assert rates_of("amazon.nova-pro-v1:0", "priority").output == 5_600_000_000


def test_no_two_prices_of_a_model_compete_for_the_same_moment() -> None:
    for name, model in MODELS.items():
        keys = [(spec.slot, spec.valid_from) for spec in _prices_of(model, CATALOG, "catalog.json")]
        assert len(keys) == len(set(keys)), name


def test_a_rule_that_surcharges_do_not_have_is_refused() -> None:
    with pytest.raises(InvalidCatalog, match="'discount'"):
        with_surcharges([], {"name": "m", "discount": "0.5"}, "here", date(2026, 11, 24))


@pytest.mark.parametrize("tier", ["Fast", "a b", "+us", "x" * 41, 5])
def test_a_catalog_file_with_a_tier_that_is_none_is_refused(tier: Any) -> None:
    with pytest.raises(InvalidCatalog, match="service_tier"):
        specs_from_file([{"input": 1, "output": 2, "service_tier": tier}], "here")


def test_a_quote_in_a_tier_without_a_price_is_the_standard_one_and_estimated() -> None:
    standard, flex = CompiledPrice((Rates(2, 10),)), CompiledPrice((Rates(1, 5),))
    model = model_facts("m", prices=PriceTable((standard,), {"flex": (flex,)}))
    quote = Quote(model, standard, is_estimated=False)
    assert quote.in_tier("", NOW) is quote
    assert quote.in_tier("flex", NOW) == Quote(model, flex, is_estimated=False)
    assert quote.in_tier("priority", NOW) == Quote(model, standard, is_estimated=True)


def test_a_spec_competes_within_its_tier_alone() -> None:
    assert PriceSpec(1, 2).slot != PriceSpec(1, 2, service_tier="flex").slot
