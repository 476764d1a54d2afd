"""From tokens to money, in integers. Rules and worked tables: docs/pricing.md (its tables run as tests)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from routing.token_usage import TokenUsage
from spendhub.money import MAX_NANO_USD, TOKENS_PER_MTOK, round_nano_usd

WHOLE_DAY_MINUTES = 1440
# Searches are priced by the thousand, tokens by the million: both are summed in the same fractions of a nano-dollar.
THOUSANDS_PER_MTOK = 1_000
# Where an estimate ends: no budget has room for it, and it still fits wherever an amount of money does.
TOO_MUCH_NANO_USD = MAX_NANO_USD + 1


@dataclass(frozen=True, slots=True)
class Rates:
    """nano_usd per million tokens of each kind, once input is larger than `above_tokens`; of `web_search` per thousand.

    None means that the kind has no rate of its own: see `price_usage` for what it then costs.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    above_tokens: int = 0
    web_search: int | None = None


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """One price in force: when it holds, and its rates, the largest context first."""

    tiers: tuple[Rates, ...]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    daily_from_minute: int = 0
    daily_until_minute: int = WHOLE_DAY_MINUTES

    def holds_at(self, moment: datetime) -> bool:
        """Whether it is in force at `moment` (aware UTC)."""
        if self.valid_from is not None and moment < self.valid_from:
            return False
        if self.valid_until is not None and moment >= self.valid_until:
            return False
        if self.daily_until_minute - self.daily_from_minute >= WHOLE_DAY_MINUTES:
            return True
        return self.daily_from_minute <= moment.hour * 60 + moment.minute < self.daily_until_minute

    def rates_for(self, total_input_tokens: int) -> Rates:
        """The rates of the highest tier that `total_input_tokens` is above; they hold for the whole call."""
        for rates in self.tiers:
            if total_input_tokens > rates.above_tokens:
                return rates
        return self.tiers[-1]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All prices of one model, in the order in which they are asked: the first that holds is the price.

    `by_tier` has those of the vendor's other service tiers, by the tier's name (routing.service_tiers).
    """

    prices: tuple[CompiledPrice, ...] = ()
    by_tier: Mapping[str, tuple[CompiledPrice, ...]] = field(default_factory=dict)

    def at(self, moment: datetime, tier: str = "") -> CompiledPrice | None:
        """The price in force at `moment` (aware UTC) for that service tier, None when there is none."""
        for price in self.by_tier.get(tier, ()) if tier else self.prices:
            if price.holds_at(moment):
                return price
        return None

    def before(self, other: PriceTable) -> PriceTable:
        """Both tables as one, in which this one's prices are asked first, tier by tier."""
        tiers = {
            name: self.by_tier.get(name, ()) + other.by_tier.get(name, ()) for name in (*self.by_tier, *other.by_tier)
        }
        return PriceTable(self.prices + other.prices, tiers)


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """What a call cost, and each kind's part of it; the parts add up to the total exactly. nano_usd."""

    total_nano_usd: int
    input_nano_usd: int
    cache_read_nano_usd: int
    cache_write_nano_usd: int
    output_nano_usd: int
    reasoning_nano_usd: int
    web_search_nano_usd: int = 0

    def by_kind(self) -> dict[str, int]:
        """Parts that are not 0, for the span's `breakdown`."""
        parts = {
            "input": self.input_nano_usd,
            "cache_read": self.cache_read_nano_usd,
            "cache_write": self.cache_write_nano_usd,
            "output": self.output_nano_usd,
            "reasoning": self.reasoning_nano_usd,
            "web_search": self.web_search_nano_usd,
        }
        return {kind: nano_usd for kind, nano_usd in parts.items() if nano_usd}


def flat_price(input_nano_usd_per_mtok: int, output_nano_usd_per_mtok: int) -> CompiledPrice:
    """A price with two rates that always holds, e.g. the default for unpriced models."""
    return CompiledPrice((Rates(input_nano_usd_per_mtok, output_nano_usd_per_mtok),))


