"""Money left, shares of an experiment, and one model alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.errors import InvalidRoute
from routing.strategies.base import Ranking
from routing.strategies.budget_aware import BudgetAware
from routing.strategies.pinned import Pinned
from routing.strategies.significance import Arm, Measured, compare, compare_means
from routing.strategies.weighted import Weighted, draw, place_of
from spendhub.errors import Invalid
from tests.routing.strategies.facts import option, task

TIERS = ("economy", "standard", "premium")


def names(ranking: Ranking) -> list[str]:
    return [each.option.name for each in ranking.ranked]


def by_budget(options: Any, left: Any, **given: Any) -> Ranking:
    strategy = BudgetAware()
    return strategy.rank(options, task(budget_share_left=left), strategy.settings(given, ()))


def test_with_less_left_cheaper_models_are_chosen() -> None:
    options = [
        option("small", 0.1, 0.1, quality="economy"),
        option("middle", 1, 1, quality="standard"),
        option("large", 4, 4, quality="premium"),
    ]
    chosen = [names(by_budget(options, left))[0] for left in (None, 1.0, 0.5, 0.35, 0.3, 0.1, 0.0)]
    assert chosen == ["large", "large", "large", "middle", "small", "small", "small"]
    assert by_budget(options, 0.3).reason == "30% of the tightest budget is left: quality counts 50%, the price 50%"


@given(
    st.lists(st.tuples(st.integers(1, 90), st.sampled_from(TIERS)), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_with_less_left_the_choice_is_never_dearer(models: list[tuple[int, str]], one: float, other: float) -> None:
    options = [option(f"m{number}", usd, usd, quality=tier) for number, (usd, tier) in enumerate(models)]
    less, more = (by_budget(options, left).ranked[0].option for left in sorted((one, other)))
    assert less.estimate_nano_usd <= more.estimate_nano_usd


def test_what_is_left_may_be_asked_when_it_is_needed() -> None:
    assert by_budget([option("a")], lambda: 0.25).facts == {"budget_share_left": 0.25}


def test_tight_is_below_comfortable() -> None:
    with pytest.raises(InvalidRoute) as refused:
        BudgetAware().settings({"tight": 0.5, "comfortable": 0.5}, ())
    assert refused.value.message == "budget-aware: tight (0.5) must be below comfortable (0.5)"


def shared_out(
    split: dict[str, float], able: str = "abc", options: dict[str, Any] | None = None, **asked: Any
) -> Ranking:
    strategy = Weighted()
    settings = strategy.settings({"split": split, **(options or {})}, ())
    return strategy.rank([option(name) for name in able], task(**asked), settings)


def test_the_same_session_draws_the_same_model_each_time() -> None:
    split = {"a": 0.5, "b": 0.5}
    drawn = {user: names(shared_out(split, attribution={"user": user}))[0] for user in map(str, range(50))}
    assert set(drawn.values()) == {"a", "b"}
    for user, model in drawn.items():
        assert names(shared_out(split, able="ba", attribution={"user": user, "task": "other"}))[0] == model


def test_session_counts_before_user_and_the_route_may_say_otherwise() -> None:
    split = {"a": 0.5, "b": 0.5}
    who = {"session": "s", "user": "u"}
    assert shared_out(split, attribution=who).reason == "drawn by session s"
    assert shared_out(split, options={"sticky_by": ["user"]}, attribution=who).reason == "drawn by user u"
    assert shared_out(split).reason == "drawn by chance, for nobody was named"


def test_each_model_gets_its_share() -> None:
    split = {"a": 0.7, "b": 0.2, "c": 0.1}
    drawn = Counter(draw(split, place_of("salt", str(unit))) for unit in range(10_000))
    # Fixed by the hash; within three standard deviations (46, 40, 30) of 7,000, 2,000 and 1,000.
    assert {name: round(count / 10_000, 1) for name, count in drawn.items()} == split


def test_two_experiments_do_not_draw_alike() -> None:
    split = {"a": 0.5, "b": 0.5}
    both = Counter(
        (draw(split, place_of("one", str(unit))), draw(split, place_of("two", str(unit)))) for unit in range(4_000)
    )
    assert all(900 < count < 1_100 for count in both.values())
    assert len(both) == 4


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1), min_size=1), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_always_one_of_the_split(split: dict[str, float], place: float) -> None:
    assert draw(split, place) in split


def test_who_drew_a_model_that_cannot_draws_again_and_nobody_else_moves() -> None:
    split = {"a": 0.4, "b": 0.3, "c": 0.3}
    users = list(map(str, range(200)))
    before = {user: names(shared_out(split, attribution={"user": user}))[0] for user in users}
    after = {user: names(shared_out(split, able="ab", attribution={"user": user}))[0] for user in users}
    assert {user for user in users if before[user] != after[user]} == {user for user in users if before[user] == "c"}
    assert {after[user] for user in users if before[user] == "c"} == {"a", "b"}


def test_of_a_second_draw_it_is_told_who_was_drawn_first() -> None:
    user = next(
        each
        for each in map(str, range(200))
        if names(shared_out({"a": 0.5, "b": 0.5}, attribution={"user": each}))[0] == "b"
    )
    second = shared_out({"a": 0.5, "b": 0.5}, able="a", attribution={"user": user})
    assert second.reason == f"drawn by user {user}; b was drawn first, and cannot do it"
    by_chance = shared_out({"a": 1e-9, "b": 1.0}, able="a")
    assert by_chance.reason == "drawn by chance, for nobody was named; b was drawn first, and cannot do it"


def test_models_outside_the_split_get_nothing_and_an_empty_split_cannot_choose() -> None:
    assert names(shared_out({"a": 1.0}, able="abz")) == ["a"]
    ranking = shared_out({"a": 1.0}, able="z")
    assert (ranking.ranked, ranking.reason) == ((), "none of the models that calls are shared out among can do it")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, 'weighted needs a split such as {"gpt-5": 0.9, "gpt-5-mini": 0.1}'),
        ({"split": {"a": 0.5, "b": 0.52}}, "Traffic split must sum to 1.0, got 1.02"),
        ({"split": {"a": 0}}, "weighted: split.a must be a share above 0, up to 1, not '0'"),
        ({"split": {"a": 1.0}, "sticky_by": ["mood"]}, "weighted: sticky_by must be of org, user, agent, feature, session, task, not 'mood'"),
        ({"split": {"z": 1.0}}, "weighted: split: 'z' is no candidate of the route"),
    ],
)  # fmt: skip
def test_a_split_is_checked(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRoute) as refused:
        Weighted().settings(given, ("a", "b"))
    assert refused.value.message == told


def test_pinned_is_one_model_or_none() -> None:
    strategy = Pinned()
    assert strategy.settings({}, ("a", "b")) == "a"
    ranking = strategy.rank([option("a"), option("b")], task(), strategy.settings({"model": "b"}, ("a", "b")))
    assert (names(ranking), ranking.reason) == (["b"], "pinned to b")
    assert [(each.model, each.reason) for each in ranking.fell_out] == [("a", "the route is pinned to b")]
    ranking = strategy.rank([option("a")], task(), "b")
    assert (ranking.ranked, ranking.reason) == ((), "b, to which the route is pinned, cannot do it")
    with pytest.raises(InvalidRoute, match="pinned needs a model"):
        strategy.settings({}, ())


def test_significance_is_a_two_proportion_z_test() -> None:
    # Pooled 0.55; sqrt(0.55 x 0.45 x 2/200) = 0.04975; 0.1 / 0.04975 = 2.0101.
    found = compare(Arm("old", 200, 100), Arm("new", 200, 120))
    assert found.z == pytest.approx(2.01008, abs=1e-5)
    assert found.p_value == pytest.approx(0.04442, abs=1e-5)
    assert found.is_significant
    assert found.note == "new is better: chance alone shows this in 4.4% (new 60.0%, old 50.0%)."


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ((100, 50), (100, 52), "No difference to speak of: chance alone shows one like it in 78% of such experiments (b 52.0%, a 50.0%)."),
        ((10, 2), (10, 9), "Too early to say: each needs at least 5 successes and 5 failures (b 90.0%, a 20.0%)."),
        ((0, 0), (10, 9), "Too early to say: one of them has had no calls."),
        ((1000, 900), (1000, 700), "a is better: chance alone shows this in less than 0.1% (a 90.0%, b 70.0%)."),
        ((10, 10), (10, 10), "Too early to say: each needs at least 5 successes and 5 failures (a 100.0%, b 100.0%)."),
    ],
)  # fmt: skip
def test_the_note_says_it_in_plain_words(first: tuple[int, int], second: tuple[int, int], note: str) -> None:
    assert compare(Arm("a", *first), Arm("b", *second)).note == note


def test_more_successes_than_calls_cannot_be() -> None:
    with pytest.raises(Invalid, match="a: 3 successes of 2 calls cannot be"):
        compare(Arm("a", 2, 3), Arm("b", 1, 1))


def test_means_are_compared_by_welch() -> None:
    # Spreads 4 / 100 and 9 / 225 sum to 0.08; 0.6 / 0.28284 = 2.1213; two-sided p of that is 0.03389.
    found = compare_means(Measured("old", 100, 3.0, 4.0), Measured("new", 225, 3.6, 9.0))
    assert found.z == pytest.approx(2.12132, abs=1e-5)
    assert found.p_value == pytest.approx(0.03389, abs=1e-5)
    assert (found.better, found.note) == (
        "new", "new is better: chance alone shows this in 3.4% (new 3.60, old 3.00).",
    )  # fmt: skip
    # (1.95996 + 0.84162)^2 x (4 + 9) / 0.36 = 283.4
    assert found.needed == 284


def test_a_sample_has_the_mean_and_the_variance_of_its_values() -> None:
    assert Measured.of("a", [2.0, 4.0, 6.0]) == Measured("a", 3, 4.0, 4.0)
    assert Measured.of("a", [2.0]) == Measured("a", 1, 2.0, 0.0)
    assert Measured.of("a", []) == Measured("a", 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "note", "needed"),
    [
        ((29, 3.0, 1.0), (900, 4.0, 1.0), "Too early to say: each needs at least 30 ratings (b 4.00, a 3.00).", 30),
        ((0, 0.0, 0.0), (9, 4.0, 1.0), "Too early to say: one of them has not been rated.", None),
        ((40, 3.0, 0.0), (40, 3.0, 0.0), "No difference to speak of: chance alone shows one like it in 100% of such experiments (a 3.00, b 3.00).", None),
        ((40, 5.0, 0.0), (40, 4.0, 0.0), "a is better: chance alone shows this in less than 0.1% (a 5.00, b 4.00).", 1),
    ],
)  # fmt: skip
def test_what_ratings_prove_is_said_in_plain_words(
    first: tuple[int, float, float], second: tuple[int, float, float], note: str, needed: int | None
) -> None:
    found = compare_means(Measured("a", *first), Measured("b", *second))
    assert (found.note, found.needed) == (note, needed)


def test_how_many_are_needed_is_told_and_grows_with_the_rarity_of_failures() -> None:
    # (1.95996 + 0.84162)^2 x (0.25 + 0.2496) / 0.02^2 = 9,803.1
    assert compare(Arm("a", 100, 50), Arm("b", 100, 52)).needed == 9_804
    # One failure in 200 calls: five of them want a thousand.
    assert compare(Arm("a", 100, 100), Arm("b", 100, 99)).needed == 1_000
    assert compare(Arm("a", 100, 100), Arm("b", 100, 100)).needed is None


def test_several_comparisons_ask_for_more() -> None:
    arms = (Arm("old", 200, 100), Arm("new", 200, 120))
    assert compare(*arms).better == "new"
    assert compare(*arms, significant_below=0.025).better is None


@settings(max_examples=100)
@given(st.lists(st.floats(0, 5), max_size=60), st.lists(st.floats(0, 5), max_size=60))
def test_swapping_the_arms_changes_the_sign_and_nothing_else(first: list[float], second: list[float]) -> None:
    one, other = Measured.of("a", first), Measured.of("b", second)
    there, back = compare_means(one, other), compare_means(other, one)
    assert (there.p_value, there.is_significant, there.better, there.needed) == (
        back.p_value, back.is_significant, back.better, back.needed,
    )  # fmt: skip
    assert there.z == -back.z
