"""Rows of prices, put together so that a moment's price is found at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from routing.models import Price
from routing.pricing import CompiledPrice, PriceTable, Rates, flat_price
from routing.service_tiers import STANDARD


def default_price() -> CompiledPrice | None:
    """What a token of an unpriced model costs, from DEFAULT_INPUT/OUTPUT_COST_PER_MILLION.

    None unless both are set: half a price would count half of the cost.
    """
    input_rate, output_rate = settings.DEFAULT_INPUT_NANO_USD_PER_MTOK, settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK
    if input_rate is None or output_rate is None:
        return None
    return flat_price(input_rate, output_rate)


def compile_prices(rows: Iterable[Price]) -> PriceTable:
    """A table of price rows of one model and owner, each service tier apart.

    At any moment each context size has the row that began last; those rows are the tiers of one
    price. A price for part of the day is asked before one for the whole day.
    """
    by_tier: dict[str, list[Price]] = {}
    for row in rows:
        by_tier.setdefault(row.service_tier, []).append(row)
    standard = _compile_tier(by_tier.pop(STANDARD, ()))
    if not by_tier:
        return PriceTable(standard)
    return PriceTable(standard, {tier: _compile_tier(tier_rows) for tier, tier_rows in by_tier.items()})


def _compile_tier(rows: Iterable[Price]) -> tuple[CompiledPrice, ...]:
    by_hours: dict[tuple[int, int], list[Price]] = {}
    for row in rows:
        by_hours.setdefault((row.daily_from_minute, row.daily_until_minute), []).append(row)
    compiled = []
    for (from_minute, until_minute), group in by_hours.items():
        moments = {row.valid_from for row in group} | {row.valid_until for row in group if row.valid_until is not None}
        starts = sorted(moments)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            live = [
                row for row in group if row.valid_from <= start and (row.valid_until is None or row.valid_until > start)
            ]
            by_size = {row.min_context_tokens: row for row in sorted(live, key=lambda row: row.valid_from)}
            if by_size:
                tiers = tuple(_rates(by_size[size]) for size in sorted(by_size, reverse=True))
                compiled.append(CompiledPrice(tiers, start, end, from_minute, until_minute))
    compiled.sort(key=_asked_first, reverse=True)
    return tuple(compiled)


def _asked_first(price: CompiledPrice) -> tuple[bool, datetime]:
    assert price.valid_from is not None
    return (price.daily_until_minute - price.daily_from_minute < 1440, price.valid_from)


def _rates(row: Price) -> Rates:
    return Rates(
        input=row.input_nano_usd_per_mtok,
        output=row.output_nano_usd_per_mtok,
        cache_read=row.cache_read_nano_usd_per_mtok,
        cache_write=row.cache_write_nano_usd_per_mtok,
        cache_write_1h=row.cache_write_1h_nano_usd_per_mtok,
        reasoning=row.reasoning_nano_usd_per_mtok,
        above_tokens=row.min_context_tokens,
        web_search=row.web_search_nano_usd_per_thousand,
    )
