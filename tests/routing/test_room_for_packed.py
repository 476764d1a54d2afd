"""Which models are chosen for a request that brings documents, sounds and films packed, and what it is taken to cost."""

from __future__ import annotations

from typing import Any

import pytest

from routing.dry_run import dry_run
from routing.errors import NoModelFits
from routing.model_facts import ModelFacts
from routing.pasted_requests import ReadRequest
from routing.plans import Plan, make_plan
from routing.wanted import Wanted
from tests.routing.strategies.facts import catalog_of, priced, route, wanted

# 76 pages, and what stands around them. A call of 500 tokens of output.
PAGES, AROUND = 228_000, 7
SMALL = priced("small", 2, 10, context_tokens=200_000)
LARGE = priced("large", 900, 1_000, context_tokens=1_000_000)
WHOLE_CONTEXT_NANO_USD = 200_000 * 2_000 + 500 * 10_000
TOO_SMALL = "228007 input and 500 output tokens do not fit into its context of 200000"


def packed(texts: int = AROUND, **facts: Any) -> Wanted:
    return wanted(**{"input_tokens": PAGES + texts, "packed_tokens": lambda: PAGES, **facts})


def plan_for(*models: ModelFacts, asked: Wanted | None = None, **of_route: Any) -> Plan:
    return make_plan(catalog_of(*models, routes=[route("auto", **of_route)]), asked or packed())


def names(plan: Plan) -> list[str]:
    return [candidate.model.name for candidate in plan.candidates]


def test_what_is_packed_takes_what_is_left_of_a_context_where_no_model_has_more() -> None:
    plan = plan_for(SMALL)
    assert names(plan) == ["small"]
    assert plan.facts["estimate_nano_usd"] == WHOLE_CONTEXT_NANO_USD


def test_a_context_that_nobody_has_noted_is_taken_for_one_of_128_000_and_its_price_is_of_the_whole_estimate() -> None:
    plan = plan_for(priced("unknown", 2, 10, context_tokens=None))
    assert names(plan) == ["unknown"]
    assert plan.facts["estimate_nano_usd"] == (PAGES + AROUND) * 2_000 + 500 * 10_000
    with pytest.raises(NoModelFits):
        plan_for(priced("unknown", 2, 10, context_tokens=None), asked=packed(127_501))


def test_models_with_room_for_all_of_it_go_before_cheaper_ones_that_a_vendor_may_refuse_it_at() -> None:
    plan = plan_for(SMALL, LARGE)
    assert names(plan) == ["large"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [("small", TOO_SMALL)]


def test_of_the_models_that_a_strategy_names_those_with_room_for_all_of_it_go_first() -> None:
    other = priced("other", 1, 1, context_tokens=1_000_000)
    pinned = plan_for(SMALL, other, strategy="pinned", options={"model": "small"})
    assert names(pinned) == ["small"]
    shared = plan_for(SMALL, LARGE, other, strategy="weighted", options={"split": {"small": 0.99, "large": 0.01}})
    assert names(shared) == ["large"]


def test_what_is_named_as_a_fallback_need_not_have_room_for_all_of_it() -> None:
    assert names(plan_for(SMALL, LARGE, models=("large",), fallback=("small",))) == ["large", "small"]
    assert names(plan_for(SMALL, LARGE, models=("small",))) == ["small"]


def test_a_budgets_policy_may_name_a_model_without_room_for_all_of_it() -> None:
    plan = plan_for(SMALL, LARGE)
    assert plan.may_be_answered_by(SMALL)


def test_texts_and_the_answer_must_fit_into_the_context_in_any_case() -> None:
    assert names(plan_for(SMALL, asked=packed(199_500))) == ["small"]
    with pytest.raises(NoModelFits) as refused:
        plan_for(SMALL, asked=packed(199_501))
    assert refused.value.details["fell_out"] == [
        {"model": "small", "reason": "199501 input and 500 output tokens do not fit into its context of 200000"}
    ]


@pytest.mark.parametrize("name", ["auto", "small"])
def test_the_most_that_a_call_may_cost_is_compared_with_no_more_than_the_context(name: str) -> None:
    enough = packed(name=name, declared={"max_cost_nano_usd": WHOLE_CONTEXT_NANO_USD})
    assert names(plan_for(SMALL, asked=enough)) == ["small"]
    with pytest.raises(NoModelFits):
        plan_for(SMALL, asked=packed(name=name, declared={"max_cost_nano_usd": WHOLE_CONTEXT_NANO_USD - 1}))


@pytest.mark.parametrize("name", ["auto", "small"])
def test_a_dry_run_tells_the_same_price(name: str) -> None:
    read = ReadRequest(packed(name=name), lambda model: packed().extras)
    found = dry_run(catalog_of(SMALL, routes=[route("auto")]), read)
    assert [line.option.estimate_nano_usd for line in found.lines] == [WHOLE_CONTEXT_NANO_USD]


def test_nobody_looks_for_what_is_packed_where_all_of_it_has_room() -> None:
    def count() -> int:
        pytest.fail("what is packed is counted")

    found = wanted(input_tokens=199_500, packed_tokens=count)
    assert names(plan_for(SMALL, LARGE, asked=found)) == ["small", "large"]
