"""The worked tables of docs/pricing.md are true."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing.pricing import CompiledPrice, Rates, TokenUsage, price_usage
from spendhub.money import format_usd, parse_usd

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
