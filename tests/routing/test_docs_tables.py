"""The worked tables of docs/pricing.md are true."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from routing.extras import Extras, estimate_asked, price_asked
from routing.model_facts import Quote
from routing.pricing import CompiledPrice, PriceTable, Rates, is_whole, price_usage
from routing.service_tiers import tier_name
from routing.token_usage import TokenUsage
from routing.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, estimate_input_tokens
from routing.told_costs import told_nano_usd
from spendhub.money import format_usd, parse_usd
from tests.routing.facts import model_facts

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "pricing.md"


def table(name: str) -> list[list[str]]:
    """The rows of the table below the marker `name`."""
    lines = PAGE.read_text(encoding="utf-8").split(f"<!-- table: {name} -->\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", table("costs"), ids=" ".join)
def test_the_cost_table_is_true(row: list[str]) -> None:
    rates = [None if cell == "-" else parse_usd(cell) for cell in row[:5]]
    total, read, written, output, reasoning = (int(cell) for cell in row[5:10])
    price = CompiledPrice(
        (Rates(rates[0] or 0, rates[1] or 0, cache_read=rates[2], cache_write=rates[3], reasoning=rates[4]),)
    )
    usage = TokenUsage.from_totals(total, output, read, written, reasoning)
    assert price_usage(usage, price).total_nano_usd == parse_usd(row[10])


@pytest.mark.parametrize("row", table("rounding"), ids=" ".join)
def test_the_rounding_table_is_true(row: list[str]) -> None:
    price = CompiledPrice((Rates(parse_usd(row[0]), 0),))
    assert price_usage(TokenUsage.from_totals(int(row[1])), price).total_nano_usd == int(row[2])


@pytest.mark.parametrize("row", table("tiers"), ids=" ".join)
def test_the_tier_table_is_true(row: list[str]) -> None:
    price = CompiledPrice((Rates(parse_usd("4.00"), 0, above_tokens=200_000), Rates(parse_usd("2.00"), 0)))
    assert format_usd(price.rates_for(int(row[0])).input) == row[1]
    assert format_usd(price_usage(TokenUsage.from_totals(int(row[0])), price).total_nano_usd) == row[2]


def usd_price(input_usd: str, output_usd: str, **rates: str) -> CompiledPrice:
    """A price by its rates in USD."""
    beside = {kind: parse_usd(rate) for kind, rate in rates.items()}
    return CompiledPrice((Rates(parse_usd(input_usd), parse_usd(output_usd), **beside),))


@pytest.mark.parametrize("row", table("service tiers"), ids=" ".join)
def test_the_table_of_service_tiers_is_true(row: list[str]) -> None:
    standard = usd_price("2.00", "10.00")
    tiers = {"priority": (usd_price("4.00", "20.00"),), "us": (usd_price("2.20", "11.00"),)}
    quote = Quote(model_facts("m", prices=PriceTable((standard,), tiers)), standard, is_estimated=False)
    tier = tier_name(*row[0].split(", "))
    found = quote.in_tier(tier, NOON)
    cost = price_usage(TokenUsage.from_totals(1_000, 500), found.price).total_nano_usd
    assert [tier or "-", format_usd(cost), "yes" if found.is_estimated else "no"] == row[1:]


@pytest.mark.parametrize("row", table("searches"), ids=" ".join)
def test_the_table_of_searches_is_true(row: list[str]) -> None:
    rates = {} if row[1] == "-" else {"web_search": row[1]}
    price = usd_price(row[0], "0", **rates)
    usage = TokenUsage.from_totals(int(row[2]), web_searches=int(row[3]))
    cost = price_usage(usage, price)
    assert format_usd(cost.total_nano_usd) == row[4]
    assert format_usd(cost.by_kind().get("web_search", 0)) == row[5]
    assert ("no" if is_whole(usage, price) else "yes") == row[6]


@pytest.mark.parametrize("row", table("told costs"), ids=" ".join)
def test_the_table_of_told_costs_is_true(row: list[str]) -> None:
    hosts = {"xAI": "api.x.ai", "OpenRouter": "openrouter.ai", "another": "openrouter.ai.example.com"}
    model = model_facts("m", base_url=f"https://{hosts[row[0]]}/v1")
    told = told_nano_usd(json.loads(row[1].strip("`")), model)
    assert ("-" if told is None else str(told)) == row[2]


@pytest.mark.parametrize("row", table("holds"), ids=" ".join)
def test_the_table_of_holds_is_true(row: list[str]) -> None:
    standard = usd_price("2.00", "10.00", web_search="10", cache_write_1h="5.00")
    model = model_facts("m", prices=PriceTable((standard,), {"priority": (usd_price("4.00", "20.00"),)}))
    extras = Extras(tier_name(row[0]), int(row[1]), writes_long_cache=row[2] == "yes")
    price = price_asked(extras, model, standard, NOON)
    assert format_usd(estimate_asked(extras, price, 1_000, 100)) == row[3]


@pytest.mark.parametrize("row", table("packed"), ids=" ".join)
def test_the_table_of_what_is_packed_is_true(row: list[str]) -> None:
    data = base64.b64encode(b"zz " * (int(row[1]) // 3) + b"z" * (int(row[1]) % 3)).decode()
    part = {"type": "file", "file": {"file_data": f"data:{row[0]};base64,{data}"}}
    around = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE
    assert estimate_input_tokens({"messages": [{"role": "user", "content": [part]}]}) - around == int(row[2])
