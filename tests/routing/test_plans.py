"""From a name to models in order: what falls out and why, which route a call goes by, who is tried next."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import hooks
from routing.candidates import Candidate
from routing.conversation import NotTranslatable
from routing.dry_run import CHEAPER_UNTOUCHED, MOST_VALUES, DryRun, dry_run
from routing.errors import InvalidRoute, ModelNotAvailable, NoModelFits, UnknownModel
from routing.extras import NO_EXTRAS, Extras
from routing.model_facts import ModelFacts
from routing.pasted_requests import ReadRequest
from routing.performance import forget_observed, set_observed
from routing.plans import Plan, choose, find_route, make_plan
from routing.pricing import CompiledPrice, PriceTable, Rates
from routing.requirements import FellOut, is_in_region
from routing.routes import RouteFacts
from routing.snapshot import Catalog
from routing.strategies.base import Option, Ranked, Ranking, Strategy, Task
from routing.strategies.registry import STRATEGIES, register
from routing.unusual import Unusual
from routing.upstreams.base import CHAT, MESSAGES
from routing.wanted import Wanted
from tests.routing.strategies.facts import NANO, NOW, TENANT, catalog_of, measured, priced, route, wanted

AUTO = route("auto")


@pytest.fixture(autouse=True)
def nothing_observed() -> Iterator[None]:
    forget_observed()
    yield
    forget_observed()


def names(plan: Plan) -> list[str]:
    return [candidate.model.name for candidate in plan.candidates]


def plan_for(*models: ModelFacts, **facts: Any) -> Plan:
    return make_plan(catalog_of(*models, routes=[AUTO]), wanted(**facts))


# What makes a model fall out


def at(provider: str, model: ModelFacts) -> ModelFacts:
    return replace(model, provider=replace(model.provider, name=provider))


def off(model: ModelFacts) -> ModelFacts:
    return replace(model, provider=replace(model.provider, is_enabled=False))


@pytest.mark.parametrize(
    ("model", "asked", "reason"),
    [
        ({"is_enabled": False}, {}, "it is switched off"),
        ({"dialect": "morse"}, {}, "calls to vendor cannot be executed yet: its dialect is morse"),
        ({"base_url": ""}, {}, "provider vendor has no address"),
        ({"kind": "embedding"}, {}, "it is a model for embedding, not for chat"),
        ({"retires_at": NOW}, {}, "it was retired on 2026-11-24 UTC"),
        ({}, {"declared": {"deny": frozenset({"vendor/m"})}}, "it is on the list of models not to use"),
        ({"aliases": ("em",)}, {"declared": {"deny": frozenset({"em"})}}, "it is on the list of models not to use"),
        ({}, {"declared": {"deny": frozenset({"M"})}}, "it is on the list of models not to use"),
        ({}, {"declared": {"deny": frozenset({"Vendor/*"})}}, "it is on the list of models not to use"),
        ({"aliases": ("Em",)}, {"declared": {"deny": frozenset({"eM"})}}, "it is on the list of models not to use"),
        ({}, {"declared": {"allow": frozenset({"other/*"})}}, "it is not on the list of models to use"),
        ({}, {"needs": ["vision", "files", "tools"]}, "it lacks files, vision"),
        ({}, {"declared": {"capabilities": frozenset({"chinese"})}}, "it lacks chinese"),
        ({"dialect": "anthropic"}, {"needs": ["logprobs", "tools"]}, "it lacks log probabilities"),
        ({"dialect": "bedrock"}, {"needs": ["choices", "logprobs", "vision"]},
         "it lacks log probabilities, several answers at once, vision"),
        ({"base_url": "https://api.mistral.ai/v1"}, {"needs": ["logprobs"]}, "it lacks log probabilities"),
        ({"base_url": "https://api.mistral.ai/v1"}, {"needs": ["speech"]}, "it lacks spoken answers"),
        ({"dialect": "gemini"}, {"needs": ["speech"]}, "it lacks spoken answers"),
        ({}, {"declared": {"min_quality": "premium"}}, "its quality tier is standard, below premium"),
        ({"region": "us-east-1"}, {"declared": {"region": "eu"}}, "it runs in us-east-1, not in eu"),
        ({}, {"declared": {"region": "eu"}}, "it runs in a region nobody has noted, not in eu"),
        ({}, {"max_output_tokens": 4097}, "it gives at most 4096 output tokens, not 4097"),
        ({}, {"max_output_tokens": 8194, "choices": 2}, "it gives at most 4096 output tokens, not 4097"),
        ({}, {"input_tokens": 127_501}, "127501 input and 500 output tokens do not fit into its context of 128000"),
        ({}, {"input_tokens": 127_000, "max_output_tokens": None}, "127000 input and 1024 output tokens do not fit into its context of 128000"),
        ({"context_tokens": None, "max_output_tokens": None}, {"max_output_tokens": 16_385}, "nobody has noted its longest answer: 16384 output tokens are taken for granted, not 16385"),
        ({"context_tokens": None}, {"input_tokens": 127_501}, "nobody has noted its context: 128000 tokens are taken for granted, not 127501 input and 500 output tokens"),
        ({"prices": PriceTable()}, {}, "it has no price, so its cost could not be counted"),
        ({}, {"declared": {"max_cost_nano_usd": 1_999_999}}, "it would cost 0.002 USD, above 0.001999999"),
        ({}, {"declared": {"max_latency_ms": 799}}, "it is expected to take 800 ms (p95), above 799"),
    ],
)  # fmt: skip
def test_a_model_falls_out_for_one_reason_in_plain_words(
    model: dict[str, Any], asked: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NoModelFits) as refused:
        plan_for(priced("m", 1, 2, **model), **asked)
    assert refused.value.details["fell_out"] == [{"model": "m", "reason": reason}]


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ({"retires_at": NOW + timedelta(seconds=1)}, {}),
        ({}, {"declared": {"allow": frozenset({"vendor/*"})}}),
        ({}, {"declared": {"allow": frozenset({"VENDOR/M"})}}),
        ({"capabilities": frozenset({"tools", "vision"})}, {"needs": ["vision"]}),
        ({}, {"needs": ["choices", "logprobs"]}),
        ({"dialect": "gemini"}, {"needs": ["choices", "logprobs"]}),
        ({"base_url": "https://api.mistral.ai/v1"}, {"needs": ["choices"]}),
        ({}, {"declared": {"min_quality": "standard"}}),
        ({"region": "eu-west-1"}, {"declared": {"region": "EU"}}),
        ({}, {"max_output_tokens": 4096}),
        ({}, {"input_tokens": 127_500}),
        ({"context_tokens": None, "max_output_tokens": None}, {"input_tokens": 111_616, "max_output_tokens": 16_384}),
        ({"context_tokens": None, "max_output_tokens": None}, {"max_output_tokens": 32_768, "choices": 2}),
        ({"max_output_tokens": None}, {"input_tokens": 28_000, "max_output_tokens": 100_000}),
        ({"context_tokens": None}, {"input_tokens": 126_976, "max_output_tokens": None}),
        ({}, {"declared": {"max_cost_nano_usd": 2_000_000}}),
        ({}, {"declared": {"max_latency_ms": 800}}),
    ],
)
def test_at_the_very_limit_a_model_still_fits(model: dict[str, Any], asked: dict[str, Any]) -> None:
    assert names(plan_for(priced("m", 1, 2, **model), **asked)) == ["m"]


def asking(unusual: Unusual, **facts: Any) -> dict[str, Any]:
    return {"unusual": lambda: unusual, **facts}


LIVELY = Unusual(("temperature 0.2", "top_p 0.5"), stop="stop")


def test_a_dearer_model_is_chosen_where_the_cheapest_would_refuse_a_setting() -> None:
    models = (priced("gpt-5-nano", 1, 2), priced("gpt-4o-mini", 5, 10), priced("llama", 6, 12))
    assert names(plan_for(*models))[0] == "gpt-5-nano"
    plan = plan_for(*models, **asking(LIVELY))
    assert names(plan) == ["gpt-4o-mini", "llama"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [
        ("gpt-5-nano", "it does not take temperature 0.2, top_p 0.5, stop")
    ]


@pytest.mark.parametrize(
    ("name", "unusual", "reason"),
    [
        ("gpt-5-nano", Unusual(effort="none"), "it does not take reasoning_effort none"),
        ("gpt-5.6", Unusual(has_tools=True), "it does not take tools unless reasoning_effort is none"),
        ("gpt-6-astra", Unusual(has_tools=True), "it does not take tools in chat completions"),
    ],
)
def test_where_nothing_else_is_there_the_reason_names_the_field(name: str, unusual: Unusual, reason: str) -> None:
    with pytest.raises(NoModelFits) as refused:
        plan_for(priced(name, 1, 2), **asking(unusual))
    assert refused.value.details["fell_out"] == [{"model": name, "reason": reason}]
    assert reason in refused.value.message


def test_the_nearest_is_the_one_that_refuses_the_least() -> None:
    models = (priced("gpt-5-nano", 1, 2), priced("o1", 5, 10))
    with pytest.raises(NoModelFits, match=r"o1 comes nearest, but it does not take temperature 0\.2, top_p 0\.5"):
        plan_for(*models, **asking(LIVELY))


def test_a_model_that_the_client_names_is_told_whatever_it_says() -> None:
    nano = priced("gpt-5-nano", 1, 2)
    assert names(plan_for(nano, **asking(LIVELY, name="gpt-5-nano"))) == ["gpt-5-nano"]
    declared = {"deny": frozenset({"other"})}
    assert names(plan_for(nano, **asking(LIVELY, name="gpt-5-nano", declared=declared))) == ["gpt-5-nano"]


def test_a_model_that_a_policy_names_steps_in_only_where_it_takes_the_settings() -> None:
    nano, mini, big = priced("gpt-5-nano", 1, 2), priced("gpt-4o-mini", 2, 4), priced("gpt-4o", 5, 10)
    plan = plan_for(nano, mini, big, **asking(LIVELY, name="gpt-4o"))
    assert (plan.may_be_answered_by(nano), plan.may_be_answered_by(mini)) == (False, True)


def test_what_is_translated_may_be_said_without_a_setting_but_not_without_its_end() -> None:
    nano = priced("gpt-5-nano", 1, 2)
    lively = asking(replace(LIVELY, stop=""), wire="messages")
    assert names(plan_for(nano, **lively)) == ["gpt-5-nano"]
    with pytest.raises(NoModelFits, match="it does not take stop_sequences"):
        plan_for(nano, **asking(replace(LIVELY, stop="stop_sequences"), wire="messages"))


def test_a_dearer_model_is_chosen_where_the_cheapest_cannot_say_how_likely_its_words_are() -> None:
    models = (priced("cheap", 1, 2, dialect="anthropic"), priced("dear", 5, 10))
    assert names(plan_for(*models))[0] == "cheap"
    plan = plan_for(*models, needs=["logprobs"])
    assert names(plan) == ["dear"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [("cheap", "it lacks log probabilities")]


def test_an_unpriced_model_counts_at_the_default_where_the_tenant_says_so(settings: Any) -> None:
    settings.DEFAULT_INPUT_NANO_USD_PER_MTOK = settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK = 10**9
    plan = plan_for(priced("m", 1, 2, prices=PriceTable()), unpriced_models="default")
    assert plan.candidates[0].quote.is_estimated
    assert plan.facts["estimate_nano_usd"] == 1_500_000


def test_a_provider_that_is_switched_off_takes_its_models_along() -> None:
    plan = plan_for(off(priced("a", 1, 1)), priced("b", 2, 2))
    assert names(plan) == ["b"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [("a", "its provider vendor is switched off")]


def test_a_model_that_always_searches_is_chosen_where_it_or_a_search_is_asked_for() -> None:
    models = (priced("gpt-4o-search-preview", 1, 2, aliases=("searcher",)), priced("plain", 5, 10))
    plan = plan_for(*models)
    assert names(plan) == ["plain"]
    assert [each.model for each in plan.fell_out] == ["gpt-4o-search-preview"]
    assert plan.fell_out[0].reason.startswith("it always searches the web")
    assert names(plan_for(*models, extras=Extras(web_searches=1, untold_searches=1)))[0] == "gpt-4o-search-preview"
    for named in ("gpt-4o-search-preview", "Searcher", "vendor/GPT-4o-search-preview"):
        assert names(plan_for(*models, declared={"allow": frozenset({named})})) == ["gpt-4o-search-preview"]
    assert names(plan_for(*models, declared={"allow": frozenset({"vendor/*"})})) == ["plain"]
    own = make_plan(catalog_of(*models, routes=[route("auto", models=("searcher", "plain"))]), wanted())
    assert names(own)[0] == "gpt-4o-search-preview"
    assert names(make_plan(catalog_of(*models), wanted("searcher"))) == ["gpt-4o-search-preview"]


ONE_SEARCH = Extras(web_searches=1, untold_searches=1)


def searching(name: str, input_usd: float, output_usd: float, search_usd: float, **changes: Any) -> ModelFacts:
    """A model with a price for a thousand searches of the web."""
    rates = Rates(round(input_usd * NANO), round(output_usd * NANO), web_search=round(search_usd * NANO))
    return priced(name, input_usd, output_usd, prices=PriceTable((CompiledPrice((rates,)),)), **changes)


def test_a_request_that_searches_the_web_goes_to_a_model_that_has_a_price_for_it() -> None:
    models = (priced("plain", 0, 0), searching("searches", 1, 2, 10), searching("searches-free", 9, 9, 0))
    plan = plan_for(*models, extras=ONE_SEARCH)
    assert names(plan) == ["searches", "searches-free"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [("plain", "it has no price for web searches")]
    # 9,000 tokens in, with the 8,000 of the search, 500 out, and the search: 9,000 + 1,000 + 10,000 USD per million.
    assert plan.facts["estimate_nano_usd"] == 20_000_000
    assert names(plan_for(*models)) == ["plain", "searches", "searches-free"]


def test_a_model_that_always_searches_needs_no_price_for_it() -> None:
    models = (priced("sonar", 3, 15), priced("plain", 1, 2))
    assert names(plan_for(*models, extras=ONE_SEARCH)) == ["sonar"]


def test_a_model_of_unknown_size_that_a_client_names_is_asked_all_the_same_and_embeddings_too() -> None:
    unknown = priced("m", 1, 2, context_tokens=None, max_output_tokens=None)
    huge = {"input_tokens": 10**7, "max_output_tokens": 10**6}
    for declared in ({}, {"allow": frozenset({"m"})}):
        assert names(make_plan(catalog_of(unknown), wanted("m", declared=declared, **huge))) == ["m"]
    # Many texts at once: each has the whole context.
    vectors = replace(unknown, kind="embedding")
    assert names(plan_for(vectors, kind="embedding", input_tokens=10**6, max_output_tokens=None)) == ["m"]


def test_a_model_that_a_client_names_is_asked_to_search_all_the_same_and_no_other_one_steps_in() -> None:
    plain, searches = priced("plain", 1, 2), searching("searches", 1, 2, 10)
    catalog = catalog_of(plain, searches)
    for declared in ({}, {"allow": frozenset({"plain"})}):
        plan = make_plan(catalog, wanted("plain", extras=ONE_SEARCH, declared=declared))
        assert names(plan) == ["plain"]
    plan = make_plan(catalog, wanted("searches", extras=ONE_SEARCH))
    assert [plan.may_be_answered_by(each) for each in (plain, searches)] == [False, True]


def test_reviewers_of_an_answer_that_searched_need_not_search() -> None:
    options = {"workhorses": ["works"], "judges": ["judges"], "reviewers": ["reads"]}
    judged = route("auto", "judgment-based", options=options)
    models = (searching("works", 1, 1, 10), searching("judges", 9, 9, 10), priced("reads", 2, 2))
    plan = make_plan(catalog_of(*models, routes=[judged]), wanted(text="hello", extras=ONE_SEARCH))
    assert plan.review is not None
    assert [reviewer.model.name for reviewer in plan.review.reviewers] == ["reads"]
    assert plan.review.left_out == ()


def test_what_others_see_of_a_name_does_not_count_for_an_accounts_own_model() -> None:
    set_observed({"m": measured(10)})
    own, asked = {"tenant_id": TENANT}, {"declared": {"max_latency_ms": 100}}
    assert names(plan_for(priced("m", 1, 2), **asked)) == ["m"]
    with pytest.raises(NoModelFits) as refused:
        plan_for(priced("m", 1, 2, **own), **asked)
    assert list(refused.value.fell_out) == [("m", "it is expected to take 800 ms (p95), above 100")]


def test_what_is_expected_of_a_model_decides_its_estimate() -> None:
    chatty = {"wordy": 4000, "terse": 10}
    plan = plan_for(
        priced("wordy", 1, 1), priced("terse", 2, 2), max_output_tokens=None,
        expected_output_of=lambda model: chatty[model.name],
    )  # fmt: skip
    # 1000 x 2 + 10 x 2, against 1000 + 4000, in USD per million.
    assert (names(plan)[0], plan.facts["estimate_nano_usd"]) == ("terse", 2_020_000)


def told_lengths(*models: ModelFacts, **facts: Any) -> Plan:
    """The plan for a call without a limit, where `known` says how long answers have been: of the feature, the tenant."""
    known = facts.pop("known")

    def expected(model: ModelFacts) -> int:
        return next((lengths[model.name] for lengths in known if model.name in lengths), 1_024)

    return plan_for(*models, max_output_tokens=None, known_lengths=known, expected_output_of=expected, **facts)


def test_a_dear_model_that_was_used_for_short_answers_does_not_win_for_its_being_known() -> None:
    cheap, dear = priced("cheap", 0.05, 0.4), priced("dear", 2.5, 10)
    plan = told_lengths(cheap, dear, known=({"dear": 10},))
    # 10 tokens of each: 1000 x 0.05 + 10 x 0.4, against 1000 x 2.5 + 10 x 10, in USD per million.
    assert (names(plan), plan.facts["estimate_nano_usd"]) == (["cheap", "dear"], 54_000)
    # Nor where another one, known too, says much more.
    known = {"dear": 10, "wordy": 3_000}
    assert names(told_lengths(cheap, dear, priced("wordy", 1, 8), known=(known,))) == ["cheap", "dear", "wordy"]


def test_a_model_that_is_known_to_say_more_is_compared_at_what_it_says() -> None:
    wordy, terse = priced("wordy", 1, 1), priced("terse", 2, 2)
    plan = told_lengths(wordy, terse, known=({"wordy": 4_000, "terse": 10},))
    # 1000 x 2 + 10 x 2, against 1000 + 4000, in USD per million.
    assert (names(plan)[0], plan.facts["estimate_nano_usd"]) == ("terse", 2_020_000)


def test_a_model_nobody_knows_is_taken_to_say_as_much_as_the_cheapest_that_is_known() -> None:
    known, terse = priced("known", 1, 1), priced("terse", 9, 9)
    lengths = ({"known": 4_000, "terse": 1},)
    # 1000 + 4000, 9 x 1000 + 9 x 1 and 2 x 1000 + 2 x 4000, in USD per million.
    plan = told_lengths(known, priced("unknown", 2, 2), terse, known=lengths)
    assert names(plan) == ["known", "terse", "unknown"]
    # But never more than it can say: 2 x 1000 + 2 x 500.
    plan = told_lengths(known, priced("unknown", 2, 2, max_output_tokens=500), terse, known=lengths)
    assert names(plan) == ["unknown", "known", "terse"]


def test_what_is_known_of_the_feature_counts_before_what_is_known_of_the_tenant() -> None:
    cheap, dear = priced("cheap", 0.05, 0.4), priced("dear", 2.5, 10)
    tenants = {"cheap": 100_000, "dear": 10}
    assert names(told_lengths(cheap, dear, known=({"dear": 10}, tenants)))[0] == "cheap"
    assert names(told_lengths(cheap, dear, known=({}, tenants)))[0] == "dear"
    assert names(told_lengths(cheap, dear, known=({"another": 1}, tenants)))[0] == "dear"


def test_a_limit_on_cost_is_held_to_the_careful_guess() -> None:
    cheap, dear = priced("cheap", 0.05, 0.4), priced("dear", 2.5, 10)
    plan = told_lengths(cheap, dear, known=({"dear": 10},), declared={"max_cost_nano_usd": 459_600})
    assert names(plan) == ["cheap"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [
        ("dear", "it would cost 0.0026 USD, above 0.0004596")
    ]


def test_an_error_names_what_is_demanded_and_at_most_20_models() -> None:
    models = [priced(f"m{number:02}", 1, 1) for number in range(25)]
    with pytest.raises(NoModelFits) as refused:
        plan_for(*models, needs=["vision"], declared={"region": "eu", "min_quality": "premium"})
    assert refused.value.message == "no model fits this call of 'auto': m00 comes nearest, but it lacks vision"
    assert refused.value.details["demanded"] == {
        "capabilities": ["vision"], "min_quality": "premium", "region": "eu", "input_tokens": 1000,
        "max_output_tokens": 500, "kind": "chat",
    }  # fmt: skip
    assert len(refused.value.details["fell_out"]) == 20
    assert len(refused.value.fell_out) == 25


SMALL, LARGE = (
    priced("small", 1, 2, max_output_tokens=2000, context_tokens=8000),
    priced("large", 9, 9, max_output_tokens=4000, context_tokens=90_000, capabilities=frozenset({"vision"})),
)
KEYLESS = priced("keyless", 1, 1, api_key_env="NO_SUCH_KEY")
VECTORS = priced("vectors", 1, 1, kind="embedding")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_output_tokens": 4001}, "large comes nearest, but it gives at most 4000 output tokens, not 4001"),
        # What is demanded besides, and met, is not what it fails for.
        ({"max_output_tokens": 4001, "declared": {"deny": frozenset({"small"})}},
         "large comes nearest, but it gives at most 4000 output tokens, not 4001"),
        ({"input_tokens": 10**6},
         "large comes nearest, but 1000000 input and 500 output tokens do not fit into its context of 90000"),
        ({"extras": ONE_SEARCH}, "large comes nearest, but it has no price for web searches"),
        ({"needs": ["vision", "audio"]}, "large comes nearest, but it lacks audio"),
        ({"needs": ["vision"], "declared": {"region": "eu"}},
         "large comes nearest, but it runs in a region nobody has noted, not in eu"),
        ({"declared": {"min_quality": "premium"}}, "large comes nearest, but its quality tier is standard, below premium"),
        ({"declared": {"max_cost_nano_usd": 1}}, "small comes nearest, but it would cost 0.002 USD, above 0.000000001"),
        ({"declared": {"max_latency_ms": 1}}, "small comes nearest, but it is expected to take 800 ms (p95), above 1"),
        ({"declared": {"deny": frozenset({"vendor/*"})}}, "large comes nearest, but it is on the list of models not to use"),
        # Those that the caller allows are what it cares about.
        ({"declared": {"allow": frozenset({"keyless"})}},
         "none can be called (keyless: provider vendor has no key under Vendor keys, and the environment variable NO_SUCH_KEY is empty)"),
    ],
)  # fmt: skip
def test_where_nothing_fits_it_is_told_what_the_nearest_falls_out_for(
    asked: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for models in ((KEYLESS, VECTORS, SMALL, LARGE), (LARGE, SMALL, VECTORS, KEYLESS)):
        with pytest.raises(NoModelFits) as refused:
            plan_for(*models, **asked)
        assert refused.value.message == f"no model fits this call of 'auto': {told}"


def test_where_a_route_has_one_model_it_is_told_why_that_cannot_do_it() -> None:
    retired = priced("old", 1, 2, retires_at=NOW)
    catalog = catalog_of(
        retired, SMALL, routes=[
            route("one", strategy="pinned", models=("old",)),
            route("all", strategy="pinned", options={"model": "old"}),
            route("none", models=("gone", "away")),
            route("shared-out", strategy="weighted", options={"split": {"old": 1.0}}),
        ],
    )  # fmt: skip
    told = {}
    for name in ("one", "all", "none", "shared-out"):
        with pytest.raises(NoModelFits) as refused:
            make_plan(catalog, wanted(name))
        told[name] = refused.value.message.partition(": ")[2]
    assert told == {
        "one": "there is only old, and it was retired on 2026-11-24 UTC",
        "all": "old, to which the route is pinned, cannot do it (old: it was retired on 2026-11-24 UTC)",
        "none": "none can be called (away: no model is called so)",
        "shared-out": "none of the models that calls are shared out among can do it (old: it was retired on "
        "2026-11-24 UTC)",
    }
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog_of(routes=[AUTO]), wanted())
    assert refused.value.message == "no model fits this call of 'auto': there is no model to choose from"


def test_what_is_asked_for_beside_words_is_demanded_in_plain_words() -> None:
    with pytest.raises(NoModelFits) as refused:
        plan_for(priced("m", 1, 1), needs=["choices", "logprobs", "vision"])
    assert refused.value.details["demanded"]["capabilities"] == [
        "log probabilities",
        "several answers at once",
        "vision",
    ]
    assert refused.value.message == "no model fits this call of 'auto': there is only m, and it lacks vision"


@pytest.mark.parametrize(
    ("region", "demanded", "is_in"),
    [("eu", "eu", True), ("eu-west-1", "eu", True), ("europe", "eu", False), ("eu", "eu-west-1", False), ("", "eu", False)],
)  # fmt: skip
def test_a_part_of_a_region_is_in_it(region: str, demanded: str, is_in: bool) -> None:
    assert is_in_region(region, demanded) is is_in


# The sandbox, wildcards, embeddings


def test_the_sandbox_stands_in_only_where_no_vendor_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = [
        priced(name, 0.1, 0.1, dialect="sandbox", base_url="")
        for name in ("sandbox-small", "sandbox-slow", "sandbox-error")
    ]
    vendor = priced("vendors", 9, 9, api_key_env="THE_KEY")
    monkeypatch.delenv("THE_KEY", raising=False)
    alone = plan_for(*sandbox, vendor)
    assert names(alone) == ["sandbox-small"]
    assert {each.model: each.reason for each in alone.fell_out}["sandbox-error"] == (
        "it is made for tests, and used by name only"
    )
    monkeypatch.setenv("THE_KEY", "k")
    beside = plan_for(*sandbox, vendor)
    assert names(beside) == ["vendors"]
    assert {each.model: each.reason for each in beside.fell_out}["sandbox-small"] == (
        "it is the sandbox, which stands in only where no vendor can be called"
    )
    named = make_plan(
        catalog_of(*sandbox, vendor, routes=[route("auto", models=("sandbox-error", "sandbox-small"))]), wanted()
    )
    assert names(named) == ["sandbox-error", "sandbox-small"]


@pytest.mark.parametrize(
    ("strategy", "options", "found"),
    [
        ("weighted", {"split": {"sandbox-small": 0.5, "sandbox-error": 0.5}}, {"sandbox-small", "sandbox-error"}),
        ("judgment-based", {"workhorses": ["sandbox-small"], "judges": ["sandbox-error"]}, {"sandbox-small", "sandbox-error"}),
        ("judgment-based", {"workhorses": ["sandbox-small"]}, {"sandbox-small", "judge"}),
        ("pinned", {"model": "sandbox-small"}, {"sandbox-small"}),
        ("cost-optimized", {}, {"vendors", "judge"}),
    ],
)  # fmt: skip
def test_the_sandbox_that_a_routes_options_name_answers_beside_vendors_as_one_that_its_models_name(
    strategy: str, options: dict[str, Any], found: set[str]
) -> None:
    sandbox = [priced(name, 0.1, 0.1, dialect="sandbox", base_url="") for name in ("sandbox-small", "sandbox-error")]
    vendors = [priced("vendors", 9, 9), priced("judge", 20, 20, quality="premium")]
    mine = route("mine", strategy, options=options)
    plan = make_plan(catalog_of(*sandbox, *vendors, routes=[mine]), wanted("mine"))
    assert set(names(plan)) == found
    assert not {each.model for each in plan.fell_out} & found


def test_a_wildcard_is_no_candidate_but_what_it_catches_may_be_named() -> None:
    catalog = catalog_of(priced("llama-*", 1, 1), priced("m", 2, 2), routes=[AUTO, route("mine", models=("llama-3",))])
    assert names(make_plan(catalog, wanted("auto"))) == ["m"]
    assert names(make_plan(catalog, wanted("mine"))) == ["llama-3"]


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("llama-*", "llama-*"), ("LLAMA-*", "llama-*"), ("vendor/llama-*", "llama-*"), ("any-llama", "llama-*"),
        ("llama-3*", "llama-3*"),
    ],
)  # fmt: skip
def test_a_wildcard_that_a_route_names_itself_answers_no_call(named: str, found: str) -> None:
    models = [priced("llama-*", 1, 1, aliases=("any-llama",)), priced("off", 1, 1, is_enabled=False), priced("m", 2, 2)]
    among, spare = route("among", models=(named, "m")), route("spare", models=("off",), fallback=(named, "m"))
    alone = route("alone", models=("off",), fallback=(named,))
    catalog = catalog_of(*models, routes=[among, spare, alone])
    for name in ("among", "spare"):
        plan = make_plan(catalog, wanted(name))
        assert names(plan) == ["m"]
        assert (found, "it is a wildcard, which stands for no model in particular") in [
            (each.model, each.reason) for each in plan.fell_out
        ]
    with pytest.raises(NoModelFits):
        make_plan(catalog, wanted("alone"))


def test_embeddings_keep_their_model_and_are_never_answered_by_another() -> None:
    models = [priced(name, usd, 0, kind="embedding") for name, usd in (("a", 1), ("b", 2), ("c", 3))]
    rule = route("all", match={"model": ["*"]}, models=("c",))
    catalog = catalog_of(*models, priced("chat", 1, 1), routes=[AUTO, rule])
    asked = {"kind": "embedding", "wire": "embeddings", "max_output_tokens": 0}
    assert names(make_plan(catalog, wanted("b", **asked))) == ["b"]
    plan = make_plan(catalog, wanted("auto", **asked))
    assert (names(plan), plan.cheaper) == (["a"], ())


# Which route a call goes by


def route_of(catalog: Catalog, name: str, **facts: Any) -> str | None:
    found = find_route(catalog, wanted(name, **facts))
    return None if found is None else f"{found.tenant_id or 'shared'}:{found.name}"


def test_a_model_stands_before_a_route_of_its_name_but_auto_is_always_a_route() -> None:
    models = [priced("fast", 1, 1), priced("auto", 1, 1), priced("m", 1, 1, aliases=("cheap",)), priced("s*", 1, 1)]
    catalog = catalog_of(*models, routes=[route(name) for name in ("fast", "cheap", "smart")])
    assert [route_of(catalog, name) for name in ("m", "fast", "cheap")] == [None, None, None]
    assert [route_of(catalog, name) for name in ("auto", "smart")] == ["shared:auto", "shared:smart"]
    assert names(make_plan(catalog, wanted("m"))) == ["m"]


def test_ones_own_route_hides_the_shared_one_and_no_one_else_sees_it() -> None:
    routes = [AUTO, route("auto", "pinned", tenant_id=TENANT, models=("b",)), route("auto", tenant_id=8, models=("c",))]
    catalog = catalog_of(priced("a", 1, 1), priced("b", 2, 2), priced("c", 3, 3), routes=routes)
    assert names(make_plan(catalog, wanted())) == ["b"]
    assert names(make_plan(catalog, replace(wanted(), tenant_id=8))) == ["c"]
    assert names(make_plan(catalog, replace(wanted(), tenant_id=9)))[0] == "a"


def test_a_route_that_is_switched_off_is_told_and_hides_the_shared_one() -> None:
    catalog = catalog_of(priced("a", 1, 1), routes=[AUTO, route("auto", tenant_id=TENANT, is_enabled=False)])
    with pytest.raises(ModelNotAvailable, match="the route is switched off"):
        make_plan(catalog, wanted())


def test_a_route_is_found_in_any_case_the_very_name_first_and_ones_own_before_a_shared_one() -> None:
    routes = [AUTO, route("fast"), route("Quick"), route("quick", tenant_id=TENANT), route("QUICK", tenant_id=8)]
    catalog = catalog_of(priced("gpt-5", 1, 1), priced("Fast-2", 1, 1), routes=[*routes, route("fast-2")])
    assert [route_of(catalog, name) for name in ("FAST", "Auto", "AUTO")] == [
        "shared:fast",
        "shared:auto",
        "shared:auto",
    ]
    assert [route_of(catalog, name) for name in ("quick", "Quick", "qUICK")] == ["7:quick", "shared:Quick", "7:quick"]
    assert route_of(catalog, "FAST-2") is None  # a model's name, and models stand before routes
    assert names(make_plan(catalog_of(priced("a", 1, 1)), wanted("AUTO"))) == ["a"]


def test_another_case_of_a_routes_name_is_what_the_catalog_has_first() -> None:
    models = [priced("Auto", 1, 1), priced("s*", 1, 1)]
    catalog = catalog_of(*models, routes=[AUTO, route("Smart"), route("fast")])
    found = {name: route_of(catalog, name) for name in ("Smart", "smart", "Fast", "Auto", "auto")}
    assert found == {"Smart": "shared:Smart", "smart": None, "Fast": "shared:fast", "Auto": None, "auto": "shared:auto"}


def test_auto_is_switched_off_by_itself_alone() -> None:
    nearly = catalog_of(priced("a", 1, 1), routes=[route("Auto", is_enabled=False)])
    assert [route_of(nearly, name) for name in ("auto", "AUTO")] == ["shared:auto", "shared:auto"]
    for name in ("auto", "Auto"):
        with pytest.raises(ModelNotAvailable, match="the route is switched off"):
            route_of(catalog_of(priced("a", 1, 1), routes=[route("auto", is_enabled=False)]), name)


def test_a_rule_is_found_by_the_name_that_is_asked_for_in_any_case() -> None:
    rule = route("support", match={"feature": ["support"]})
    named = route("saver", match={"feature": ["batch"], "model": ["GPT-5"]})
    catalog = catalog_of(priced("gpt-5", 1, 1), routes=[AUTO, rule, named])
    assert route_of(catalog, "Auto", attribution={"feature": "support"}) == "shared:support"
    assert route_of(catalog, "gpt-5", attribution={"feature": "batch"}) == "shared:saver"
    assert route_of(catalog, "Auto", attribution={"feature": "Support"}) == "shared:auto"  # keys are as they are


def test_a_name_that_nothing_has_is_unknown() -> None:
    with pytest.raises(UnknownModel):
        make_plan(catalog_of(priced("a", 1, 1), routes=[AUTO]), wanted("nothing"))


def test_a_rule_takes_the_calls_that_it_matches_and_ask_for_auto_or_a_name_of_its() -> None:
    rule = route("support", match={"feature": ["support", "chat"]})
    named = route("saver", match={"feature": ["batch"], "model": ["gpt-5", "auto"]})
    anyone = route("vip", match={"user": ["*"], "model": ["*"], "feature": ["vip"]})
    catalog = catalog_of(priced("gpt-5", 1, 1), routes=[AUTO, rule, named, anyone])

    def goes(name: str, **who: str) -> str | None:
        return route_of(catalog, name, attribution=who)

    assert goes("auto", feature="support") == goes("auto", feature="chat") == "shared:support"
    assert goes("auto", feature="other") == goes("auto") == "shared:auto"
    assert goes("gpt-5", feature="support") is None
    assert goes("gpt-5", feature="batch") == "shared:saver"
    assert goes("gpt-4", feature="batch") is None
    assert goes("gpt-5", feature="vip") is None
    assert goes("gpt-5", feature="vip", user="ada") == "shared:vip"
    assert goes("support") == "shared:support"  # a rule has a name as well


def test_of_several_rules_the_highest_priority_wins_then_ones_own_then_the_name() -> None:
    def rule(name: str, **facts: Any) -> Any:
        return route(name, match={"feature": ["f"]}, **facts)

    routes = [
        rule("c", priority=5),
        rule("b"),
        rule("a"),
        rule("z", tenant_id=TENANT),
        rule("y", priority=200),  # before an own one, and one whose name comes first
        rule("off", priority=900, is_enabled=False),
    ]
    order = []
    while routes:
        found = find_route(catalog_of(routes=routes), wanted(attribution={"feature": "f"}))
        if found is None or found.name == "auto":
            break
        order.append(found.name)
        routes = [each for each in routes if each.name != found.name]
    assert order == ["y", "z", "a", "b", "c"]


# The chain, and who stands by


def test_without_a_fallback_of_its_own_a_route_tries_the_next_two() -> None:
    models = [priced(name, usd, usd) for name, usd in (("a", 1), ("b", 2), ("c", 3), ("d", 4))]
    plan = plan_for(*models)
    assert names(plan) == ["a", "b", "c"]
    assert (plan.strategy, plan.route, plan.reason) == (
        "cost-optimized", "auto", "the cheapest of those that can do it",
    )  # fmt: skip
    assert plan.facts["alternatives"] == ["b", "c", "d"]
    assert plan.cheaper == ()


def test_one_of_the_two_is_at_another_provider_where_there_is_any() -> None:
    here = [priced(f"here-{number}", number, number) for number in (1, 2, 3, 4)]
    elsewhere = [at("other", priced(f"elsewhere-{number}", 10 * number, number)) for number in (1, 2)]
    assert names(plan_for(*here)) == ["here-1", "here-2", "here-3"]
    assert names(plan_for(*here, *elsewhere)) == ["here-1", "here-2", "elsewhere-1"]
    near = at("third", priced("near", 2, 1))
    assert names(plan_for(*here, *elsewhere, near)) == ["here-1", "near", "here-2"]


def test_a_fallback_may_be_outside_the_candidates_and_is_skipped_where_it_cannot() -> None:
    models = [priced("a", 1, 1), priced("b", 2, 2), priced("spare", 9, 9), priced("off", 1, 1, is_enabled=False)]
    mine = route("mine", models=("a", "b"), fallback=("off", "ghost", "a", "spare", "spare"))
    plan = make_plan(catalog_of(*models, routes=[mine]), wanted("mine"))
    assert names(plan) == ["a", "spare"]
    assert [(each.model, each.reason) for each in plan.fell_out] == [
        ("off", "it is switched off"), ("ghost", "no model is called so"),
    ]  # fmt: skip


# Where none of the route's models can be called

UNABLE: dict[str, tuple[dict[str, Any] | None, str]] = {
    "switched off": ({"is_enabled": False}, "it is switched off"),
    "missing": (None, "no model is called so"),
    "retired": ({"retires_at": NOW}, "it was retired on 2026-11-24 UTC"),
    "unable": ({"capabilities": frozenset()}, "it lacks vision"),
    "keyless": (
        {"api_key_env": "NO_SUCH_KEY"},
        "provider vendor has no key under Vendor keys, and the environment variable NO_SUCH_KEY is empty",
    ),
    "denied": ({"aliases": ("denied",)}, "it is on the list of models not to use"),
    "dear": ({"prices": priced("dear", 99, 99).prices}, "it would cost 0.1485 USD, above 0.03"),
}
SEES = frozenset({"vision"})
SPARE = priced("spare", 9, 9, capabilities=SEES)
DEMANDED: dict[str, Any] = {"needs": SEES, "declared": {"deny": frozenset({"denied"}), "max_cost_nano_usd": 30_000_000}}
NONE = "none of the route's models can be called: "
NONE_CHOSEN = "none of the route's models can be chosen: "


def unable(name: str, facts: dict[str, Any] | None) -> list[ModelFacts]:
    return [] if facts is None else [priced(name, 1, 1, **{"capabilities": SEES, **facts})]


@pytest.mark.parametrize("strategy", ["cost-optimized", "pinned", "weighted", "judgment-based"])
@pytest.mark.parametrize(("facts", "reason"), UNABLE.values(), ids=UNABLE)
def test_a_routes_fallback_answers_where_its_one_model_cannot_be_called(
    facts: dict[str, Any] | None, reason: str, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    options = {"split": {"a": 1.0}} if strategy == "weighted" else {}
    mine = route("mine", strategy, models=("a",), fallback=("ghost", "spare", "next"), options=options)
    models = [*unable("a", facts), SPARE, replace(SPARE, name="next")]
    plan = make_plan(catalog_of(*models, routes=[mine]), wanted("mine", **DEMANDED))
    assert names(plan) == ["spare", "next"]
    assert (plan.strategy, plan.route, plan.reason) == (strategy, "mine", f"{NONE}a ({reason})")
    assert (plan.begins_with_fallback, plan.confidence, plan.may_choose_cheaper) == (True, 0.5, True)
    # 1,500 tokens at 9 USD per million; nobody has scored, or drawn, a model.
    assert plan.facts == {"estimate_nano_usd": 13_500_000, "alternatives": ["next"]}
    assert (plan.cheaper, plan.review) == ((), None)
    assert {each.model: each.reason for each in plan.fell_out} == {"a": reason, "ghost": "no model is called so"}


EMPTY_RANKINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "split": ("weighted", {"split": {"off": 1.0}}, {},
              "none of the models that calls are shared out among can do it (off: it is switched off)"),
    "pinned": ("pinned", {"model": "off"}, {}, "off, to which the route is pinned, cannot do it (off: it is switched off)"),
    "pool": ("judgment-based", {"workhorses": ["off"], "judges": ["able"]}, {"text": "hello"},
             "none of the route's workhorses can do it (complexity 0.00 for a standard user)"),
}  # fmt: skip


@pytest.mark.parametrize(("strategy", "options", "asked", "why"), EMPTY_RANKINGS.values(), ids=EMPTY_RANKINGS)
def test_a_routes_fallback_answers_where_its_strategy_can_choose_none_of_its_models(
    strategy: str, options: dict[str, Any], asked: dict[str, Any], why: str
) -> None:
    models = [priced("off", 1, 1, is_enabled=False), priced("able", 2, 2), priced("spare", 9, 9)]
    given = {"models": ("off", "able"), "options": options}
    left, told = route("left", strategy, **given), route("told", strategy, fallback=("spare", "able"), **given)
    catalog = catalog_of(*models, routes=[left, told])
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog, wanted("left", **asked))
    assert refused.value.message == f"no model fits this call of 'left': {why}"
    plan = make_plan(catalog, wanted("told", **asked))
    assert (names(plan), plan.strategy, plan.reason) == (["spare", "able"], strategy, NONE_CHOSEN + why)
    assert plan.begins_with_fallback
    assert not {"experiment", "arm", "score"} & set(plan.facts)
    assert [each.model for each in plan.fell_out] == ["off"]


TOO_LATE = "no model is expected to answer within the timeout of 600 ms"
# The prior of 500 ms, and 100 for each USD of its prices together.
LATE = "it is expected to take {} ms (p95), above the timeout of 600"


def test_a_fallback_that_the_strategy_expects_too_late_is_not_asked_either() -> None:
    models = [priced("a", 1, 1), priced("b", 2, 2, aliases=("bee",)), priced("spare", 9, 9)]
    given = {"models": ("a", "b")}
    mixed = route("mixed", "latency-optimized", fallback=("bee", "spare", "a"), **given)
    late = route("late", "latency-optimized", fallback=("bee", "a"), **given)
    catalog = catalog_of(*models, routes=[mixed, late])
    in_a_hurry = {"declared": {"timeout_ms": 600}}
    plan = make_plan(catalog, wanted("mixed", **in_a_hurry))
    assert (names(plan), plan.begins_with_fallback, plan.reason) == (["spare"], True, NONE_CHOSEN + TOO_LATE)
    assert {each.model: each.reason for each in plan.fell_out} == {"a": LATE.format(700), "b": LATE.format(900)}
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog, wanted("late", **in_a_hurry))
    assert refused.value.message == f"no model fits this call of 'late': {TOO_LATE}"
    assert list(refused.value.fell_out) == [("a", LATE.format(700)), ("b", LATE.format(900))]


def test_after_a_failure_the_fallback_is_asked_though_it_is_expected_too_late() -> None:
    set_observed({"a": measured(100)})
    mine = route("mine", "latency-optimized", models=("a", "b"), fallback=("b",))
    catalog = catalog_of(priced("a", 1, 1), priced("b", 2, 2), routes=[mine])
    plan = make_plan(catalog, wanted("mine", declared={"timeout_ms": 600}))
    assert (names(plan), plan.begins_with_fallback) == (["a", "b"], False)


class SaysNothing(Strategy):
    """It chooses none, and gives no reason; what `leaves_out` it names."""

    name, summary = "says-nothing", "For tests: it chooses none of the models."

    def __init__(self, *leaves_out: str) -> None:
        self.leaves_out = leaves_out

    def settings(self, given: Mapping[str, Any], models: Any) -> None:
        return None

    def rank(self, options: Any, task: Task, settings: Any) -> Ranking:
        return Ranking((), "", "", fell_out=tuple(FellOut(name, "it is Monday") for name in self.leaves_out))


@pytest.mark.parametrize(
    ("leaves_out", "why"),
    [
        (("a",), "a (it is Monday)"),
        ((), "off (it is switched off)"),
    ],
)
def test_for_a_strategy_that_says_no_reason_the_models_own_reasons_are_told(
    leaves_out: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES, "says-nothing", SaysNothing(*leaves_out))
    models = [priced("a", 1, 1), priced("off", 1, 1, is_enabled=False), SPARE]
    told = route("told", "says-nothing", models=("a", "off"), fallback=("spare",))
    left = route("left", "says-nothing", models=("a", "off"))
    catalog = catalog_of(*models, routes=[told, left])
    assert make_plan(catalog, wanted("told")).reason == NONE_CHOSEN + why
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog, wanted("left"))
    assert refused.value.message == f"no model fits this call of 'left': {why}"


def test_a_strategy_that_tells_nothing_at_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "says-nothing", SaysNothing())
    mine = route("mine", "says-nothing", models=("a",), fallback=("spare",))
    plan = make_plan(catalog_of(priced("a", 1, 1), SPARE, routes=[mine]), wanted("mine"))
    assert (names(plan), plan.reason) == (["spare"], f"{NONE_CHOSEN}says-nothing gives no reason")


def test_a_fallback_is_no_stand_in_while_a_model_of_the_route_can_be_called() -> None:
    mine = route("mine", models=("off", "a"), fallback=("spare",))
    plan = make_plan(
        catalog_of(priced("off", 1, 1, is_enabled=False), priced("a", 9, 9), SPARE, routes=[mine]), wanted("mine")
    )
    assert (names(plan), plan.begins_with_fallback) == (["a", "spare"], False)


def test_of_many_models_that_cannot_be_called_the_three_nearest_are_told() -> None:
    models = [priced(f"m{number}", 1, 1, is_enabled=False) for number in range(4)]
    mine = route("mine", models=(*(model.name for model in models), "blind"), fallback=("spare",))
    plan = make_plan(catalog_of(*models, priced("blind", 1, 1), SPARE, routes=[mine]), wanted("mine", needs=SEES))
    off = "it is switched off"
    assert plan.reason == f"{NONE}blind (it lacks vision), m0 ({off}), m1 ({off}) and 2 more"


def test_where_the_fallback_falls_out_as_well_both_are_told() -> None:
    models = [priced("a", 1, 1, is_enabled=False), priced("blind", 1, 1), priced("plain", 1, 1, region="eu")]
    catalog = catalog_of(
        *models, routes=[
            route("mine", models=("a",), fallback=("blind", "ghost")),
            route("late", "latency-optimized", models=("plain",), fallback=("blind",), options={"region": "eu"}),
            route("itself", models=("a",), fallback=("a",)),
        ],
    )  # fmt: skip
    told = {}
    for name, asked in (("mine", {"needs": SEES}), ("late", {"declared": {"timeout_ms": 600}}), ("itself", {})):
        with pytest.raises(NoModelFits) as refused:
            make_plan(catalog, wanted(name, **asked))
        details = refused.value.details["fell_out"]
        told[name] = (refused.value.message.partition(": ")[2], [each["model"] for each in details])
    assert told == {
        "mine": ("none can be called (a: it is switched off); nor can its fallback: blind comes nearest, but it lacks "
                 "vision", ["blind", "a", "ghost"]),
        "late": ("no model is expected to answer within the timeout of 600 ms; nor can its fallback: there is only "
                 "blind, and it runs in a region nobody has noted, not in eu", ["plain", "blind"]),
        "itself": ("none can be called (a: it is switched off)", ["a"]),
    }  # fmt: skip


def test_no_fallback_steps_in_for_a_model_that_embeds() -> None:
    models = [priced("a", 1, 0, kind="embedding", is_enabled=False), priced("b", 2, 0, kind="embedding")]
    catalog = catalog_of(*models, routes=[route("vectors", models=("a",), fallback=("b",))])
    with pytest.raises(NoModelFits, match=r"none can be called \(a: it is switched off\)$"):
        make_plan(catalog, wanted("vectors", kind="embedding", wire="embeddings", max_output_tokens=0))


def test_a_dry_run_shows_the_fallback_that_would_answer() -> None:
    mine = route("mine", "weighted", models=("a",), fallback=("spare", "next"), options={"split": {"a": 1.0}})
    models = [priced("a", 1, 1, is_enabled=False), SPARE, replace(SPARE, name="next")]
    found = dry_run(catalog_of(*models, routes=[mine]), ReadRequest(wanted("mine"), lambda model: NO_EXTRAS))
    assert [(line.option.name, line.role, line.score) for line in found.lines] == [
        ("spare", "chosen", None), ("next", "fallback", None),
    ]  # fmt: skip
    assert (found.measure, found.error) == ("", None)
    assert found.plan is not None and found.plan.reason == f"{NONE}a (it is switched off)"
    assert [each.model for each in found.fell_out] == ["a"]


class Words:
    """A request that is written in `size` values, and whom it was said to; `unsaid` have no word for its `top_k`."""

    def __init__(self, size: int, *unsaid: str) -> None:
        self.size, self._unsaid, self.said_to = size, unsaid, list[str]()

    def check(self, model: ModelFacts) -> None:
        self.said_to.append(model.name)
        if model.name in self._unsaid:
            raise NotTranslatable("top_k", "nobody's")

    def tried(self, *routes: RouteFacts, wire: str = MESSAGES) -> DryRun:
        """Against a hundred models, m000 the cheapest of them."""
        models = [priced(f"m{number:03}", 1 + number, 1) for number in range(100)]
        read = ReadRequest(wanted("mine", wire=wire), lambda model: NO_EXTRAS, self.check, self.size)
        return dry_run(catalog_of(*models, routes=routes), read)


def roles(found: DryRun) -> dict[str, str]:
    return {line.option.name: line.role for line in found.lines}


MINE = route("mine", fallback=("m001", "m002"))
# As judgment-based does, it chooses a dear one: all that are cheaper stand by, the dearest of them first.
DEAR = route("mine", "judgment-based", options={"judges": ["m099"], "confidence_threshold": 1.0}, fallback=("m098",))


def test_a_short_request_is_said_to_each_model_of_the_ranking() -> None:
    words = Words(100, "m001", "m050")
    found = words.tried(MINE)
    assert sorted(words.said_to) == [f"m{number:03}" for number in range(100)]
    assert {each.model for each in found.fell_out} == {"m001", "m050"}


def test_a_long_request_is_said_to_few_models_and_the_others_are_left_as_ranked() -> None:
    words = Words(MOST_VALUES // 4, "m001", "m050")
    found = words.tried(MINE)
    assert words.said_to == ["m000", "m001", "m002", "m003"]
    assert [each.model for each in found.fell_out] == ["m001"]
    assert (roles(found)["m002"], roles(found)["m050"]) == ("fallback", "ranked")


def test_a_longer_one_is_said_to_the_first_that_can_be_told_as_its_call_is() -> None:
    words = Words(MOST_VALUES + 1)
    assert words.tried(MINE).lines[0].option.name == "m000"
    assert words.said_to == ["m000"]
    words = Words(MOST_VALUES + 1, "m000", "m001")
    found = words.tried(MINE)
    assert (found.lines[0].option.name, words.said_to) == ("m002", ["m000", "m001", "m002"])


def test_where_many_stand_by_the_first_that_can_be_told_is_looked_for_longer_but_not_for_ever() -> None:
    unsaid = [f"m{number:03}" for number in range(100)]
    words = Words(MOST_VALUES // 2, *unsaid[92:])
    found = words.tried(DEAR)
    assert words.said_to == ["m099", "m098", "m097", "m096", "m095", "m094", "m093", "m092"]
    assert found.lines[0].option.name == "m091"  # taken for one that can be told
    words = Words(MOST_VALUES // 10, *unsaid[90:])
    assert words.tried(DEAR).lines[0].option.name == "m089"
    assert len(words.said_to) == 11


def test_a_model_that_takes_the_request_as_it_is_counts_for_little() -> None:
    words = Words(MOST_VALUES // 4)
    words.tried(MINE, wire=CHAT)
    assert len(words.said_to) == 4 * CHEAPER_UNTOUCHED


def test_cheaper_ones_stand_by_the_cheapest_last() -> None:
    models = [priced(name, usd, usd) for name, usd in (("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 9))]
    set_observed({"d": measured(10)})
    catalog = catalog_of(*models, routes=[route("fast", "latency-optimized", fallback=("e",))])
    plan = make_plan(catalog, wanted("fast"))
    assert names(plan) == ["d", "e"]
    assert [candidate.model.name for candidate in plan.cheaper] == ["c", "b", "a"]
    assert plan.may_choose_cheaper
    assert not make_plan(catalog, wanted("d")).may_choose_cheaper


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.sampled_from(["cost-optimized", "latency-optimized", "judgment-based", "capability-based", "budget-aware"]),
    st.integers(0, 8),
)
def test_no_model_is_in_a_plan_twice_and_cheaper_ones_are_cheaper(prices: list[int], strategy: str, most: int) -> None:
    models = [priced(f"m{number}", usd, usd) for number, usd in enumerate(prices)]
    asked = wanted(text="why " * 50, declared={"max_cost_nano_usd": most * 1_500_000 or None})
    try:
        choice = choose(catalog_of(*models, routes=[route("auto", strategy)]), asked)
    except NoModelFits:
        assert most and min(prices) > most
        return
    plan, costs = choice.plan, {f"m{number}": usd for number, usd in enumerate(prices)}
    tried, spare = names(plan), [candidate.model.name for candidate in plan.cheaper]
    assert len({*tried, *spare}) == len(tried) + len(spare)
    assert all(costs[name] < costs[tried[0]] for name in spare)
    assert [costs[name] for name in spare] == sorted((costs[name] for name in spare), reverse=True)
    assert {*tried, *spare}.isdisjoint(each.model for each in plan.fell_out)
    if most:
        assert max(costs[name] for name in (*tried, *spare)) <= most


# What a route and a caller say


def test_a_routes_demands_hold_beside_the_callers() -> None:
    models = [
        priced("a", 1, 1, region="us"),
        priced("b", 2, 2, region="eu"),
        priced("c", 3, 3, region="eu", quality="premium"),
    ]
    options = {
        "region": "eu",
        "max_cost": "0.01",
        "deny": ["d"],
        "timeout_ms": 5000,
        "retries": 1,
        "falls_back_on_refusal": True,
    }
    catalog = catalog_of(*models, routes=[route("safe", options=options)])
    plan = make_plan(catalog, wanted("safe", declared={"min_quality": "premium", "timeout_ms": 9000}))
    assert names(plan) == ["c"]
    assert (plan.timeout_ms, plan.retries, plan.falls_back_on_refusal) == (5000, 1, True)
    with pytest.raises(NoModelFits):
        make_plan(catalog, wanted("safe", declared={"region": "us"}))
    assert make_plan(catalog, wanted("safe", declared={"timeout_ms": 900})).timeout_ms == 900


def test_a_caller_may_ask_for_another_strategy_and_the_routes_demands_still_hold() -> None:
    models = [priced("a", 1, 1), priced("b", 2, 2, region="eu"), priced("c", 3, 3, region="eu")]
    set_observed({"c": measured(10)})
    catalog = catalog_of(*models, routes=[route("safe", "pinned", options={"model": "b", "region": "eu"})])
    plan = make_plan(catalog, wanted("safe", declared={"strategy": "latency-optimized"}))
    assert (plan.strategy, names(plan)) == ("latency-optimized", ["c", "b"])
    with pytest.raises(InvalidRoute, match="weighted needs a split"):
        make_plan(catalog, wanted("safe", declared={"strategy": "weighted"}))


def test_lists_of_routes_and_callers_heed_no_capitals_of_named_models_either() -> None:
    safe = route("safe", options={"deny": ["M"]})
    catalog = catalog_of(priced("m", 1, 2), priced("Other", 3, 4), routes=[safe])
    assert names(make_plan(catalog, wanted("safe"))) == ["Other"]
    with pytest.raises(NoModelFits, match="'m': it is on the list of models not to use"):
        make_plan(catalog, wanted("m", declared={"deny": frozenset({"Vendor/*"})}))
    with pytest.raises(NoModelFits) as refused:
        make_plan(catalog, wanted("Other", declared={"allow": frozenset({"M"})}))
    # What was demanded is told as it was written.
    assert refused.value.details["demanded"]["allow"] == ["M"]


def test_a_named_model_is_held_to_what_is_declared_and_not_to_what_the_request_shows() -> None:
    catalog = catalog_of(priced("m", 1, 2))
    assert names(make_plan(catalog, wanted("m", needs=["vision"], declared={"timeout_ms": 10}))) == ["m"]
    with pytest.raises(NoModelFits, match="no model fits this call of 'm': it runs in a region nobody has noted"):
        make_plan(catalog, wanted("m", declared={"region": "eu"}))
    with pytest.raises(ModelNotAvailable, match="it is a model for chat, not for embedding"):
        make_plan(catalog, wanted("m", kind="embedding"))


# Hooks, and strategies of one's own


class Alphabetical(Strategy):
    """The last in the alphabet, to tell it from every other."""

    name = "alphabetical"
    summary = "For tests."

    def settings(self, given: Mapping[str, Any], models: Any) -> None:
        return None

    def rank(self, options: Any, task: Task, settings: Any) -> Ranking:
        ordered: list[Option] = sorted(options, key=lambda option: option.name, reverse=True)
        return Ranking(tuple(Ranked(option, 0.0) for option in ordered), "the last in the alphabet", "")


def test_who_steps_in_for_a_chosen_model_is_held_to_the_request_the_caller_and_the_route() -> None:
    plain, sees = priced("plain", 1, 1), priced("sees", 2, 2, capabilities=frozenset({"vision"}), region="eu-west-1")
    strategy = route("auto", options={"region": "eu"})
    catalog = catalog_of(plain, sees, routes=[strategy])
    named = make_plan(catalog, wanted("plain", needs={"vision"}))
    assert [named.may_be_answered_by(each) for each in (plain, sees)] == [False, True]
    named = make_plan(catalog, wanted("plain", declared={"deny": frozenset({"sees"})}))
    assert [named.may_be_answered_by(each) for each in (plain, sees)] == [True, False]
    routed = make_plan(catalog, wanted("auto"))
    assert [routed.may_be_answered_by(each) for each in (plain, sees)] == [False, True]
    assert Plan(routed.candidates).may_be_answered_by(plain)  # nothing is known of the call


@pytest.mark.parametrize(("drawn", "is_reviewed"), [(0.0, True), (0.24, True), (0.25, False), (0.99, False)])
def test_a_share_of_the_answers_is_reviewed(monkeypatch: pytest.MonkeyPatch, drawn: float, is_reviewed: bool) -> None:
    monkeypatch.setattr(random, "random", lambda: drawn)
    options = {"workhorses": ["a"], "judges": ["b"], "reviewers": ["b"], "review_share": 0.25}
    judged = route("auto", "judgment-based", options=options)
    plan = make_plan(catalog_of(priced("a", 1, 1), priced("b", 2, 2), routes=[judged]), wanted(text="hello"))
    assert (plan.review is not None) is is_reviewed


@pytest.mark.parametrize(("drawn", "is_scored"), [(0.0, True), (0.24, True), (0.25, False), (0.99, False)])
@pytest.mark.parametrize("strategy", [None, "latency-optimized"])
def test_a_share_of_the_answers_is_scored_whatever_the_strategy(
    monkeypatch: pytest.MonkeyPatch, strategy: str | None, drawn: float, is_scored: bool
) -> None:
    monkeypatch.setattr(random, "random", lambda: drawn)
    sampled = route("auto", models=("a",), options={"scored_by": "b", "scored_share": 0.25})
    catalog = catalog_of(priced("a", 1, 1), priced("b", 2, 2), routes=[sampled])
    scoring = make_plan(catalog, wanted(declared={"strategy": strategy})).scoring
    assert (scoring is not None) is is_scored
    if scoring is not None:
        assert isinstance(scoring.scorer, Candidate) and scoring.scorer.model.name == "b"


def test_a_scorer_is_held_to_who_may_see_the_call_and_where_it_may_run_alone() -> None:
    models = [priced("a", 1, 1, region="eu", capabilities=frozenset({"vision"})), priced("b", 900, 900, region="eu")]
    options = {"scored_by": "b", "scored_share": 1, "region": "eu", "max_cost": "0.01", "min_quality": "standard"}
    catalog = catalog_of(*models, priced("c", 1, 1), routes=[route("auto", options=options), route("plain")])

    def scorer(name: str = "auto", **facts: Any) -> Candidate | FellOut | None:
        scoring = make_plan(catalog, wanted(name, **facts)).scoring
        return None if scoring is None else scoring.scorer

    found = scorer(needs={"vision"})
    assert isinstance(found, Candidate) and found.model.name == "b"
    denied = scorer(declared={"deny": frozenset({"b"})})
    assert isinstance(denied, FellOut) and denied.reason == "it is on the list of models not to use"
    assert scorer("plain") is None
    assert scorer("a") is None


def test_embeddings_are_not_scored() -> None:
    models = [priced("a", 1, 0, kind="embedding"), priced("b", 1, 1)]
    catalog = catalog_of(
        *models, routes=[route("vectors", models=("a",), options={"scored_by": "b", "scored_share": 1})]
    )
    plan = make_plan(catalog, wanted("vectors", kind="embedding", wire="embeddings", max_output_tokens=0))
    assert plan.scoring is None


def test_a_strategy_of_ones_own_is_one_class_and_one_registration() -> None:
    register(Alphabetical())
    try:
        plan = make_plan(
            catalog_of(priced("a", 1, 1), priced("z", 9, 9), routes=[route("auto", "alphabetical")]), wanted()
        )
        assert (names(plan), plan.strategy) == (["z", "a"], "alphabetical")
    finally:
        del STRATEGIES["alphabetical"]


@pytest.fixture
def no_hooks() -> Iterator[None]:
    yield
    for registered in (hooks.BEFORE_ROUTING, hooks.AFTER_ROUTING, hooks.AFTER_EXECUTION):
        registered.clear()


def test_hooks_see_and_change_what_is_wanted_and_see_the_plan(no_hooks: None) -> None:
    seen: list[Any] = []
    hooks.BEFORE_ROUTING.append(lambda wanted: replace(wanted, name="b"))
    hooks.AFTER_ROUTING.append(lambda wanted, plan: seen.append((wanted.name, names(plan))))
    hooks.AFTER_EXECUTION.append(seen.append)
    assert names(make_plan(catalog_of(priced("a", 1, 1), priced("b", 2, 2)), wanted("a"))) == ["b"]
    hooks.run_after_execution({"model": "b"})
    assert seen == [("b", ["b"]), {"model": "b"}]


def test_a_hook_that_fails_is_logged_and_fails_no_call(no_hooks: None, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*given: Any) -> Wanted:
        raise RuntimeError("broken hook")

    hooks.BEFORE_ROUTING.append(broken)
    hooks.AFTER_ROUTING.append(broken)
    hooks.AFTER_EXECUTION.append(broken)
    with caplog.at_level(logging.ERROR, logger="routing.hooks"):
        assert names(make_plan(catalog_of(priced("a", 1, 1)), wanted("a"))) == ["a"]
        hooks.run_after_execution({})
    assert [record.getMessage().rsplit(" ", 2)[1:] for record in caplog.records] == [
        ["routing", "failed"], ["routing", "failed"], ["execution", "failed"],
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [{"input_tokens": 500}, {"max_output_tokens": 101}, {}])
def test_a_named_model_is_asked_for_although_it_is_retired_or_small_whatever_else_is_declared(
    asked: dict[str, Any],
) -> None:
    small = replace(priced("m1", 1, 1), retires_at=NOW - timedelta(days=1), context_tokens=400, max_output_tokens=100)
    declared = {"max_cost_nano_usd": 10**9, "allow": frozenset({"M1"})}
    assert names(make_plan(catalog_of(small), wanted("m1", declared=declared, **asked))) == ["m1"]
    with pytest.raises(NoModelFits):
        make_plan(catalog_of(small, routes=[AUTO]), wanted("auto", declared=declared, **asked))


def test_a_named_model_costs_microseconds_and_a_choice_among_100_a_millisecond() -> None:
    models = [priced(f"m{number}", number + 1, number + 1) for number in range(100)]
    catalog = catalog_of(*models, routes=[AUTO, route("rule", match={"feature": ["x"]})])
    named, auto = wanted("m5"), wanted("auto")

    def best_of(asked: Wanted, times: int) -> float:
        spent = []
        for _ in range(20):
            began = time.thread_time()  # what others do on this machine does not count
            for _ in range(times):
                make_plan(catalog, asked)
            spent.append((time.thread_time() - began) / times)
        return min(spent)

    # Ten times what they take where coverage is measured: a quadratic step or a lost cache would show.
    assert best_of(named, 50) < 300e-6
    assert best_of(auto, 3) < 25e-3


def test_models_are_compared_by_what_the_tier_that_is_asked_for_costs() -> None:
    def tiered(name: str, standard: float, priority: float) -> ModelFacts:
        model, dearer = priced(name, standard, standard), priced(name, priority, priority)
        return replace(model, prices=PriceTable(model.prices.prices, {"priority": dearer.prices.prices}))

    models = (tiered("cheap", 1, 9), tiered("even", 2, 4))
    assert names(plan_for(*models)) == ["cheap", "even"]
    assert names(plan_for(*models, extras=Extras(service_tier="priority"))) == ["even", "cheap"]
    # 1,500 tokens at 4 USD per million, then at 9.
    bound = {"max_cost_nano_usd": 6_000_000}
    assert names(plan_for(*models, extras=Extras(service_tier="priority"), declared=bound)) == ["even"]
