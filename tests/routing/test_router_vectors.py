"""The worked cases of the recipe's own router: each is run here, answered as there or better, or said where it is.

A case that we answer differently on purpose says why in one line, and its test asserts our answer. Prices are USD per
million tokens, estimates are of 1000 input and 500 output tokens where the case assumes so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from routing.breakers import PROBES, Breakers, Circuit
from routing.errors import InvalidRoute, NoModelFits, UnknownStrategy, UpstreamRefused, UpstreamTimeout
from routing.model_facts import ModelFacts
from routing.performance import forget_observed, percentile, set_observed
from routing.plans import Choice, Plan, choose, make_plan
from routing.pricing import price_usage
from routing.retries import may_fall_back, may_repeat
from routing.snapshot import Catalog
from routing.standing import standing_of
from routing.strategies.judgment_based import is_judge
from routing.strategies.weighted import check_split
from routing.token_usage import TokenUsage
from spendhub.money import parse_usd
from tests.routing.strategies.facts import TENANT, catalog_of, measured, priced, route, wanted

ROOT = Path(__file__).parents[2]
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors" / "router.json").read_text("utf-8"))
BY_NAME = {vector["name"]: vector for vector in VECTORS}
PREMIUM = ("claude-opus", "gpt-4-turbo")

# Cases about money, run beside the code that counts it.
BUDGETS, SPEND = "tests/budgets/test_router_vectors.py", "tests/telemetry/test_spend_rates.py"
ELSEWHERE = {
    "remaining budget exhausted gives no model, not a budget error": BUDGETS,
    "router budget: exactly the remaining is allowed": BUDGETS,
    "router budget: soft limit": BUDGETS,
    "router budget: negative estimate": BUDGETS,
    "router budget: new day resets lazily": BUDGETS,
    "anomaly against the preceding window": SPEND,
}
ANSWERED: dict[str, str] = {}

Test = Callable[..., None]


def case(name: str, differs: str = "") -> Callable[[Test], Test]:
    """Marks the test that runs the case; `differs` is the reason where ours is another answer."""

    def note(test: Test) -> Test:
        ANSWERED[name] = differs
        return pytest.mark.parametrize("vector", [BY_NAME[name]], ids=[name])(test)

    return note


@pytest.fixture(autouse=True)
def nothing_observed() -> Iterator[None]:
    forget_observed()
    yield
    forget_observed()


def given_models(vector: dict[str, Any]) -> list[ModelFacts]:
    return [
        priced(
            name,
            facts["in"],
            facts["out"],
            context_tokens=facts.get("max"),
            max_output_tokens=None,
            capabilities=frozenset(facts.get("caps", ())),
            quality="premium" if name in PREMIUM else "standard",
        )
        for name, facts in vector["given"]["models"].items()
    ]


def catalog(vector: dict[str, Any], strategy: str = "cost-optimized", **facts: Any) -> Catalog:
    return catalog_of(*given_models(vector), routes=[route("auto", strategy, **facts)])


def answer(vector: dict[str, Any], strategy: str = "cost-optimized", **facts: Any) -> Choice:
    options = facts.pop("options", {})
    return choose(catalog(vector, strategy, options=options), wanted(**facts))


def names(plan: Plan) -> list[str]:
    return [candidate.model.name for candidate in plan.candidates]


def ranked(choice: Choice) -> list[str]:
    assert choice.ranking is not None
    return [each.option.name for each in choice.ranking.ranked]


@case("cheapest wins (1000 in / 500 out assumed)")
def test_the_cheapest_wins(vector: dict[str, Any]) -> None:
    choice, told = answer(vector), vector["then"]
    assert ranked(choice) == [told["model"], *told["alternatives"]]
    assert choice.plan.facts["alternatives"] == told["alternatives"]
    assert choice.plan.facts["estimate_nano_usd"] == parse_usd(told["estimate"])
    assert choice.plan.confidence == told["confidence"]


@case("all required capabilities must be held")
def test_every_capability_is_held(vector: dict[str, Any]) -> None:
    choice = answer(vector, declared={"capabilities": frozenset({"code", "evaluation"})})
    assert ranked(choice) == [vector["then"]["model"]]
    fell_out = {each.model: each.reason for each in choice.plan.fell_out}
    assert fell_out == {
        "glm-edge": "it lacks code, evaluation",
        "kat-coder-pro": "it lacks evaluation",
        "claude-opus": "it lacks code",
    }


@case("maxTokens filters models, inclusive")
def test_a_model_that_is_too_small_falls_out(vector: dict[str, Any]) -> None:
    asked = {"capabilities": frozenset({"code"})}
    chosen = [
        names(answer(vector, declared=asked, input_tokens=0, max_output_tokens=tokens).plan)[0]
        for tokens in (32_000, 32_001)
    ]
    assert chosen == vector["then"]


@case(
    "prompt length does not change the choice estimate", "the estimate is of this very request, and the context counts"
)
def test_the_estimate_is_of_this_very_request(vector: dict[str, Any]) -> None:
    plan = answer(vector, input_tokens=133_334).plan  # what 400,000 characters are taken for
    # 128k models fall out: only the 200k one is left, at 133,334 x 15 + 500 x 75 USD per million.
    assert names(plan) == ["claude-opus"]
    assert plan.facts["estimate_nano_usd"] == parse_usd("2.03751")


@case("output-heavy price order uses the weighted cost")
def test_output_counts_by_its_own_price(vector: dict[str, Any]) -> None:
    choice = answer(vector)
    assert choice.ranking is not None
    costs = {each.option.name: each.option.estimate_nano_usd for each in choice.ranking.ranked}
    assert costs == {name: parse_usd(usd) for name, usd in vector["then"]["costs"].items()}
    assert names(choice.plan)[0] == vector["then"]["model"]


@case("per-request budget is inclusive")
def test_the_most_a_call_may_cost_is_inclusive(vector: dict[str, Any]) -> None:
    chosen: list[str | None] = []
    for usd in ("0.0006", "0.0005"):
        try:
            chosen.append(names(answer(vector, declared={"max_cost_nano_usd": parse_usd(usd)}).plan)[0])
        except NoModelFits as error:
            assert error.details["demanded"]["max_cost"] == "0.0005"
            chosen.append(None)
    assert chosen == vector["then"]


@case("default order: capability-based outranks cost-optimized", "auto stays the cheapest; a capability only filters")
def test_a_capability_filters_and_the_strategy_stays(vector: dict[str, Any]) -> None:
    asked = {"capabilities": frozenset({"code"})}
    plan, told = answer(vector, declared=asked).plan, vector["then"]
    assert (plan.strategy, names(plan)[0]) == ("cost-optimized", told["model"])
    asked_for = answer(vector, declared={**asked, "strategy": told["strategy"]}).plan
    assert (asked_for.strategy, names(asked_for)[0]) == (told["strategy"], told["model"])
    assert asked_for.facts["score"] == pytest.approx(told["score"])
    assert asked_for.confidence == pytest.approx(told["confidence"])


@case("preferred model bonus 15")
def test_a_preferred_model_gets_15_points(vector: dict[str, Any]) -> None:
    asked = {"capabilities": frozenset({"code"})}
    choice = answer(
        vector, "capability-based", options={"preferred": vector["given"]["preferredModels"]}, declared=asked
    )
    assert choice.ranking is not None
    scores = {each.option.name: each.score for each in choice.ranking.ranked}
    assert scores == pytest.approx(vector["then"]["scores"])
    assert names(choice.plan)[0] == vector["then"]["model"]


@case("timeoutMs switches to latency routing", "a timeout is kept, not a wish to pay more for speed")
def test_a_timeout_is_kept_and_the_strategy_stays(vector: dict[str, Any]) -> None:
    plan = answer(vector, declared={"timeout_ms": 3000}).plan
    assert (plan.strategy, plan.timeout_ms) == ("cost-optimized", 3000)
    plan = answer(vector, declared={"timeout_ms": 3000, "strategy": vector["then"]["strategy"]}).plan
    assert (plan.strategy, plan.timeout_ms) == ("latency-optimized", 3000)


@case("latency default without history")
def test_without_history_the_stated_prior_counts(vector: dict[str, Any]) -> None:
    choice = answer(vector, "latency-optimized", declared={"timeout_ms": 3000})
    assert choice.ranking is not None
    predicted = {each.option.name: -each.score for each in choice.ranking.ranked}
    assert predicted == pytest.approx(vector["then"]["predicted"])
    assert names(choice.plan)[0] == vector["then"]["model"]


@case("never-measured model looks instantaneous in the engine", "an unmeasured model has a prior of 500 ms and more")
def test_a_model_nobody_measured_is_not_the_fastest(vector: dict[str, Any]) -> None:
    set_observed({"known": measured(100)})
    choice = choose(
        catalog_of(priced("known", 1, 2), priced("new", 1, 2), routes=[route("auto", "latency-optimized")]), wanted()
    )
    assert choice.ranking is not None
    assert [(each.option.name, -each.score) for each in choice.ranking.ranked] == [("known", 100), ("new", 800)]


@case("free user escalates, premium does not (inverted)", "premium escalates first")
def test_premium_is_given_a_judge_first(vector: dict[str, Any]) -> None:
    models = [priced("kat-coder-pro", 0.5, 1), priced("claude-opus", 15, 75, quality="premium")]
    options = {name: vector["given"][name] for name in ("workhorses", "judges")}
    options["confidence_threshold"] = vector["given"]["threshold"]
    catalog = catalog_of(*models, routes=[route("auto", "judgment-based", options=options)])
    plans = [
        choose(catalog, wanted(text="x" * 2000, declared={"user_tier": tier})).plan
        for tier in ("free", "standard", "premium")
    ]
    assert [plan.facts["complexity"] for plan in plans] == list(reversed(vector["then"]["adjusted"]))
    assert [names(plan)[0] for plan in plans] == list(reversed(vector["then"]["models"]))


@case("cheaper judge preferred when prices differ by 5 or more")
def test_of_equal_judges_the_cheaper_one(vector: dict[str, Any]) -> None:
    models = [
        priced("kat-coder-pro", 0.5, 1),
        priced("claude-opus", 15, 75, quality="premium"),
        priced("gpt-4-turbo", 10, 30, quality="premium"),
    ]
    options = {name: vector["given"][name] for name in ("workhorses", "judges")}
    catalog = catalog_of(*models, routes=[route("auto", "judgment-based", options=options)])
    plan = choose(catalog, wanted(text="hello", declared={"confidence_threshold": 1.0})).plan
    assert names(plan)[0] == vector["then"]["model"]


@case("unknown strategy name is ignored", "an unknown strategy is a mistake, told with the known names")
def test_an_unknown_strategy_is_refused(vector: dict[str, Any]) -> None:
    catalog = catalog_of(priced("m", 1, 2), routes=[route("auto")])
    for name in ("auto", "m"):
        with pytest.raises(UnknownStrategy) as refused:
            make_plan(catalog, wanted(name, declared={"strategy": "cheapest"}))
        assert refused.value.details["known"] == [
            "cost-optimized", "latency-optimized", "judgment-based", "capability-based", "budget-aware", "weighted",
            "pinned",
        ]  # fmt: skip


@case(
    "named strategy that cannot choose falls through in priority order", "it is an error that names what it cannot do"
)
def test_a_strategy_that_cannot_choose_is_an_error(vector: dict[str, Any]) -> None:
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog(vector, "latency-optimized", models=("ghost",)), wanted())
    assert refused.value.details["fell_out"] == [{"model": "ghost", "reason": "no model is called so"}]


@case("no models", "told with the same 503, in other words")
def test_without_models_nothing_fits(vector: dict[str, Any]) -> None:
    with pytest.raises(NoModelFits, match="no model fits this call of 'auto'"):
        make_plan(catalog_of(routes=[route("auto")]), wanted())


@case("chosen model goes first, then the chain without it")
def test_the_chosen_model_goes_first_then_the_chain_without_it(vector: dict[str, Any]) -> None:
    chain = tuple(vector["given"]["chain"])
    models = [priced("a", 2, 2), priced("b", 1, 1), priced("c", 3, 3)]
    plan = make_plan(catalog_of(*models, routes=[route("auto", models=chain, fallback=chain)]), wanted())
    # That a is asked once b has thrown is tested in tests/gateway/test_fallback.py.
    assert names(plan) == vector["then"]["order"]


@case("missing model is skipped")
def test_a_missing_model_of_the_chain_is_skipped_with_its_reason(vector: dict[str, Any]) -> None:
    first, *others = vector["given"]["chain"]
    chain = route("auto", models=(first,), fallback=tuple(others))
    plan = make_plan(catalog_of(priced("b", 1, 1), routes=[chain]), wanted())
    assert names(plan) == [vector["then"]["selected"]]
    assert [(each.model, each.reason) for each in plan.fell_out] == [
        ("ghost", "no model is called so"),
    ]
    assert plan.reason == "none of the route's models can be called: ghost (no model is called so)"


@case("fallback only when the request names the chain", "the chain is the route's, so every call by it has one")
def test_a_route_has_its_chain_without_being_asked_and_a_named_model_has_none(vector: dict[str, Any]) -> None:
    catalog = catalog_of(
        priced("a", 1, 1), priced("b", 2, 2), priced("c", 3, 3), priced("d", 4, 4), routes=[route("auto")]
    )
    assert names(make_plan(catalog, wanted("auto"))) == ["a", "b", "c"]
    assert names(make_plan(catalog, wanted("b"))) == ["b"]


@case("estimate before the call", "a hold is an upper estimate; without a limit of the client's 1024 output tokens")
def test_a_call_without_a_limit_is_estimated_with_the_stated_output(vector: dict[str, Any]) -> None:
    catalog = catalog_of(priced("glm-edge", 0.3, 0.6, max_output_tokens=None), routes=[route("auto")])
    then = vector["then"]
    limited = make_plan(catalog, wanted(input_tokens=then["inputTokens"], max_output_tokens=then["outputTokens"]))
    # The case's own sizes: 2 x 0.3 + 128 x 0.6 USD per million is what it says.
    assert limited.facts["estimate_nano_usd"] == parse_usd(then["estimatedCost"])
    unlimited = make_plan(catalog, wanted(input_tokens=2, max_output_tokens=None))
    assert unlimited.facts["estimate_nano_usd"] == 2 * 300 + 1024 * 600


@case("actual cost uses the executed model's price")
def test_what_a_fallback_costs_is_by_its_own_price(vector: dict[str, Any]) -> None:
    models = [priced("glm-edge", 0.3, 0.6), priced("kat-coder-pro", 0.5, 1.0)]
    plan = make_plan(catalog_of(*models, routes=[route("auto", fallback=("kat-coder-pro",))]), wanted())
    assert names(plan) == [vector["given"]["chosen"], vector["given"]["executed"]]
    cost = price_usage(TokenUsage(20, 10), plan.candidates[1].quote.price)
    assert cost.total_nano_usd == parse_usd(f"{vector['then']['actualCost']:f}")


@case("over budget on the chosen model although a cheaper fits", "the cheaper ones that can do it are in the plan")
def test_cheaper_models_stand_by_for_a_budget_that_is_nearly_spent(vector: dict[str, Any]) -> None:
    plan = answer(vector, "pinned", options={"model": "claude-opus"}).plan
    assert plan.cheaper == ()  # pinned is pinned
    plan = answer(vector, "judgment-based", options={"confidence_threshold": 1}).plan
    assert names(plan) == ["gpt-4-turbo", "claude-opus", "glm-edge"]
    assert [candidate.model.name for candidate in plan.cheaper] == ["kat-coder-pro"]
    assert plan.may_choose_cheaper


@case("percentiles interpolate")
def test_percentiles_interpolate(vector: dict[str, Any]) -> None:
    ordered = sorted(vector["given"]["latencies"])
    assert [percentile(ordered, percent) for percent in (50, 95, 99)] == pytest.approx(vector["then"])


@case("A/B split must sum to 1 within 0.01")
def test_a_split_sums_to_1(vector: dict[str, Any]) -> None:
    check_split({"a": 0.5, "b": 0.505})
    with pytest.raises(InvalidRoute) as refused:
        check_split({"a": 0.5, "b": 0.52})
    assert ["ok", refused.value.message] == vector["then"]


@case("workhorse and judge classes")
def test_models_are_workhorses_or_judges(vector: dict[str, Any]) -> None:
    models = given_models(vector)
    assert [model.name for model in models if not is_judge(model)] == vector["then"]["workhorses"]
    assert [model.name for model in models if is_judge(model)] == vector["then"]["judges"]


@case("no key configured", "a model without a key is never chosen, and says so")
def test_a_model_without_a_key_falls_out(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    catalog = catalog_of(priced("X", 1, 2, api_key_env="NO_SUCH_KEY"), routes=[route("auto")])
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog, wanted())
    assert refused.value.details["fell_out"] == [
        {
            "model": "X",
            "reason": "provider vendor has no key under Vendor keys, and the environment variable NO_SUCH_KEY is empty",
        }
    ]
    assert standing_of(catalog, TENANT).usable == ()


@case("budget plugin cannot run inside the router", "budget-aware is a strategy like the others")
def test_budget_aware_is_a_strategy_like_the_others(vector: dict[str, Any]) -> None:
    models = [priced("small", 1, 2, quality="economy"), priced("large", 10, 20, quality="premium")]
    catalog = catalog_of(*models, routes=[route("auto", "budget-aware")])
    chosen = [names(make_plan(catalog, wanted(budget_share_left=left)))[0] for left in (None, 0.9, 0.05)]
    assert chosen == ["large", "large", "small"]


OPEN_SECONDS = 30
NOW = 1_800_000_000.0


@case("breaker opens at the 5th consecutive failure")
def test_a_breaker_opens_at_the_5th_failure_in_a_row(vector: dict[str, Any]) -> None:
    circuit, states = Circuit(), []
    for failures, successes in ((4, 0), (0, 1), (4, 0), (1, 0)):
        for _ in range(failures):
            circuit = circuit.failed(NOW, vector["given"]["failureThreshold"])
        for _ in range(successes):
            circuit = circuit.succeeded(NOW)
        states.append(circuit.state.upper())
    assert states == vector["then"]["states"]


@case("breaker closes after 3 half-open successes")
def test_a_breaker_closes_after_3_successes(vector: dict[str, Any]) -> None:
    assert vector["given"]["halfOpenMaxCalls"] == PROBES
    circuit, states = Circuit("half-open"), []
    for _ in range(3):
        circuit = circuit.succeeded(NOW)
        states.append(circuit.state.upper().replace("-", "_"))
    assert states == vector["then"]["states"]


@case("half-open admits unlimited probes", "three at a time: a vendor that has just failed is not asked by everybody")
def test_a_half_open_breaker_admits_three_at_a_time(vector: dict[str, Any], settings: Settings) -> None:
    settings.BREAKER_OPEN_SECONDS = OPEN_SECONDS
    breakers = Breakers()
    for _ in range(5):
        breakers.note_failure("vendor/m", NOW)
    asked = vector["then"]["allowed"]
    assert [breakers.admit("vendor/m", NOW + OPEN_SECONDS) for _ in range(asked)].count(True) == 3


@case("default retry test is textual", "by what has happened and the vendor's status, never by an error's words")
def test_whether_to_repeat_is_read_from_the_status(vector: dict[str, Any]) -> None:
    assert vector["then"] == [True, False, True, False]
    errors = [
        UpstreamTimeout("timeout"),
        UpstreamRefused("vendor", 400, {}, b"bad request 400"),
        UpstreamRefused("vendor", 422, {}, b"field 15 invalid"),
        UpstreamRefused("vendor", 429, {}, b"status 429"),
    ]
    # After a timeout the vendor may still be working, and billing: another model is asked, not the same one again.
    assert [may_repeat(error) for error in errors] == [False, False, False, True]
    assert [may_fall_back(error, on_content_refusal=False) for error in errors] == [True, False, False, True]


def test_every_case_is_run_here_or_where_it_is_said_to_be() -> None:
    assert len(BY_NAME) == len(VECTORS)
    assert sorted([*ANSWERED, *ELSEWHERE]) == sorted(BY_NAME)
    for name, path in ELSEWHERE.items():
        assert f'case("{name}"' in (ROOT / path).read_text("utf-8")
    should_differ = {vector["name"] for vector in VECTORS if "replacement_should" in vector}
    silent = {name for name in should_differ & set(ANSWERED) if not ANSWERED[name]}
    assert silent == set()
