"""Amounts as people type them: read for what they are, or refused beside the field."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from spendhub.money import NANO_PER_USD
from spendhub.tenants.admin_fields import UsdField


@pytest.mark.parametrize(
    ("typed", "nano_usd"),
    [
        ("12.50", 12_500_000_000), ("$1,250.5", 1_250_500_000_000), ("1,234,567", 1_234_567 * NANO_PER_USD),
        ("0", 0), ("0.00", 0), ("0.000000001", 1), ("12.", 12 * NANO_PER_USD),
    ],
)  # fmt: skip
def test_commas_that_group_thousands_before_a_point_are_read_over(typed: str, nano_usd: int) -> None:
    assert UsdField().clean(typed) == nano_usd


# The last might be a thousand and a quarter, or a little more than one.
@pytest.mark.parametrize("typed", ["12,50", "1.234,50", "1,5", "0,075", "1,23.00", "1,2345.00", ",5", "1,", "1,250"])
def test_a_comma_that_may_be_a_decimal_one_is_refused_in_words(typed: str) -> None:
    with pytest.raises(ValidationError) as refused:
        UsdField().clean(typed)
    assert refused.value.messages == [
        f"Write an amount in US dollars with a point, such as 12.50 or 1,234.50: {typed!r} could be read in two ways."
    ]


def test_what_would_be_rounded_to_nothing_is_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        UsdField().clean("0.0000000001")
    assert refused.value.messages == [
        "Write an amount in US dollars, such as 25 or 0.15: '0.0000000001' is not 0, or 0.000000001 USD or more."
    ]
