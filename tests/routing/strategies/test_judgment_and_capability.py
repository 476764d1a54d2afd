"""Workhorses and judges by complexity; preferred models by points."""

from __future__ import annotations

from typing import Any

import pytest

from routing.errors import InvalidRoute
from routing.strategies.base import Option, Ranking
from routing.strategies.capability_based import CapabilityBased
from routing.strategies.judgment_based import JudgmentBased, complexity
from tests.routing.strategies.facts import measured, option, task

HARD = "Analyze step by step why this design fails, and compare it:\n1. cost\n2. speed\n```def f(): return 2 + 2```"


def names(ranking: Ranking) -> list[str]:
    return [each.option.name for each in ranking.ranked]


def judged(*options: Option, given: dict[str, Any] | None = None, text: str = "hello", **declared: Any) -> Ranking:
    strategy = JudgmentBased()
    return strategy.rank(options, task(text=text, declared=declared), strategy.settings(given or {}, ()))


def workhorse(name: str = "worker", *prices: float) -> Option:
    return option(name, *(prices or (0.1, 0.2)), quality="economy")


def judge(name: str = "judge", *prices: float) -> Option:
    return option(name, *(prices or (5, 15)), quality="premium")


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0.0),
        ("hello", 5 / 9000),
        ("x" * 3000, 1 / 3),
        ("x" * 100_000, 1 / 3),
        ("prove", (5 / 3000 + 1 / 3) / 3),
        (HARD, (len(HARD) / 3000 + 1 + 1) / 3),
    ],
)
def test_complexity_is_the_mean_of_length_thought_and_structure(text: str, score: float) -> None:
    assert complexity(text) == pytest.approx(score)


def test_a_plain_question_goes_to_a_workhorse_and_a_hard_one_to_a_judge() -> None:
    plain, hard = judged(workhorse(), judge()), judged(workhorse(), judge(), text=HARD)
    assert (names(plain), names(hard)) == (["worker", "judge"], ["judge", "worker"])
    assert (plain.facts["is_escalated"], hard.facts["is_escalated"]) == (False, True)
    assert plain.reason == "complexity 0.00 for a standard user is below 0.30: a workhorse"


@pytest.mark.parametrize(("tier", "chosen"), [("free", "worker"), ("standard", "worker"), ("premium", "judge")])
def test_premium_users_are_given_a_judge_first(tier: str, chosen: str) -> None:
    assert names(judged(workhorse(), judge(), text="x" * 2000, user_tier=tier))[0] == chosen


@pytest.mark.parametrize(("threshold", "chosen"), [(1.0, "judge"), (0.0, "worker")])
def test_the_callers_threshold_counts_before_the_routes(threshold: float, chosen: str) -> None:
    ranking = judged(
        workhorse(), judge(), given={"confidence_threshold": 1 - threshold}, confidence_threshold=threshold
    )
    assert names(ranking)[0] == chosen


def test_nearly_equal_judges_are_told_apart_by_price_and_better_ones_by_quality() -> None:
    cheap, dear = judge("cheap", 10, 30), judge("dear", 15, 75)
    assert names(judged(cheap, dear, confidence_threshold=1.0)) == ["cheap", "dear"]
    praised = option("praised", 15, 75, quality="premium", observed=measured(900, quality=5.0, scores=50))
    doubted = option("doubted", 10, 30, quality="premium", observed=measured(900, quality=4.0, scores=50))
    assert names(judged(doubted, praised, confidence_threshold=1.0)) == ["praised", "doubted"]


def test_named_pools_are_all_there_is() -> None:
    ranking = judged(workhorse("a"), judge("b"), judge("c"), given={"workhorses": ["a"], "judges": ["b"]})
    assert names(ranking) == ["a", "b"]
    assert [(each.model, each.reason) for each in ranking.fell_out] == [("c", "it is in neither pool of the route")]


def test_a_named_pool_that_cannot_is_an_error_and_a_class_that_is_empty_is_told() -> None:
    ranking = judged(workhorse("a"), given={"judges": ["gone"]}, confidence_threshold=1.0)
    assert (ranking.ranked, ranking.reason) == (
        (),
        "none of the route's judges can do it (complexity 0.00 for a standard user)",
    )
    ranking = judged(workhorse("a"), confidence_threshold=1.0)
    assert names(ranking) == ["a"]
    assert ranking.reason == "no judge can do it, so a workhorse does (complexity 0.00 for a standard user)"


