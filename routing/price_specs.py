"""Prices as facts, before they are rows: read from a catalog file, or from the genai-prices package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from routing.errors import InvalidCatalog
from routing.service_tiers import MAX_TIER_LENGTH, STANDARD, TIER_PATTERN
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

# From when a price holds whose beginning nobody wrote down.
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
# What is priced by the million tokens, and what by the thousand.
TOKEN_KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
KINDS = (*TOKEN_KINDS, "web_search")
# Of a price row, the column of each kind.
COLUMNS: Mapping[str, str] = {
    **{kind: f"{kind}_nano_usd_per_mtok" for kind in TOKEN_KINDS},
    "web_search": "web_search_nano_usd_per_thousand",
}
GENAI_SOURCE = "genai-prices"


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """One price: when and for which calls it holds, and nano_usd per million tokens of each kind, per thousand
    searches of the web."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    web_search: int | None = None
    service_tier: str = STANDARD
    valid_from: datetime = BEGINNING
    valid_until: datetime | None = None
    min_context_tokens: int = 0
    daily_from_minute: int = 0
    daily_until_minute: int = 1440
    source: str = ""

    @property
    def slot(self) -> tuple[str, int, int, int]:
        """What it competes for: of two prices in the same slot, only one holds at a time."""
        return (self.service_tier, self.min_context_tokens, self.daily_from_minute, self.daily_until_minute)

    @property
    def rates(self) -> tuple[int | None, ...]:
        """nano_usd, in the order of KINDS."""
        return (
            self.input, self.output, self.cache_read, self.cache_write, self.cache_write_1h, self.reasoning,
            self.web_search,
        )  # fmt: skip


def specs_from_file(entries: Iterable[Mapping[str, Any]], source: str) -> list[PriceSpec]:
    """Prices as a catalog file writes them: USD per million tokens (`web_search`: per thousand), as decimal strings
    or numbers.

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
        if "service_tier" in entry:
            values["service_tier"] = tier_of(entry["service_tier"])
        specs.append(PriceSpec(**values, source=str(entry.get("source", source))[:300]))
    return specs


def genai_model_of(entry: Mapping[str, Any]) -> Any:
    """The model of genai-prices that has the prices of a catalog entry, None where it has none."""
    provider_id, _, model_id = str(entry.get("genai_prices", "")).partition(":")
    provider = _genai_providers().get(provider_id)
    if provider is None:
        return None
    # By name first: a newer package may price a dated version apart from its family.
    found = provider.find_model(str(entry.get("upstream_name") or entry["name"]))
    return found or next((model for model in provider.models if model.id == model_id), None)


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
        specs += specs_of(prices, valid_from=begins, valid_until=ends_at)
    for begins, from_minute, until_minute, prices in by_hours:
        specs += specs_of(prices, valid_from=begins, daily_from_minute=from_minute, daily_until_minute=until_minute)
    return specs


def specs_of(prices: Any, **when: Any) -> Iterator[PriceSpec]:
    """One price of genai-prices, its context tiers apart; none without an input price. `when` is when it holds."""
    from genai_prices.types import TieredPrices

    by_kind = {kind: getattr(prices, f"{kind}_mtok", None) for kind in TOKEN_KINDS if kind != "reasoning"}
    by_kind["web_search"] = getattr(prices, "web_searches_kcount", None)
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


@cache
def _genai_providers() -> dict[str, Any]:
    # Here, not above: its import costs half a second that only `catalog update` should pay.
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


def tier_of(value: Any) -> str:
    """A service tier as a catalog file names it. Raises InvalidCatalog."""
    if value == STANDARD:
        return STANDARD
    if not isinstance(value, str) or len(value) > MAX_TIER_LENGTH or not re.match(TIER_PATTERN, value):
        raise InvalidCatalog(f"service_tier: {str(value)[:40]!r} is no tier such as priority or fast+us")
    return value


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
