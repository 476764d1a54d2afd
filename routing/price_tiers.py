"""Prices beside the standard ones, as facts before they are rows: other service tiers, and what else is billed on top.

From genai-prices, which knows the tiers of OpenAI, Anthropic's fast mode and batches; and from
`routing/data/surcharges.json`, which has what that package does not (made by extract_surcharges.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from fractions import Fraction
from typing import Any

from routing.errors import InvalidCatalog
from routing.price_specs import BEGINNING, TOKEN_KINDS, PriceSpec, specs_from_file, specs_of
from routing.service_tiers import STANDARD, tier_name
from spendhub.money import parse_usd, round_nano_usd

# What selects a price there: a tier by its own name, fast mode and batches by theirs.
_CONTEXT_KEYS = ("service_tier", "speed", "processing")
RULES = frozenset(("name", "factors", "long_cache_write", "web_search", "search_block_tokens", "same_price", "tiers"))


def tiers_from_genai(model: Any) -> list[PriceSpec]:
    """What genai-prices holds for the model's other service tiers, from the day on for which it was checked.

    None of a model with prices by the hour: the package does not say how the two go together.
    """
    from genai_prices.types import TimeOfDateConstraint

    variants = model.price_variants or ()
    standard = model.prices if isinstance(model.prices, list) else []
    if any(isinstance(each.constraint, TimeOfDateConstraint) for each in (*standard, *variants)):
        return []
    contexts: dict[str, tuple[dict[str, str], list[datetime]]] = {}
    for variant in variants:
        tier = tier_name(*variant.when.values())
        if tier and len(variant.when) == 1 and not variant.when.keys() - set(_CONTEXT_KEYS):
            contexts.setdefault(tier, (variant.when, []))[1].append(_start(variant.constraint))
    changes = {_start(each.constraint) for each in standard}
    specs: list[PriceSpec] = []
    for tier, (context, starts) in contexts.items():
        moments = sorted(set(starts) | {moment for moment in changes if moment > min(starts)})
        specs += _history(model, tier, context, moments)
    return specs


def _history(model: Any, tier: str, context: Mapping[str, str], moments: Sequence[datetime]) -> list[PriceSpec]:
    found: list[tuple[datetime, list[PriceSpec]]] = []
    for moment in moments:
        specs = list(specs_of(model.get_prices(moment, dict(context)), valid_from=moment, service_tier=tier))
        if not found or [replace(spec, valid_from=moment) for spec in found[-1][1]] != specs:
            found.append((moment, specs))
    ends: list[datetime | None] = [moment for moment, _ in found[1:]]
    return [
        replace(spec, valid_until=end) for (_, specs), end in zip(found, [*ends, None], strict=True) for spec in specs
    ]


def with_surcharges(
    specs: Sequence[PriceSpec], entry: Mapping[str, Any], source: str, checked_on: date
) -> list[PriceSpec]:
    """A model's prices with what an entry of surcharges.json says of it.

    `web_search` is USD per thousand searches, `search_block_tokens` the input that each search counts as beside;
    `long_cache_write` prices writes that live longer, as a multiple of input; `tiers` are prices as in a catalog
    file, `same_price` tiers that cost what the standard one does; `factors` multiply every token price, tier by
    tier. Raises InvalidCatalog.
    """
    unknown = set(entry) - RULES
    if unknown:
        raise InvalidCatalog(f"{entry.get('name')!r}: a surcharge has no rule {min(unknown)!r}")
    all_specs = [*specs, *_own_tiers(specs, entry, source, checked_on)]
    for tier in entry.get("same_price", ()):
        all_specs += [replace(spec, service_tier=tier, source=source) for spec in specs if not spec.service_tier]
    all_specs = [_with_rates(spec, entry) for spec in all_specs]
    for tier, factor in entry.get("factors", {}).items():
        all_specs += [_multiplied(spec, tier, Fraction(str(factor)), source) for spec in all_specs]
    return all_specs


def _own_tiers(
    specs: Sequence[PriceSpec], entry: Mapping[str, Any], source: str, checked_on: date
) -> Iterator[PriceSpec]:
    begins = datetime.combine(checked_on, time(), UTC)
    for tier in specs_from_file(entry.get("tiers", ()), source):
        beside = next((spec for spec in specs if _stands_beside(spec, tier, begins)), None)
        # Nobody has said what it costs once the standard price changes: then it is no longer known.
        ends = beside.valid_until if beside is not None else None
        search = beside.web_search if beside is not None else None
        yield replace(
            tier, valid_from=begins, valid_until=tier.valid_until or ends, web_search=tier.web_search or search
        )


def _stands_beside(spec: PriceSpec, tier: PriceSpec, moment: datetime) -> bool:
    return (
        spec.slot == replace(tier, service_tier=STANDARD).slot
        and spec.valid_from <= moment
        and (spec.valid_until is None or spec.valid_until > moment)
    )


def _with_rates(spec: PriceSpec, entry: Mapping[str, Any]) -> PriceSpec:
    changes: dict[str, int] = {}
    if "long_cache_write" in entry:
        changes["cache_write_1h"] = _times(spec.input, Fraction(str(entry["long_cache_write"])))
    if "web_search" in entry:
        changes["web_search"] = parse_usd(entry["web_search"])
    if "search_block_tokens" in entry:
        searches = changes.get("web_search", spec.web_search or 0)
        changes["web_search"] = searches + _times(spec.input, Fraction(entry["search_block_tokens"], 1_000))
    return replace(spec, **changes)  # type: ignore[arg-type]  # rates, all of them


def _multiplied(spec: PriceSpec, tier: str, factor: Fraction, source: str) -> PriceSpec:
    rates = {kind: getattr(spec, kind) for kind in TOKEN_KINDS}
    raised = {kind: None if rate is None else _times(rate, factor) for kind, rate in rates.items()}
    name = tier_name(*spec.service_tier.split("+"), tier)
    return replace(spec, **raised, service_tier=name, source=source)  # type: ignore[arg-type]  # rates, all of them


def _times(rate: int, factor: Fraction) -> int:
    return round_nano_usd(rate * factor.numerator, factor.denominator)


def _start(constraint: Any) -> datetime:
    return BEGINNING if constraint is None else datetime.combine(constraint.start_date, time(), UTC)
