"""Money: exact integers inside, decimal strings at the edge, one rounding rule."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendhub.errors import InvalidMoney
from spendhub.money import MAX_NANO_USD, NANO_PER_USD, format_usd, parse_usd, round_nano_usd

amounts = st.integers(0, MAX_NANO_USD)


@given(amounts)
def test_what_is_written_is_read_back_exactly(nano_usd: int) -> None:
    assert parse_usd(format_usd(nano_usd)) == nano_usd


@given(amounts)
def test_an_amount_is_written_with_two_decimals_or_as_many_as_it_needs(nano_usd: int) -> None:
    written = format_usd(nano_usd)
    assert Decimal(written) * NANO_PER_USD == nano_usd
    decimals = written.partition(".")[2]
    assert 2 <= len(decimals) <= 9
    assert len(decimals) == 2 or not decimals.endswith("0")


@given(st.integers(-MAX_NANO_USD, -1))
def test_a_negative_amount_differs_by_its_sign_only(nano_usd: int) -> None:
    assert format_usd(nano_usd) == "-" + format_usd(-nano_usd)


@given(st.decimals(0, 9_000_000, places=15))
def test_more_than_nine_decimals_are_rounded_half_up(amount: Decimal) -> None:
    expected = int((amount * NANO_PER_USD).quantize(Decimal(1), ROUND_HALF_UP))
    assert parse_usd(str(amount)) == parse_usd(amount) == expected


@given(st.floats(0, 9_000_000))
def test_a_float_is_read_as_the_decimal_that_prints_it(amount: float) -> None:
    assert parse_usd(amount) == parse_usd(repr(amount))


@given(st.integers(0, 10**30), st.integers(1, 10**12))
def test_rounding_is_to_the_nearest_and_a_half_goes_up(numerator: int, denominator: int) -> None:
    assert round_nano_usd(numerator, denominator) == math.floor(Fraction(numerator, denominator) + Fraction(1, 2))


@given(st.text() | st.binary() | st.none() | st.booleans() | st.lists(st.integers()) | st.complex_numbers())
def test_anything_else_is_refused_and_never_crashes(value: Any) -> None:
    try:
        nano_usd = parse_usd(value)
    except InvalidMoney:
        return
    assert isinstance(value, str) and 0 <= nano_usd <= MAX_NANO_USD


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "NaN", "sNaN", "Infinity", "-Infinity", "-1", "-0.000000001", "1,5", "1_000", "$5", "0x10", "1e400", "9000000.01",
        "1e999999999", "1" * 41, True, False, None, [], {}, b"1", math.nan, math.inf, -1, -0.5, 10**40, 1e300, Decimal("NaN"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMoney):
        parse_usd(value)


@pytest.mark.parametrize("value", ["0.00000000049", "1e-999999999", 5e-324, Decimal("0.0000000001")])
def test_a_chosen_amount_that_would_be_rounded_to_nothing_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMoney, match=r"is not 0, or 0\.000000001 USD or more"):
        parse_usd(value, is_chosen=True)


@pytest.mark.parametrize(
    ("value", "nano_usd"), [("0", 0), (0.0, 0), ("-0", 0), ("0.0000000005", 1), ("1", NANO_PER_USD)]
)
def test_a_chosen_amount_of_nothing_is_nothing(value: Any, nano_usd: int) -> None:
    assert parse_usd(value, is_chosen=True) == nano_usd


@pytest.mark.parametrize(
    ("value", "nano_usd"),
    [
        ("0", 0), ("-0", 0), (0.1, 100_000_000), ("0.1", 100_000_000), (1, NANO_PER_USD), (" 2.50 ", 2_500_000_000), ("1e-9", 1),
        ("0.0000000005", 1), ("0.00000000049", 0), ("1e-999999999", 0), ("9000000", MAX_NANO_USD), (5e-324, 0),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_write_them(value: Any, nano_usd: int) -> None:
    assert parse_usd(value) == nano_usd
