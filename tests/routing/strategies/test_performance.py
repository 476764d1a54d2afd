"""What is known of models: percentiles, priors, scores, and whose calls count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.performance import (
    UNMEASURED,
    Observed,
    QualityScore,
    forget_observed,
    observed_at,
    observed_of,
    percentile,
    set_observed,
    summarize,
)
from spendhub.errors import Invalid
from tests.routing.facts import model_facts
from tests.routing.strategies.facts import measured, option


@pytest.fixture(autouse=True)
def nothing_observed() -> Iterator[None]:
    forget_observed()
    yield
    forget_observed()


def test_a_summary_counts_calls_failures_and_scores() -> None:
    found = summarize([300.0, 100.0, 200.0], failures=1, qualities=[4.0, 5.0])
    assert found == Observed(calls=4, error_rate=0.25, p50_ms=200.0, p95_ms=290.0, p99_ms=298.0, quality=4.5, scores=2)
    assert summarize([]) == UNMEASURED


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100), st.floats(0, 100))
def test_percentiles_lie_within_and_grow(values: list[float], one: float, other: float) -> None:
    ordered = sorted(values)
    low, high = (percentile(ordered, percent) for percent in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert ordered[0] <= low <= high + 1e-6 <= ordered[-1] + 2e-6


def test_ones_own_calls_count_before_everybodys() -> None:
    set_observed({"a": measured(100), "b": measured(200)})
    set_observed({"a": measured(900)}, tenant_id=7)
    assert (observed_of("a", 7).p95_ms, observed_of("b", 7).p95_ms, observed_of("a", 8).p95_ms) == (900, 200, 100)
    assert observed_of("c", 7) == UNMEASURED
    set_observed({})
    assert observed_of("b", 7) == UNMEASURED


def test_everybodys_figures_are_none_of_a_tenants_own_model() -> None:
    set_observed({"a": measured(100), "b": measured(200)})
    set_observed({"b": measured(900)}, tenant_id=7)
    shared, own, own_known = model_facts("a"), model_facts("a", tenant_id=7), model_facts("b", tenant_id=7)
    own_provider = replace(shared, provider=replace(shared.provider, tenant_id=7))
    assert observed_at(shared, 7).p95_ms == observed_at(shared, None).p95_ms == 100
    assert observed_at(own, 7) == observed_at(own_provider, 7) == UNMEASURED
    assert observed_at(own_known, 7).p95_ms == 900


@pytest.mark.parametrize(
    ("usd", "prior_ms"), [((0, 0), 500.0), ((0.3, 0.6), 590.0), ((1, 2), 800.0), ((10, 30), 3000.0)]
)
def test_an_unmeasured_model_has_a_prior_by_its_price_and_never_zero(usd: tuple[float, float], prior_ms: float) -> None:
    assert option("new", *usd).p95_ms == pytest.approx(prior_ms)


@pytest.mark.parametrize(("tier", "prior"), [("economy", 2.5), ("standard", 3.5), ("premium", 4.5)])
def test_quality_has_a_prior_by_tier_and_few_scores_are_mixed_with_it(tier: str, prior: float) -> None:
    assert option("m", quality=tier).quality == prior
    few = option("m", quality=tier, observed=Observed(quality=1.0, scores=10))
    assert few.quality == pytest.approx(0.5 * 1.0 + 0.5 * prior)
    assert option("m", quality=tier, observed=Observed(quality=1.0, scores=20)).quality == 1.0


def test_overall_is_the_mean_of_the_parts_unless_it_is_said() -> None:
    assert QualityScore(relevance=4, clarity=5).overall == 4.5
    assert QualityScore(overall=1, relevance=5).overall == 1
    assert QualityScore().overall is None


@pytest.mark.parametrize("wrong", [-0.1, 5.1, float("nan"), "4", True])
def test_a_score_is_from_0_to_5(wrong: Any) -> None:
    with pytest.raises(Invalid, match="is no score between 0 and 5"):
        QualityScore(relevance=wrong)


def test_faults_take_their_share_off_quality_once_enough_answers_are_looked_at() -> None:
    def quality(**facts: Any) -> float:
        return option("a", observed=measured(100, **facts), quality="premium").quality

    # Nobody has rated it, so the tier's 4.5 is what faults go off from; without any it stays what it is taken for.
    assert quality(quality_lost=0.0, looked_at=1_000) == 4.5
    assert quality(quality_lost=0.2, looked_at=20) == pytest.approx(3.6)
    assert quality(quality_lost=0.2, looked_at=10) == pytest.approx(4.05)
    assert quality(quality=3.0, scores=20, quality_lost=0.2, looked_at=20) == pytest.approx(2.4)


def test_scores_count_by_their_weights() -> None:
    assert summarize([], qualities=[1.0, 4.0], weights=[2.0, 1.0]).quality == 2.0
