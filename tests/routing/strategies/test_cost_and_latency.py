"""The cheapest, and the fastest: what counts, and how ties break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import InvalidRoute
from routing.performance import Observed
from routing.strategies.base import Option, Ranking
from routing.strategies.cost_optimized import CostOptimized
from routing.strategies.latency_optimized import LatencyOptimized
from tests.routing.strategies.facts import measured, option, task


def names(ranking: Ranking) -> list[str]:
    return [each.option.name for each in ranking.ranked]


def by_latency(*options: Option, given: dict[str, Any] | None = None, **asked: Any) -> Ranking:
    strategy = LatencyOptimized()
    return strategy.rank(options, task(**asked), strategy.settings(given or {}, ()))


def test_the_cheapest_comes_first_and_ties_break_by_name() -> None:
    options = [option("b", 1, 1), option("dear", 5, 5), option("a", 1, 1), option("c", 0.5, 2)]
    for order in (options, options[::-1]):
        assert names(CostOptimized().rank(order, task(), None)) == ["a", "b", "c", "dear"]


@given(st.permutations(["a", "b", "c", "d", "e"]), st.lists(st.integers(1, 3), min_size=5, max_size=5))
def test_the_order_in_which_options_come_changes_nothing(order: list[str], prices: list[int]) -> None:
    priced = dict(zip("abcde", prices, strict=True))
    ranking = CostOptimized().rank([option(name, priced[name], priced[name]) for name in order], task(), None)
    assert names(ranking) == sorted("abcde", key=lambda name: (priced[name], name))


def test_it_takes_no_options_and_says_so() -> None:
    with pytest.raises(InvalidRoute, match="cost-optimized has no option 'target_ms'; it has none of its own"):
        CostOptimized().settings({"target_ms": 5}, ())


def test_the_measured_p95_decides_and_not_the_price() -> None:
    slow, fast = option("slow", 0.1, 0.1, observed=measured(900)), option("fast", 9, 9, observed=measured(300))
    ranking = by_latency(slow, fast)
    assert [(each.option.name, each.score) for each in ranking.ranked] == [("fast", -300), ("slow", -900)]
    assert (ranking.reason, ranking.confidence) == ("expected to answer soonest", 0.9)


def test_failures_count_as_tries() -> None:
    # Half of its calls fail, so it takes two tries on average: 2 x 400 ms.
    shaky, steady = option("shaky", observed=measured(400, error_rate=0.5)), option("steady", observed=measured(700))
    ranking = by_latency(shaky, steady)
    assert [(each.option.name, each.score) for each in ranking.ranked] == [("steady", -700), ("shaky", -800)]


def test_a_model_that_always_fails_is_last_and_not_divided_by_zero() -> None:
    dead = option("dead", observed=Observed(calls=50, error_rate=1.0))
    # Its prior of 500 ms and 100 per USD (3 in all), twenty times.
    assert by_latency(dead).ranked[0].score == -16_000


def test_few_calls_are_mixed_with_the_prior() -> None:
    # 5 of 20 calls: a quarter of 100 ms, three quarters of the prior of 500 + 100 x (1 + 2) ms.
    assert option("new", observed=measured(100, calls=5)).p95_ms == 100 * 0.25 + 800 * 0.75


def test_who_would_come_too_late_falls_out() -> None:
    ranking = by_latency(
        option("late", observed=measured(2001)), option("just", observed=measured(2000)), declared={"timeout_ms": 2000}
    )
    assert names(ranking) == ["just"]
    assert [(each.model, each.reason) for each in ranking.fell_out] == [
        ("late", "it is expected to take 2001 ms (p95), above the timeout of 2000")
    ]


def test_when_all_come_too_late_it_cannot_choose_and_names_the_timeout() -> None:
    ranking = by_latency(option("late", observed=measured(2001)), declared={"timeout_ms": 2000})
    assert ranking.ranked == ()
    assert ranking.reason == "no model is expected to answer within the timeout of 2000 ms"


def test_up_to_the_target_the_price_decides() -> None:
    options = [
        option("fastest", 9, 9, observed=measured(100)),
        option("fine", 1, 1, observed=measured(800)),
        option("slow", 0.1, 0.1, observed=measured(1200)),
    ]
    assert names(by_latency(*options, given={"target_ms": 1000})) == ["fine", "fastest", "slow"]
    ranking = by_latency(*options, given={"target_ms": 50})
    assert names(ranking) == ["fastest", "fine", "slow"]
    assert ranking.reason == "expected to answer soonest, though not within 50 ms"


def test_a_route_says_which_percentile_its_target_and_the_timeout_are_about() -> None:
    usual = Observed(calls=100, p50_ms=400, p95_ms=500, p99_ms=4000)
    steady = Observed(calls=100, p50_ms=700, p95_ms=800, p99_ms=900)
    options = [option("usually-fast", 1, 1, observed=usual), option("steady", 5, 5, observed=steady)]
    assert names(by_latency(*options, given={"target_ms": 1000})) == ["usually-fast", "steady"]
    assert names(by_latency(*options, given={"target_ms": 1000, "percentile": "p99"})) == ["steady", "usually-fast"]
    assert names(by_latency(*options, given={"percentile": "p50"})) == ["usually-fast", "steady"]
    late = by_latency(*options, given={"percentile": "p99"}, declared={"timeout_ms": 1000})
    assert [(each.model, each.reason) for each in late.fell_out] == [
        ("usually-fast", "it is expected to take 4000 ms (p99), above the timeout of 1000")
    ]


def test_what_nobody_has_measured_has_a_prior_for_each_percentile() -> None:
    # 500 + 100 x (1 + 2) ms for the p95, half of it for the p50 and half as much again for the p99.
    new = option("new", 1, 2)
    assert [new.latency_ms(each) for each in ("p50", "p95", "p99")] == [400, 800, 1200]
    # 5 of 20 calls: a quarter of what was measured.
    begun = option("begun", 1, 2, observed=Observed(calls=5, p50_ms=10, p95_ms=20, p99_ms=100))
    assert begun.latency_ms("p99") == 100 * 0.25 + 1200 * 0.75


@pytest.mark.parametrize("wrong", ["p90", "99", 99, "", True])
def test_a_percentile_is_one_of_three(wrong: Any) -> None:
    with pytest.raises(InvalidRoute, match="percentile must be"):
        LatencyOptimized().settings({"percentile": wrong}, ())


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "1000", True, 3_600_001])
def test_a_target_is_a_whole_number_of_milliseconds(wrong: Any) -> None:
    with pytest.raises(InvalidRoute) as refused:
        LatencyOptimized().settings({"target_ms": wrong}, ())
    assert refused.value.message == (
        f"latency-optimized: target_ms must be a whole number from 1 to 3600000, not '{wrong}'"
    )