def price_usage(usage: TokenUsage, price: CompiledPrice) -> CostBreakdown:
    """Cost of one call in nano_usd.

    Each kind of token is priced apart (tokens x nano_usd per million); cached input is not plain
    input as well, and reasoning not plain output. Searches come on top (x nano_usd per thousand; 0 where the
    price has no rate for them: see `is_whole`). The exact sum is rounded once, by
    `money.round_nano_usd`; a part is the difference of two rounded running sums, so parts add up.
    Source: docs/pricing.md, "From tokens to money".
    """
    rates = price.rates_for(usage.total_input_tokens)
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    write_1h_rate = write_rate if rates.cache_write_1h is None else rates.cache_write_1h
    reasoning_rate = rates.output if rates.reasoning is None else rates.reasoning
    exact = usage.input_tokens * rates.input
    plain = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.cache_read_tokens * read_rate
    with_reads = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.cache_write_tokens * write_rate + usage.cache_write_1h_tokens * write_1h_rate
    with_writes = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += (usage.output_tokens - usage.reasoning_tokens) * rates.output
    with_output = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.reasoning_tokens * reasoning_rate
    with_reasoning = total = round_nano_usd(exact, TOKENS_PER_MTOK)
    if usage.web_searches and rates.web_search:
        total = round_nano_usd(exact + usage.web_searches * rates.web_search * THOUSANDS_PER_MTOK, TOKENS_PER_MTOK)
    return CostBreakdown(
        total,
        plain,
        with_reads - plain,
        with_writes - with_reads,
        with_output - with_writes,
        with_reasoning - with_output,
        total - with_reasoning,
    )


def is_whole(usage: TokenUsage, price: CompiledPrice) -> bool:
    """Whether `price` has a rate for everything that was used: searches have none to fall back upon."""
    return not usage.web_searches or price.rates_for(usage.total_input_tokens).web_search is not None


def estimate_nano_usd(
    price: CompiledPrice,
    input_tokens: int,
    max_output_tokens: int,
    *,
    web_searches: int = 0,
    writes_long_cache: bool = False,
) -> int:
    """The most that a call of this size can cost, in nano_usd: what has to be held for it.

    Input counts at the dearest of plain input, cache read and cache write (`writes_long_cache`: and of the write that
    lives longer), output at the dearer of output and reasoning, searches at their own rate; all of it in the dearest
    tier that a call of at most this input may be in. What is more than can be held at all is TOO_MUCH_NANO_USD, however
    much it is.
    Source: docs/pricing.md, "What is held before the call".
    """
    exact = 0
    for fixed, output_rate in _dearest_parts(price, input_tokens, web_searches, writes_long_cache):
        exact = max(exact, fixed + max_output_tokens * output_rate)
    # Rounded up: a hold may not be a fraction of a nano-dollar too small.
    return min(-(-exact // TOKENS_PER_MTOK), TOO_MUCH_NANO_USD)


def affordable_output_tokens(
    price: CompiledPrice,
    room_nano_usd: int,
    input_tokens: int,
    *,
    web_searches: int = 0,
    writes_long_cache: bool = False,
) -> int | None:
    """The most output for which the estimate of a call is within the room; None where output is free."""
    room, found = room_nano_usd * TOKENS_PER_MTOK, None
    for fixed, output_rate in _dearest_parts(price, input_tokens, web_searches, writes_long_cache):
        if fixed > room:
            return 0
        if output_rate:
            tokens = (room - fixed) // output_rate
            found = tokens if found is None else min(found, tokens)
    return found


def _dearest_parts(
    price: CompiledPrice, input_tokens: int, web_searches: int, writes_long_cache: bool
) -> list[tuple[int, int]]:
    """For each tier that a call of at most this input may come to be in: what all but its output costs there at most,
    and what each token of output does, in millionths of a nano_usd."""
    tiers = price.tiers
    if len(tiers) == 1:
        return [_dearest_part(tiers[0], input_tokens, web_searches, writes_long_cache)]
    parts, tokens = [], input_tokens
    for rates in tiers:
        if tokens > rates.above_tokens or rates is tiers[-1]:
            parts.append(_dearest_part(rates, tokens, web_searches, writes_long_cache))
            tokens = min(tokens, rates.above_tokens)
    return parts


def _dearest_part(rates: Rates, input_tokens: int, web_searches: int, writes_long_cache: bool) -> tuple[int, int]:
    input_rate = max(rates.input, rates.cache_read or 0, rates.cache_write or 0)
    if writes_long_cache:
        input_rate = max(input_rate, rates.cache_write_1h or 0)
    fixed = input_tokens * input_rate
    if web_searches:
        fixed += web_searches * (rates.web_search or 0) * THOUSANDS_PER_MTOK
    return fixed, max(rates.output, rates.reasoning or 0)
