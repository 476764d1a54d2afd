"""How models have done lately: latency, failures and quality, kept in this process and set from outside.

Whoever records calls hands the figures in (`set_observed`); strategies look them up (`observed_at`). A model
that was never measured has stated priors, never zero. docs/routing.md, "What is known of a model".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from routing.model_facts import ModelFacts
from routing.pricing import CompiledPrice
from spendhub.errors import Invalid
from spendhub.money import NANO_PER_USD

# Below this many calls a figure is mixed with its prior, in proportion.
ENOUGH_CALLS = 20
PRIOR_QUALITY = {"economy": 2.5, "standard": 3.5, "premium": 4.5}
PRIOR_P95_BASE_MS = 500.0
PRIOR_P95_MS_PER_USD = 100.0  # per USD of input and output price per million tokens: dearer models are larger
PRIOR_P95_MOST_MS = 3_000.0
# What else may be looked at, as a share of the prior for the p95.
PRIOR_OF_P95 = {"p50": 0.5, "p95": 1.0, "p99": 1.5}
PERCENTILES, USUAL_PERCENTILE = tuple(PRIOR_OF_P95), "p95"
# A model that always fails counts as this many times as slow, not as infinitely slow.
MOST_TRIES = 20.0
BEST_QUALITY = 5.0


@dataclass(frozen=True, slots=True)
class QualityScore:
    """What a judge or a person thought of an answer: 0 (useless) to 5 (perfect), None where not said.

    Raises Invalid for anything else. `overall` is the mean of the others where it is not said itself.
    """

    overall: float | None = None
    relevance: float | None = None
    correctness: float | None = None
    completeness: float | None = None
    clarity: float | None = None

    def __post_init__(self) -> None:
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in said.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 <= value <= BEST_QUALITY):
                raise Invalid(f"{name}: {str(value)[:40]} is no score between 0 and 5", field=name)
        parts = [value for name, value in said.items() if name != "overall" and value is not None]
        if self.overall is None and parts:
            object.__setattr__(self, "overall", sum(parts) / len(parts))


@dataclass(frozen=True, slots=True)
class Observed:
    """Facts about one model's recent calls. `calls` counts failures too; latencies are those of successes.

    `quality` is what was thought of `scores` answers; `quality_lost` the share of it, 0 to 1, that goes off for the
    faults of the `looked_at` answers whose endings were seen."""

    calls: int = 0
    error_rate: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    quality: float | None = None
    scores: int = 0
    quality_lost: float = 0.0
    looked_at: int = 0

    def filled_from(self, others: Observed) -> Observed:
        """These facts, with those of `others` where they say nothing: of calls, of scores and of faults, each apart."""
        filled = self
        if not self.calls:
            filled = replace(
                filled, calls=others.calls, error_rate=others.error_rate,
                p50_ms=others.p50_ms, p95_ms=others.p95_ms, p99_ms=others.p99_ms,
            )  # fmt: skip
        if not self.scores:
            filled = replace(filled, quality=others.quality, scores=others.scores)
        if not self.looked_at:
            filled = replace(filled, quality_lost=others.quality_lost, looked_at=others.looked_at)
        return filled


UNMEASURED = Observed()
_observed: dict[int | None, dict[str, Observed]] = {}


def set_observed(facts: Mapping[str, Observed], tenant_id: int | None = None) -> None:
    """Replaces what is known: of one tenant's calls, or (None) of everybody's. Keys are catalog names."""
    _observed[tenant_id] = dict(facts)


def observed_of(model_name: str, tenant_id: int | None = None) -> Observed:
    """What is known under a model's name: from the tenant's own calls where there are any, else from everybody's."""
    own = _observed.get(tenant_id)
    if own is not None and model_name in own:
        return own[model_name]
    shared = _observed.get(None)
    return UNMEASURED if shared is None else shared.get(model_name, UNMEASURED)


def observed_at(model: ModelFacts, tenant_id: int | None) -> Observed:
    """What is known of `model`, as the tenant sees it: from its own calls where there are any, else from everybody's.
    Never everybody's of a tenant's own model, whose name another one may use too."""
    own = _observed.get(tenant_id)
    if own is not None and model.name in own:
        return own[model.name]
    return UNMEASURED if model.owner_id is not None else observed_of(model.name)


def forget_observed() -> None:
    """Drops everything that was set. For tests."""
    _observed.clear()


def summarize(
    latencies_ms: Sequence[float],
    failures: int = 0,
    qualities: Sequence[float] = (),
    weights: Sequence[float] = (),
    quality_lost: float = 0.0,
    looked_at: int = 0,
) -> Observed:
    """The facts of some calls: how long each success took, how many failed, and the scores that were given.

    `weights` say how much each score counts, above 0 (all the same where they are left out)."""
    calls = len(latencies_ms) + failures
    ordered = sorted(latencies_ms)
    return Observed(
        calls=calls,
        error_rate=failures / calls if calls else 0.0,
        p50_ms=percentile(ordered, 50),
        p95_ms=percentile(ordered, 95),
        p99_ms=percentile(ordered, 99),
        quality=weighted_mean(qualities, weights or [1.0] * len(qualities)) if qualities else None,
        scores=len(qualities),
        quality_lost=quality_lost,
        looked_at=looked_at,
    )


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of values that count differently; there is one at least, and each weight is above 0."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of the ascending values lie, interpolated between neighbours; None of nothing."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def expected_latency_ms(observed: Observed, price: CompiledPrice, percentile: str = USUAL_PERCENTILE) -> float:
    """What so many of a hundred calls do not exceed, one of PERCENTILES: as measured; before `ENOUGH_CALLS`, mixed with
    the prior."""
    prior = prior_p95_ms(price) * PRIOR_OF_P95[percentile]
    measured: float | None = getattr(observed, f"{percentile}_ms")
    if measured is None:
        return prior
    weight = min(observed.calls / ENOUGH_CALLS, 1.0)
    return measured * weight + prior * (1 - weight)


def prior_p95_ms(price: CompiledPrice) -> float:
    """What is assumed of a model nobody has measured: 500 ms, and 100 ms per USD of price, at most 3 s."""
    rates = price.rates_for(0)
    dollars = (rates.input + rates.output) / NANO_PER_USD
    return min(PRIOR_P95_BASE_MS + PRIOR_P95_MS_PER_USD * dollars, PRIOR_P95_MOST_MS)


def expected_tries(observed: Observed) -> float:
    """How often a call must be tried until it succeeds, 1 to `MOST_TRIES`."""
    failing = observed.error_rate * min(observed.calls / ENOUGH_CALLS, 1.0)
    return min(1 / (1 - failing), MOST_TRIES) if failing < 1 else MOST_TRIES


def expected_quality(observed: Observed, model: ModelFacts) -> float:
    """0 to 5: the mean of its scores (before `ENOUGH_CALLS` of them, mixed with its quality tier's prior), less the
    share that is lost for faults (before `ENOUGH_CALLS` looked at, in proportion)."""
    quality = PRIOR_QUALITY.get(model.quality, PRIOR_QUALITY["standard"])
    if observed.quality is not None:
        weight = min(observed.scores / ENOUGH_CALLS, 1.0)
        quality = observed.quality * weight + quality * (1 - weight)
    return quality * (1 - observed.quality_lost * min(observed.looked_at / ENOUGH_CALLS, 1.0))
