"""Ties break the same way in every strategy that scores, in whatever order the options come: the cheaper one, then the name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.strategies.base import Option
from routing.strategies.registry import STRATEGIES
from tests.routing.strategies.facts import measured, option, task

# Alike to every strategy but the one that goes by what the call costs: 2.5, 3 and 3.5 thousandths of a USD for 1000 and
# 500 tokens, by the same mean of both prices.
PRICES = ((1, 3), (2, 2), (3, 1))
# What the options are that are equally good, and what the one is that is better than they by far.
GOOD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "latency-optimized": ({"observed": measured(400)}, {"observed": measured(100)}),
    "capability-based": ({}, {"observed": measured(400, quality=5.0, scores=50)}),
    "budget-aware": ({}, {"quality": "premium"}),
    "judgment-based": (
        {"quality": "premium", "observed": measured(400, quality=3.0, scores=50)},
        {"quality": "premium", "observed": measured(400, quality=5.0, scores=50)},
    ),
}
OPTIONS = {"judgment-based": {"confidence_threshold": 1}}


def ranked(name: str, options: list[Option]) -> list[str]:
    strategy = STRATEGIES[name]
    ranking = strategy.rank(options, task(), strategy.settings(OPTIONS.get(name, {}), ()))
    return [each.option.name for each in ranking.ranked]


@pytest.mark.parametrize("has_better", [False, True], ids=["best ones", "others"])
@pytest.mark.parametrize("name", GOOD)
@given(order=st.permutations("abcde"), places=st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_of_equally_good_ones_the_cheaper_comes_first_then_the_name(
    name: str, has_better: bool, order: list[str], places: list[int]
) -> None:
    place_of = dict(zip("abcde", places, strict=True))
    good, better = GOOD[name]
    options = [option(each, *PRICES[place_of[each]], **good) for each in order]
    if has_better:
        options.append(option("z", 3, 1, **better))
    expected = sorted("abcde", key=lambda each: (place_of[each], each))
    assert ranked(name, options) == (["z", *expected] if has_better else expected)


# What one is that is a little better than the other, and the options by which that counts for nothing.
NEARLY_AS_GOOD: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "latency-optimized": ({"observed": measured(400)}, {"observed": measured(300)}, {"target_ms": 400}),
    "capability-based": (
        {"observed": measured(400, quality=3.0, scores=50)}, {"observed": measured(400, quality=3.1, scores=50)}, {},
    ),
    "judgment-based": (
        {"quality": "premium", "observed": measured(400, quality=4.0, scores=50)},
        {"quality": "premium", "observed": measured(400, quality=4.4, scores=50)},
        {"confidence_threshold": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEARLY_AS_GOOD)
@pytest.mark.parametrize("order", [1, -1])
def test_nearly_as_good_is_as_good_so_the_cheaper_comes_first_then_the_name(name: str, order: int) -> None:
    good, better, settings = NEARLY_AS_GOOD[name]
    strategy = STRATEGIES[name]
    options = [option("c", 1, 3, **good), option("a", 2, 2, **good), option("b", 2, 2, **better)]
    ranking = strategy.rank(options[::order], task(), strategy.settings(settings, ()))
    assert [each.option.name for each in ranking.ranked] == ["c", "a", "b"]


@given(order=st.permutations("abcde"), places=st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_of_workhorses_that_stand_in_for_judges_the_dearer_comes_first_then_the_name(
    order: list[str], places: list[int]
) -> None:
    place_of = dict(zip("abcde", places, strict=True))
    options = [option(each, *PRICES[place_of[each]]) for each in order]
    assert ranked("judgment-based", options) == sorted("abcde", key=lambda each: (-place_of[each], each))