@pytest.mark.parametrize("given", [{}, {"workhorses": ["tiny", "big"]}], ids=["by class", "named"])
def test_where_a_judge_is_wanted_and_there_is_none_the_best_of_the_others_answers(given: dict[str, Any]) -> None:
    tiny, big = option("tiny", 0.04, 0.04, quality="economy"), option("big", 2, 6)
    ranking = judged(tiny, big, given=given, confidence_threshold=1.0)
    assert [(each.option.name, each.score) for each in ranking.ranked] == [("big", 3.5), ("tiny", 2.5)]
    assert ranking.reason == "no judge can do it, so a workhorse does (complexity 0.00 for a standard user)"
    # What is measured counts before the tier.
    praised = option("tiny", 0.04, 0.04, quality="economy", observed=measured(900, quality=4.5, scores=50))
    assert names(judged(praised, big, given=given, confidence_threshold=1.0)) == ["tiny", "big"]
    assert names(judged(tiny, big, given=given)) == ["tiny", "big"]  # a plain question is still the cheapest's


def test_of_those_nearly_as_good_that_stand_in_for_a_judge_the_dearest_comes_first_then_the_name() -> None:
    # One tier spans a model and one at ten times its price, and nothing else tells them apart.
    options = [option("small", 0.3, 1), option("b", 2, 6), option("a", 2, 6), workhorse("economy")]
    for order in (options, options[::-1]):
        assert names(judged(*order, confidence_threshold=1.0)) == ["a", "b", "small", "economy"]


def test_a_workhorse_that_stands_in_for_a_judge_is_reviewed_as_well() -> None:
    given = {"workhorses": ["tiny", "big"], "reviewers": ["r"]}
    tiny, big = option("tiny", 0.04, 0.04, quality="economy"), option("big", 2, 6)
    ranking = judged(tiny, big, given=given, confidence_threshold=1.0)
    assert names(ranking)[0] == "big"
    assert ranking.review is not None


def test_a_model_is_in_one_pool_only() -> None:
    with pytest.raises(InvalidRoute, match="judges must not be workhorses as well, not 'a'"):
        JudgmentBased().settings({"workhorses": ["a"], "judges": ["a"]}, ())


def scored(*options: Option, given: dict[str, Any] | None = None, capabilities: tuple[str, ...] = ()) -> Ranking:
    strategy = CapabilityBased()
    return strategy.rank(options, task(capabilities), strategy.settings(given or {}, ()))


def test_points_are_for_being_able_and_preferred_less_the_price() -> None:
    ranking = scored(
        option("plain", 1, 3), option("liked", 10, 30), given={"preferred": {"code": "liked"}}, capabilities=("code",)
    )
    # 40 + 15 - 0.1 x 20, and 40 - 0.1 x 2.
    assert [(each.option.name, each.score) for each in ranking.ranked] == [
        ("liked", 53.0),
        ("plain", pytest.approx(39.8)),
    ]


def test_measured_quality_counts_and_the_tiers_prior_does_not() -> None:
    praised = option("praised", 1, 3, observed=measured(500, quality=5.0, scores=20))
    ranking = scored(option("premium", 1, 3, quality="premium"), praised)
    assert [(each.option.name, each.score) for each in ranking.ranked] == [("praised", pytest.approx(47.8)), ("premium", pytest.approx(39.8))]  # fmt: skip


def test_near_ties_go_to_the_cheaper_one() -> None:
    options = [option("a", 1, 4, observed=measured(9, quality=3.1, scores=20)), option("b", 1, 1)]
    assert names(scored(*options)) == ["b", "a"]  # 40.15 and 39.9 points
    assert names(scored(*options, given={"near_tie": 0})) == ["a", "b"]


def test_default_models_are_preferred_where_nothing_is_asked_for() -> None:
    options = [option("a"), option("b")]
    assert names(scored(*options, given={"default_models": ["b"]})) == ["b", "a"]
    assert names(scored(*options, given={"default_models": ["b"]}, capabilities=("code",))) == ["a", "b"]


def test_a_preference_is_for_a_capability_that_exists() -> None:
    with pytest.raises(InvalidRoute, match="capability-based: preferred: 'coding' is none of tools, vision, json"):
        CapabilityBased().settings({"preferred": {"coding": ["a"]}}, ())
