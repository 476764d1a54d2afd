"""From tokens to money: exact, each token once, impossible counts refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import ImpossibleUsage
from routing.pricing import (
    CompiledPrice,
    PriceTable,
    Rates,
    affordable_output_tokens,
    estimate_nano_usd,
    flat_price,
    is_whole,
    price_usage,
)
from routing.token_usage import TokenUsage
from spendhub.money import parse_usd

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

counts = st.integers(0, 10_000_000)
rates = st.integers(0, 200_000_000_000)
maybe_rates = st.none() | rates


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    read, write, write_1h, plain, output = (draw(counts) for _ in range(5))
    reasoning, searches = draw(st.integers(0, output)), draw(st.integers(0, 50))
    return TokenUsage.from_totals(plain + read + write + write_1h, output, read, write, reasoning, write_1h, searches)


all_rates = st.builds(Rates, rates, rates, maybe_rates, maybe_rates, maybe_rates, maybe_rates, web_search=maybe_rates)


@given(usages(), all_rates)
def test_the_cost_is_the_exact_sum_rounded_once_half_up(usage: TokenUsage, rate: Rates) -> None:
    write = rate.input if rate.cache_write is None else rate.cache_write
    exact = Fraction(
        usage.input_tokens * rate.input
        + usage.cache_read_tokens * (rate.input if rate.cache_read is None else rate.cache_read)
        + usage.cache_write_tokens * write
        + usage.cache_write_1h_tokens * (write if rate.cache_write_1h is None else rate.cache_write_1h)
        + (usage.output_tokens - usage.reasoning_tokens) * rate.output
        + usage.reasoning_tokens * (rate.output if rate.reasoning is None else rate.reasoning),
        1_000_000,
    ) + Fraction(usage.web_searches * (rate.web_search or 0), 1_000)
    cost = price_usage(usage, CompiledPrice((rate,)))
    assert cost.total_nano_usd == int(exact + Fraction(1, 2))


@given(usages(), all_rates)
def test_the_parts_add_up_to_the_total_and_none_is_negative(usage: TokenUsage, rate: Rates) -> None:
    cost = price_usage(usage, CompiledPrice((rate,)))
    assert sum(cost.by_kind().values()) == cost.total_nano_usd
    assert all(part > 0 for part in cost.by_kind().values())


def test_an_estimate_ends_just_above_what_any_budget_can_have() -> None:
    dear = flat_price(parse_usd("1000000"), parse_usd("1000000"))
    assert estimate_nano_usd(dear, 0, 9_000_000) == parse_usd("9000000")
    for tokens in (9_000_001, 999_999_999 * 127):
        assert estimate_nano_usd(dear, 0, tokens) == parse_usd("9000000") + 1


@given(counts, counts, rates, rates, maybe_rates, maybe_rates)
def test_the_estimate_is_never_below_what_the_call_can_cost(
    given_input: int, output: int, input_rate: int, output_rate: int, write_rate: int | None, reasoning_rate: int | None
) -> None:
    price = CompiledPrice((Rates(input_rate, output_rate, cache_write=write_rate, reasoning=reasoning_rate),))
    held = estimate_nano_usd(price, given_input, output)
    for written in (0, given_input):
        for reasoning in (0, output):
            usage = TokenUsage.from_totals(given_input, output, 0, written, reasoning)
            assert price_usage(usage, price).total_nano_usd <= held


@st.composite
def prices(draw: st.DrawFn) -> CompiledPrice:
    """Of up to three tiers, each dearer or cheaper than the others."""
    sizes = sorted(draw(st.sets(st.integers(1, 10_000_000), max_size=2)), reverse=True)
    return CompiledPrice(tuple(replace(draw(all_rates), above_tokens=above) for above in (*sizes, 0)))


@given(prices(), usages(), st.integers(0, 5_000_000), st.integers(0, 1_000))
def test_no_call_up_to_the_estimated_size_costs_more_however_odd_the_price_is(
    price: CompiledPrice, usage: TokenUsage, more_input: int, more_output: int
) -> None:
    # However much of it is read from the cache or written to it, and in whatever tier it ends.
    held = estimate_nano_usd(
        price, usage.total_input_tokens + more_input, usage.output_tokens + more_output,
        web_searches=usage.web_searches, writes_long_cache=True,
    )  # fmt: skip
    assert price_usage(usage, price).total_nano_usd <= held


@given(prices(), st.integers(0, 10**12), counts, st.integers(0, 20), st.booleans())
def test_the_affordable_output_is_the_most_that_the_room_pays_for(
    price: CompiledPrice, room_nano_usd: int, given_input: int, searches: int, is_long: bool
) -> None:
    asked: dict[str, Any] = {"web_searches": searches, "writes_long_cache": is_long}
    found = affordable_output_tokens(price, room_nano_usd, given_input, **asked)
    if found is None:
        assert estimate_nano_usd(price, given_input, 10**9, **asked) <= room_nano_usd
        return
    assert estimate_nano_usd(price, given_input, found + 1, **asked) > room_nano_usd
    if found:
        assert estimate_nano_usd(price, given_input, found, **asked) <= room_nano_usd


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_tokens", -1),
        ("output_tokens", 1_000_000_001),
        ("cache_read_tokens", 11),
        ("cache_write_tokens", 11),
        ("reasoning_tokens", 6),
        ("input_tokens", 1.5),
        ("input_tokens", "10"),
        ("input_tokens", True),
        ("input_tokens", float("nan")),
    ],
)
def test_counts_that_no_call_can_have_are_refused(field: str, value: Any) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, field: value}
    with pytest.raises(ImpossibleUsage):
        TokenUsage.from_totals(**usage)


def test_cached_parts_together_may_not_exceed_the_input() -> None:
    with pytest.raises(ImpossibleUsage, match="cached tokens"):
        TokenUsage.from_totals(10, 0, cache_read_tokens=6, cache_write_tokens=5)


def test_disjoint_counts_are_checked_too() -> None:
    assert TokenUsage.checked(input_tokens=1, cache_read_tokens=9).total_input_tokens == 10
    with pytest.raises(ImpossibleUsage):
        TokenUsage.checked(output_tokens=1, reasoning_tokens=2)
    with pytest.raises(ImpossibleUsage):
        TokenUsage.checked(cache_read_tokens=-1)


def test_absent_counts_are_zero() -> None:
    assert TokenUsage.from_totals(None, None) == TokenUsage()
    assert TokenUsage().total_tokens == 0


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 60},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            TokenUsage(40, 30, 60, 0, 0, 20),
        ),
        (
            {"input_tokens": 100, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 1}},
            TokenUsage(99, 3, 1),
        ),
        ({"prompt_tokens": 100, "prompt_cache_hit_tokens": 64, "completion_tokens": 1}, TokenUsage(36, 1, 64)),
        ({"prompt_tokens": 7, "total_tokens": 7}, TokenUsage(7)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": None}, TokenUsage(7, 2)),
    ],
)
def test_openai_usage_is_taken_apart(usage: dict[str, Any], expected: TokenUsage) -> None:
    assert TokenUsage.from_openai(usage) == expected


def test_thinking_that_a_vendor_counts_beside_the_completion_is_paid() -> None:
    # A Grok 4.20 call for which xAI itself reported 0.0232856 USD (at 1.25, cached 0.20, out 2.50).
    usage = TokenUsage.from_openai(
        {
            "prompt_tokens": 10_120,
            "completion_tokens": 1_499,
            "total_tokens": 14_428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2_809},
        }
    )
    assert usage == TokenUsage(9_992, 4_308, 128, 0, 0, 2_809)
    price = CompiledPrice((Rates(parse_usd("1.25"), parse_usd("2.5"), cache_read=parse_usd("0.2")),))
    assert price_usage(usage, price).total_nano_usd == parse_usd("0.0232856")


@pytest.mark.parametrize(
    ("usage", "output", "reasoning"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, 603, 405),
        ({"prompt_tokens": 21, "completion_tokens": 0, "completion_tokens_details": {"reasoning_tokens": 60}}, 60, 60),
        ({"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 3}, 5, 0),
    ],
)
def test_output_is_never_less_than_the_total_says(usage: dict[str, Any], output: int, reasoning: int) -> None:
    found = TokenUsage.from_openai(usage)
    assert (found.output_tokens, found.reasoning_tokens) == (output, reasoning)


def test_contexts_that_anthropic_sums_up_first_are_paid_beside_the_answer() -> None:
    parts = [
        {"type": "compaction", "input_tokens": 500, "output_tokens": 60, "cache_read_input_tokens": 7},
        {"type": "compaction", "input_tokens": 40, "output_tokens": 3, "iterations": [{"type": "compaction"}]},
        {"type": "message", "input_tokens": 10, "output_tokens": 5},
        {"type": "advisor_message", "model": "another", "input_tokens": 9_000, "output_tokens": 900},
        "no part",
    ]
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": parts}
    assert TokenUsage.from_anthropic(usage) == TokenUsage(550, 68, 7)
    assert TokenUsage.from_anthropic({**usage, "iterations": 3}) == TokenUsage(10, 5)


def test_the_first_price_that_holds_is_the_price() -> None:
    def price(rate: int, **when: Any) -> CompiledPrice:
        return CompiledPrice((Rates(rate, 0),), **when)

    table = PriceTable(
        (
            price(3, daily_from_minute=720, daily_until_minute=780),
            price(2, valid_from=NOON - timedelta(days=1)),
            price(1, valid_until=NOON - timedelta(days=1)),
        )
    )

    def rate_at(moment: datetime) -> int:
        found = table.at(moment)
        assert found is not None
        return found.tiers[0].input

    assert rate_at(NOON) == 3
    assert rate_at(NOON - timedelta(seconds=1)) == 2
    assert rate_at(NOON + timedelta(hours=1)) == 2
    assert rate_at(NOON - timedelta(days=1, microseconds=1)) == 1
    assert PriceTable().at(NOON) is None


# The recipe's own worked cases. Where SpendHub answers differently, `why` says so.
RECIPE_CASES: list[tuple[str, tuple[str, str, str | None, str | None], dict[str, int], str, str]] = [
    ("gpt-4", ("30", "60", None, None), {"input_tokens": 1000, "output_tokens": 500}, "0.06", ""),
    ("claude-3-opus", ("15", "75", "1.5", "18.75"), {"input_tokens": 1000, "output_tokens": 500}, "0.0525", ""),
    (
        "cache creation is on top of input",
        ("15", "75", "1.5", "18.75"),
        {"input_tokens": 1200, "output_tokens": 500, "cache_write_tokens": 200},
        "0.05625",
        "",
    ),
    (
        "Anthropic native usage is underbilled",
        ("3", "15", "0.30", "3.75"),
        {"input_tokens": 10_050, "output_tokens": 100, "cache_read_tokens": 10_000},
        "0.00465",
        "the recipe lost the 50 uncached tokens (0.0045)",
    ),
    ("haiku 3.5", ("0.8", "4", None, None), {"input_tokens": 1_000_000, "output_tokens": 1_000_000}, "4.8", ""),
    ("gemini-1.5-flash", ("0.075", "0.30", None, None), {"input_tokens": 128_000, "output_tokens": 1000}, "0.0099", ""),
    (
        "small call rounds up",
        ("0.15", "0.60", None, None),
        {"input_tokens": 10, "output_tokens": 10},
        "0.0000075",
        "the recipe rounds to micro-dollars (0.000008)",
    ),
    ("cost in/out", ("3", "15", None, None), {"input_tokens": 1_000_000, "output_tokens": 500_000}, "10.5", ""),
    (
        "missing cache prices fall back to input price",
        ("10", "20", None, None),
        {
            "input_tokens": 1_000_000,
            "output_tokens": 500_000,
            "cache_read_tokens": 250_000,
            "cache_write_tokens": 100_000,
        },
        "20",
        "",
    ),
    ("cheapest: glm-edge", ("0.3", "0.6", None, None), {"input_tokens": 1000, "output_tokens": 500}, "0.0006", ""),
    ("weighted cost p", ("1", "4", None, None), {"input_tokens": 1000, "output_tokens": 500}, "0.003", ""),
    ("weighted cost q", ("2", "1", None, None), {"input_tokens": 1000, "output_tokens": 500}, "0.0025", ""),
    (
        "estimate before the call",
        ("0.3", "0.6", None, None),
        {"input_tokens": 2, "output_tokens": 128},
        "0.0000774",
        "",
    ),
    (
        "actual cost uses the executed model's price",
        ("0.5", "1.0", None, None),
        {"input_tokens": 20, "output_tokens": 10},
        "0.00002",
        "",
    ),
]


@pytest.mark.parametrize(("name", "price", "usage", "usd", "why"), RECIPE_CASES, ids=[case[0] for case in RECIPE_CASES])
def test_the_recipes_worked_cases(
    name: str, price: tuple[str, str, str | None, str | None], usage: dict[str, int], usd: str, why: str
) -> None:
    rate = Rates(*(None if rate is None else parse_usd(rate) for rate in price))  # type: ignore[arg-type]  # input and output are never None
    assert price_usage(TokenUsage.from_totals(**usage), CompiledPrice((rate,))).total_nano_usd == parse_usd(usd), why


def test_the_recipes_estimate_holds_the_worst_case_not_seventy_percent() -> None:
    # The recipe holds 0.072 for 1000 in and max 1000 out at 30/60, and its cap can then be overshot.
    assert estimate_nano_usd(flat_price(parse_usd("30"), parse_usd("60")), 1000, 1000) == parse_usd("0.09")


def test_searches_are_a_part_of_their_own_and_no_fraction_of_them_is_lost() -> None:
    # 3 tokens at 0.1 nano_usd and 2 searches at 10.0004 nano_usd: 20.3008, of which the first 0.3 round to nothing.
    price = CompiledPrice((Rates(100_000, 0, web_search=10_000),))
    cost = price_usage(TokenUsage.from_totals(3, web_searches=2), price)
    assert (cost.total_nano_usd, cost.by_kind()) == (20, {"web_search": 20})


def test_searches_without_a_price_cost_nothing_and_are_told_apart() -> None:
    priced, unpriced = CompiledPrice((Rates(0, 0, web_search=0),)), CompiledPrice((Rates(0, 0),))
    searched = TokenUsage.from_totals(1, web_searches=1)
    assert price_usage(searched, unpriced).total_nano_usd == 0
    assert (is_whole(searched, unpriced), is_whole(searched, priced), is_whole(TokenUsage(), unpriced)) == (
        False, True, True,
    )  # fmt: skip


def test_writes_for_twelve_hours_are_told_apart_from_shorter_ones() -> None:
    details = {"cached_tokens": 10, "cache_write_tokens": 50, "cache_write_tokens_details": {"ttl_12h_tokens": 20}}
    usage = {"input_tokens": 100, "output_tokens": 1, "input_tokens_details": details}
    assert TokenUsage.from_openai(usage) == TokenUsage(40, 1, 10, 30, 20)
    details["cache_write_tokens"] = 19
    with pytest.raises(ImpossibleUsage, match="ttl_12h_tokens"):
        TokenUsage.from_openai(usage)


def test_a_table_keeps_the_prices_of_each_tier_apart() -> None:
    standard, flex = flat_price(2, 10), flat_price(1, 5)
    table = PriceTable((standard,), {"flex": (flex,)})
    assert [table.at(NOON, tier) for tier in ("", "flex", "priority")] == [standard, flex, None]


def test_an_own_table_comes_first_tier_by_tier() -> None:
    own = PriceTable((flat_price(1, 1),), {"flex": (flat_price(2, 2),)})
    shared = PriceTable((flat_price(3, 3),), {"flex": (flat_price(4, 4),), "priority": (flat_price(5, 5),)})
    both = own.before(shared)
    assert [both.at(NOON, tier) for tier in ("", "flex", "priority")] == [
        flat_price(1, 1), flat_price(2, 2), flat_price(5, 5),
    ]  # fmt: skip


@given(counts, counts, rates, rates, maybe_rates, st.integers(0, 20), maybe_rates)
def test_the_estimate_covers_searches_and_the_writes_that_live_longer(
    given_input: int, output: int, input_rate: int, output_rate: int, long_rate: int | None, searches: int,
    search_rate: int | None,
) -> None:  # fmt: skip
    price = CompiledPrice((Rates(input_rate, output_rate, cache_write_1h=long_rate, web_search=search_rate),))
    held = estimate_nano_usd(price, given_input, output, web_searches=searches, writes_long_cache=True)
    usage = TokenUsage.from_totals(given_input, output, 0, 0, 0, given_input, searches)
    assert price_usage(usage, price).total_nano_usd <= held
