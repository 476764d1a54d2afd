"""Which models fall out for what a call wants, each with one reason in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from routing.compiled_prices import default_price
from routing.conversation import BESIDE_WORDS, CHOICES, LOGPROBS, SPEECH
from routing.extras import always_searches, estimate_asked, price_asked
from routing.model_facts import ModelFacts, Quote
from routing.performance import (
    UNMEASURED,
    Observed,
    expected_latency_ms,
    expected_quality,
    observed_at,
)
from routing.pricing import CompiledPrice
from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import EMBEDDINGS
from routing.upstreams.registry import lacks, passes_untouched, unfit_for
from routing.wanted import NOTHING_NEEDED, QUALITIES, Declared, Wanted
from spendhub.money import format_usd

_IN_WORDS = {CHOICES: "several answers at once", LOGPROBS: "log probabilities", SPEECH: "spoken answers"}
# What a model is taken for whose size nobody has noted: as large as most, and not the one that takes what no other can.
UNNOTED_CONTEXT_TOKENS = 128_000
UNNOTED_OUTPUT_TOKENS = 16_384


class Hurdle(IntEnum):
    """What a model may fall out at, in the order in which they are asked: the later, the nearer it came."""

    CALLED_AT_ALL = 0
    KIND = 1
    WORDS = 2
    RETIREMENT = 3
    LISTS = 4
    CAPABILITIES = 5
    QUALITY = 6
    REGION = 7
    OUTPUT = 8
    CONTEXT = 9
    PRICE = 10
    COST = 11
    LATENCY = 12


@dataclass(frozen=True, slots=True)
class FellOut:
    """A model that was considered and left out, and why, in words for people. `short` is by how much it misses the
    `hurdle`, in the hurdle's own measure, where there is one."""

    model: str
    reason: str
    hurdle: Hurdle = Hurdle.CALLED_AT_ALL
    short: int = 0


