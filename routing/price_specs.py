"""Prices as facts, before they are rows: read from a catalog file, or from the genai-prices package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from routing.errors import InvalidCatalog
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

# From when a price holds whose beginning nobody wrote down.
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
GENAI_SOURCE = "genai-prices"


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """One price: when and for which calls it holds, and nano_usd per million tokens of each kind."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    valid_from: datetime = BEGINNING
    valid_until: datetime | None = None
    min_context_tokens: int = 0
    daily_from_minute: int = 0
    daily_until_minute: int = 1440
    source: str = ""

    @property
    def slot(self) -> tuple[int, int, int]:
        """What it competes for: of two prices in the same slot, only one holds at a time."""
        return (self.min_context_tokens, self.daily_from_minute, self.daily_until_minute)

    @property
    def rates(self) -> tuple[int | None, ...]:
        """nano_usd per million tokens, in the order of KINDS."""
        return (self.input, self.output, self.cache_read, self.cache_write, self.cache_write_1h, self.reasoning)


def specs_from_file(entries: Iterable[Mapping[str, Any]], source: str) -> list[PriceSpec]:
    """Prices as a catalog file writes them: USD per million tokens, as decimal strings or numbers.

    Raises InvalidCatalog, naming the field.
    """
    specs = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise InvalidCatalog(f"a price must be an object, not {str(entry)[:40]!r}")
        unknown = set(entry) - {field.name for field in fields(PriceSpec)}
        if unknown:
            raise InvalidCatalog(f"a price has no field {min(unknown)!r}")
        values: dict[str, Any] = {kind: _rate(kind, entry[kind]) for kind in KINDS if entry.get(kind) is not None}
        if "input" not in values or "output" not in values:
            raise InvalidCatalog("a price needs input and output, in USD per million tokens")
        for name in ("min_context_tokens", "daily_from_minute", "daily_until_minute"):
            if name in entry:
                values[name] = _whole(name, entry[name])
        for name in ("valid_from", "valid_until"):
            if entry.get(name):
                values[name] = moment_of(name, entry[name])
        specs.append(PriceSpec(**values, source=str(entry.get("source", source))[:300]))
    return specs


def specs_from_genai(model: Any) -> list[PriceSpec]:
    """The whole price history that genai-prices holds for one of its models, tiers and hours included.

    Empty when it has no price per input token (speech by the hour, images by the piece ...).
    """
    from genai_prices.types import ConditionalPrice, StartDateConstraint, TimeOfDateConstraint

    given = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    start = BEGINNING
    whole_day: list[tuple[datetime, Any]] = []
    by_hours: list[tuple[datetime, int, int, Any]] = []
    for conditional in given:
        constraint = conditional.constraint
        if isinstance(constraint, TimeOfDateConstraint):
            for from_minute, until_minute in _stretches(constraint.start_time, constraint.end_time):
                by_hours.append((start, from_minute, until_minute, conditional.prices))
        else:
            if isinstance(constraint, StartDateConstraint):
                start = datetime.combine(constraint.start_date, time(), UTC)
            whole_day.append((start, conditional.prices))
    whole_day.sort(key=lambda dated: dated[0])
    ends: list[datetime | None] = [begins for begins, _ in whole_day[1:]]
    specs: list[PriceSpec] = []
    for (begins, prices), ends_at in zip(whole_day, [*ends, None], strict=True):
        specs += _tiers(prices, valid_from=begins, valid_until=ends_at)
    for begins, from_minute, until_minute, prices in by_hours:
        specs += _tiers(prices, valid_from=begins, daily_from_minute=from_minute, daily_until_minute=until_minute)
    return specs


def _tiers(prices: Any, **when: Any) -> Iterator[PriceSpec]:
    from genai_prices.types import TieredPrices

    by_kind = {kind: getattr(prices, f"{kind}_mtok", None) for kind in KINDS if kind != "reasoning"}
    if by_kind["input"] is None:
        return
    starts = {0}
    for price in by_kind.values():
        if isinstance(price, TieredPrices):
            starts |= {tier.start for tier in price.tiers}
    for above in sorted(starts):
        rates: dict[str, Any] = {}
        for kind, price in by_kind.items():
            if isinstance(price, TieredPrices):
                below = [tier.price for tier in price.tiers if above and tier.start <= above]
                price = below[-1] if below else price.base
            if price is not None:
                rates[kind] = _rate(kind, price)
        rates.setdefault("output", 0)
        yield PriceSpec(**rates, **when, min_context_tokens=above, source=GENAI_SOURCE)


def _stretches(start: time, end: time) -> list[tuple[int, int]]:
    first, last = start.hour * 60 + start.minute, end.hour * 60 + end.minute
    # A stretch over midnight is two: a row holds between two minutes of one day.
    return [(first, last)] if first < last else [part for part in ((first, 1440), (0, last)) if part[0] < part[1]]


def _rate(kind: str, value: Any) -> int:
    try:
        return parse_usd(value if not isinstance(value, Decimal) else format(value, "f"))
    except InvalidMoney as error:
        raise InvalidCatalog(f"{kind}: {error.message}") from None


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidCatalog(f"{name}: {str(value)[:40]!r} is no whole number of 0 or more")
    return value


def moment_of(name: str, value: Any) -> datetime:
    """A day (its first moment) or a moment as a catalog file writes it, UTC unless it says otherwise.

    Raises InvalidCatalog."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidCatalog(f"{name}: {str(value)[:40]!r} is no date like 2026-10-14") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
