"""Money: integer nano-dollars inside, decimal strings at the edge, one rounding rule.

1 nano_usd is 1e-9 USD. Every sum of money in the code, the database and Redis is an `int` of
nano_usd; `parse_usd` and `format_usd` are the only doors in and out.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from spendhub.errors import InvalidMoney

NANO_PER_USD = 1_000_000_000
TOKENS_PER_MTOK = 1_000_000

# Lua numbers are doubles: integers are exact below 2**53 nano_usd (about 9.007 million USD).
MAX_NANO_USD = 9_000_000 * NANO_PER_USD


def round_nano_usd(numerator: int, denominator: int) -> int:
    """`numerator / denominator` in nano_usd, rounded half up: the only rounding of money there is.

    Both must be non-negative and the denominator positive. A call's cost is rounded once, after
    all its token kinds are summed. Source: docs/pricing.md, "One rounding rule".
    """
    return (2 * numerator + denominator) // (2 * denominator)


def parse_usd(
    value: str | int | float | Decimal, *, maximum_nano_usd: int = MAX_NANO_USD, is_chosen: bool = False
) -> int:
    """USD as a number or decimal string, in nano_usd.

    A float is read as the shortest decimal that prints it (0.1 is 0.1). More than nine decimals
    are rounded half up. Raises InvalidMoney for anything that is not a finite, non-negative
    amount up to `maximum_nano_usd`; where somebody has chosen it (`is_chosen`: a limit, a price), for
    what would be rounded to nothing too.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise InvalidMoney(value, "a number or decimal string in USD")
    if isinstance(value, str) and (len(value) > 40 or "_" in value):
        raise InvalidMoney(value[:40], "a number or decimal string in USD")
    try:
        amount = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):
        raise InvalidMoney(value, "a number or decimal string in USD") from None
    if not amount.is_finite():
        raise InvalidMoney(value, "a finite amount in USD")
    if amount < 0:
        raise InvalidMoney(value, "an amount of 0 USD or more")
    if amount > Decimal(maximum_nano_usd) / NANO_PER_USD:
        raise InvalidMoney(value, f"at most {format_usd(maximum_nano_usd)} USD")
    nano_usd = _rounded(amount)
    if is_chosen and amount and not nano_usd:
        raise InvalidMoney(value, "0, or 0.000000001 USD or more")
    return nano_usd


def _rounded(amount: Decimal) -> int:
    if amount and amount.adjusted() < -30:
        return 0  # an exact ratio of it might have no end of digits
    numerator, denominator = amount.as_integer_ratio()
    return round_nano_usd(numerator * NANO_PER_USD, denominator)


def format_usd(nano_usd: int) -> str:
    """nano_usd as a decimal string in USD: at least two decimals, no needless zeros beyond."""
    sign = "-" if nano_usd < 0 else ""
    whole, fraction = divmod(abs(nano_usd), NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"