@dataclass(frozen=True, slots=True)
class Option:
    """A model that can do the call, and the facts a strategy may weigh. `estimate_nano_usd` is of this very call;
    `is_estimated`: its price is the installation's default. `short_of_room`: why it falls out where another model has
    room for all that is packed into the request, since its vendor may refuse that; None where it has room itself."""

    model: ModelFacts
    price: CompiledPrice
    estimate_nano_usd: int
    observed: Observed = UNMEASURED
    is_estimated: bool = False
    short_of_room: FellOut | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def quote(self) -> Quote:
        """What its tokens cost."""
        return Quote(self.model, self.price, self.is_estimated)

    @property
    def p95_ms(self) -> float:
        """How long the slowest of twenty calls is expected to take; never zero."""
        return expected_latency_ms(self.observed, self.price)

    def latency_ms(self, percentile: str) -> float:
        """What it is expected not to exceed in so many of a hundred calls: p50, p95 or p99; never zero."""
        return expected_latency_ms(self.observed, self.price, percentile)

    @property
    def quality(self) -> float:
        """0 to 5, as measured or by its tier."""
        return expected_quality(self.observed, self.model)


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything that is demanded of a model for one call: read once, asked of each model. `reads_request`: also what
    the request shows, how large it is, and whether the model is retired; a model that a client names is asked for all
    the same."""

    wanted: Wanted
    capabilities: frozenset[str]
    min_quality: str | None
    max_cost_nano_usd: int | None
    max_latency_ms: int | None
    regions: tuple[str, ...]
    allow: frozenset[str]
    deny: frozenset[str]
    reads_request: bool = True
    unusual: Unusual = NOTHING_UNUSUAL
    _allowed: frozenset[str] = field(init=False, repr=False)
    _denied: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Names are found in whatever letter case elsewhere: a list that heeded it would rule out nothing, in silence.
        object.__setattr__(self, "_allowed", frozenset(name.casefold() for name in self.allow))
        object.__setattr__(self, "_denied", frozenset(name.casefold() for name in self.deny))

    @classmethod
    def of(cls, wanted: Wanted, own: Declared | None = None, *, reads_request: bool = True) -> Requirements:
        """What the request needs, its caller declares, and a route adds as its `own` demands; the stricter counts."""
        parts = (wanted.declared,) if own is None else (wanted.declared, own)
        capabilities = wanted.needs() if reads_request else NOTHING_NEEDED
        return cls(
            wanted,
            capabilities.union(*(part.capabilities for part in parts)),
            max((part.min_quality for part in parts if part.min_quality), key=_tier, default=None),
            _least(part.max_cost_nano_usd for part in parts),
            _least(part.max_latency_ms for part in parts),
            tuple(part.region for part in parts if part.region),
            wanted.declared.allow,
            frozenset().union(*(part.deny for part in parts)),
            reads_request,
            wanted.unusual() if reads_request else NOTHING_UNUSUAL,
        )

    def fit(self, model: ModelFacts) -> Option | FellOut:
        """The model with its facts, or why it falls out. That it may be called at all is `unusable_because`'s."""
        unlike = self._unlike(model)
        if unlike is not None:
            return unlike
        output_tokens = self.wanted.output_tokens_of(model)
        if not self.reads_request:
            return self._priced(model, output_tokens)
        too_small = self._too_small(model, output_tokens, self.wanted.input_tokens)
        if too_small is None:
            return self._priced(model, output_tokens)
        packed = self.wanted.packed_tokens() if too_small.hurdle is Hurdle.CONTEXT else 0
        if not packed:
            return too_small
        still = self._too_small(model, output_tokens, self.wanted.input_tokens - packed)
        found = self._priced(model, output_tokens) if still is None else still
        return found if isinstance(found, FellOut) else replace(found, short_of_room=too_small)

    def asks_to_search(self, model: ModelFacts) -> bool:
        """Whether a model that always searches the web is wanted: the request asks chat's way for searches, or the
        caller's list has the model itself on it."""
        own_names = model.listed_as - {f"{model.provider.name}/*".casefold()}
        return bool(self.wanted.extras.untold_searches) or not self._allowed.isdisjoint(own_names)

    def in_words(self) -> dict[str, Any]:
        """What is demanded, for an error's details."""
        found: dict[str, Any] = {
            "capabilities": _told(self.capabilities),
            "min_quality": self.min_quality,
            "max_cost": None if self.max_cost_nano_usd is None else format_usd(self.max_cost_nano_usd),
            "max_latency_ms": self.max_latency_ms,
            "region": ", ".join(self.regions),
            "allow": sorted(self.allow),
            "deny": sorted(self.deny),
            "input_tokens": self.wanted.input_tokens,
            "max_output_tokens": self.wanted.max_output_tokens,
            "kind": self.wanted.kind,
        }
        return {name: value for name, value in found.items() if value}

    def _unlike(self, model: ModelFacts) -> FellOut | None:
        wanted, name = self.wanted, model.name
        if model.kind != wanted.kind:
            return FellOut(name, f"it is a model for {model.kind}, not for {wanted.kind}", Hurdle.KIND)
        if wanted.wire == EMBEDDINGS and not passes_untouched(model, EMBEDDINGS):
            return FellOut(name, f"embeddings of {model.provider.name} cannot be asked for yet", Hurdle.WORDS)
        if wanted.untranslatable and not passes_untouched(model, wanted.wire):
            return FellOut(name, f"{wanted.untranslatable} cannot be said to it", Hurdle.WORDS)
        if self.reads_request and model.retires_at is not None and model.retires_at <= wanted.now:
            return FellOut(name, f"it was retired on {model.retires_at:%Y-%m-%d} UTC", Hurdle.RETIREMENT)
        if not self._denied.isdisjoint(model.listed_as):
            return FellOut(name, "it is on the list of models not to use", Hurdle.LISTS)
        if self._allowed and self._allowed.isdisjoint(model.listed_as):
            return FellOut(name, "it is not on the list of models to use", Hurdle.LISTS)
        lacking = self.capabilities - model.capabilities
        # What some vendors have no word for is known by their dialect, not by the catalog.
        if not lacking.isdisjoint(BESIDE_WORDS):
            lacking -= BESIDE_WORDS - lacks(model)
        if lacking:
            return FellOut(name, f"it lacks {', '.join(_told(lacking))}", Hurdle.CAPABILITIES, len(lacking))
        if self.unusual is not NOTHING_UNUSUAL and (refused := unfit_for(model, self.unusual, wanted.wire)):
            return FellOut(name, f"it does not take {', '.join(refused)}", Hurdle.CAPABILITIES, len(refused))
        if self.min_quality and _tier(model.quality) < _tier(self.min_quality):
            missing = _tier(self.min_quality) - _tier(model.quality)
            told = f"its quality tier is {model.quality}, below {self.min_quality}"
            return FellOut(name, told, Hurdle.QUALITY, missing)
        for region in self.regions:
            if not is_in_region(model.region, region):
                where = f"in {model.region}" if model.region else "in a region nobody has noted"
                return FellOut(name, f"it runs {where}, not in {region}", Hurdle.REGION)
        return None

    def _too_small(self, model: ModelFacts, output_tokens: int, input_tokens: int) -> FellOut | None:
        wanted, name = self.wanted, model.name
        output, longest, context = wanted.max_output_tokens, model.max_output_tokens, model.context_tokens
        per_choice = -(-(output_tokens if output is None else output) // wanted.choices)
        if output is not None and longest is not None and per_choice > longest:
            told = f"it gives at most {longest} output tokens, not {per_choice}"
            return FellOut(name, told, Hurdle.OUTPUT, per_choice - longest)
        if context is None:
            # The context of an embedding model is that of one text out of many.
            return None if model.kind == "embedding" else _unnoted(model, wanted, per_choice, input_tokens)
        too_much = input_tokens + per_choice - context
        if too_much > 0:
            size = f"{input_tokens} input and {per_choice} output tokens"
            return FellOut(name, f"{size} do not fit into its context of {context}", Hurdle.CONTEXT, too_much)
        return None

    def _priced(self, model: ModelFacts, output_tokens: int) -> Option | FellOut:
        wanted, name = self.wanted, model.name
        price, is_estimated = model.price_at(wanted.now), False
        if price is None:
            price = default_price() if wanted.unpriced_models == "default" else None
            is_estimated = True
        if price is None:
            return FellOut(name, "it has no price, so its cost could not be counted", Hurdle.PRICE)
        if wanted.extras.web_searches and self.reads_request and not _searches(wanted, model, price):
            return FellOut(name, "it has no price for web searches", Hurdle.PRICE)
        estimate = _estimate(wanted, model, price, output_tokens)
        most = self.max_cost_nano_usd
        if most is not None and estimate > most:
            told = f"it would cost {format_usd(estimate)} USD, above {format_usd(most)}"
            return FellOut(name, told, Hurdle.COST, estimate - most)
        observed = observed_at(model, wanted.tenant_id)
        if self.max_latency_ms is not None:
            p95_ms = expected_latency_ms(observed, price)
            if p95_ms > self.max_latency_ms:
                told = f"it is expected to take {p95_ms:.0f} ms (p95), above {self.max_latency_ms}"
                return FellOut(name, told, Hurdle.LATENCY, round(p95_ms - self.max_latency_ms))
        return Option(model, price, estimate, observed, is_estimated)


def _unnoted(model: ModelFacts, wanted: Wanted, per_choice: int, input_tokens: int) -> FellOut | None:
    """Why a model falls out whose context nobody has noted; None for a call that is as small as most."""
    too_long = per_choice - UNNOTED_OUTPUT_TOKENS
    if wanted.max_output_tokens is not None and model.max_output_tokens is None and too_long > 0:
        granted = f"{UNNOTED_OUTPUT_TOKENS} output tokens are taken for granted"
        told = f"nobody has noted its longest answer: {granted}, not {per_choice}"
        return FellOut(model.name, told, Hurdle.OUTPUT, too_long)
    too_much = input_tokens + per_choice - UNNOTED_CONTEXT_TOKENS
    if too_much > 0:
        size = f"{input_tokens} input and {per_choice} output tokens"
        told = f"nobody has noted its context: {UNNOTED_CONTEXT_TOKENS} tokens are taken for granted, not {size}"
        return FellOut(model.name, told, Hurdle.CONTEXT, too_much)
    return None


def at_like_lengths(options: Sequence[Option], wanted: Wanted) -> Sequence[Option]:
    """`options` as they compare in price: one whose answers nobody has measured is taken to say as much as the cheapest
    that is measured, and never more than it can. A measured length tells of what was asked at least as much as of the
    model that answered; beside the careful guess for all others it would make a dear model look cheap, for good.
    docs/decisions/0057."""
    for known in wanted.known_lengths if wanted.max_output_tokens is None else ():
        measured = [option for option in options if option.name in known]
        if measured:
            cheapest = min(measured, key=lambda option: (option.estimate_nano_usd, option.name))
            tokens = wanted.output_tokens_of(cheapest.model)
            return [option if option.name in known else _saying(option, tokens, wanted) for option in options]
    return options


def _saying(option: Option, tokens: int, wanted: Wanted) -> Option:
    model, price = option.model, option.price
    if model.max_output_tokens is not None:
        tokens = min(tokens, model.max_output_tokens * wanted.choices)
    return Option(model, price, _estimate(wanted, model, price, tokens), option.observed, option.is_estimated)


def _searches(wanted: Wanted, model: ModelFacts, price: CompiledPrice) -> bool:
    """Whether it can be thought to search the web when it is asked to: what has no price for that would win by it."""
    asked = price_asked(wanted.extras, model, price, wanted.now)
    return asked.rates_for(wanted.input_tokens_at(model)).web_search is not None or always_searches(model)


def _estimate(wanted: Wanted, model: ModelFacts, price: CompiledPrice, output_tokens: int) -> int:
    """What the call would cost at `model`, in nano_usd."""
    asked = price_asked(wanted.extras, model, price, wanted.now)
    return estimate_asked(wanted.extras, asked, wanted.input_tokens_at(model), output_tokens)


def is_in_region(region: str, demanded: str) -> bool:
    """Whether `region` is the demanded one or a part of it: eu-west-1 is in eu. "" is in none."""
    own, asked = region.casefold(), demanded.casefold()
    return own == asked or own.startswith(f"{asked}-")


def _told(capabilities: Iterable[str]) -> list[str]:
    return sorted(_IN_WORDS.get(name, name) for name in capabilities)


def _tier(quality: str | None) -> int:
    return QUALITIES.index(quality) if quality in QUALITIES else QUALITIES.index("standard")


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
