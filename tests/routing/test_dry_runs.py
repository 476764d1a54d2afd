"""A dry run says what the call itself would come to: who would answer it, and what would be held for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from routing.models import Model, Price, Provider, Route
from routing.performance import forget_observed
from spendhub.money import parse_usd
from telemetry.expected_outputs import set_learned
from tests.factories import TenantFactory
from tests.routing.strategies.facts import NOW
from tests.routing.test_routes_api import Caller

pytestmark = pytest.mark.django_db

HELLO = [{"role": "user", "content": "hello"}]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}


@pytest.fixture
def acme() -> Caller:
    return Caller(TenantFactory(slug="acme"))


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    forget_observed()
    set_learned({})
    yield
    set_learned({})


@pytest.fixture(autouse=True)
def catalog() -> None:
    """`small` costs 1 USD per million tokens in and 2 out, `searching` 2 and 4 with searches at 10 USD per thousand,
    `gpt-5-search-api` and `sound` 3 and 6, `claude`, which speaks Anthropic's words and searches too, 5 and 10, `large`
    10 and 20, and as priority twice that."""
    vendor = Provider.objects.create(tenant=None, name="vendor", base_url="https://vendor.example/v1")
    other = Provider.objects.create(tenant=None, name="other", dialect="anthropic", base_url="https://other.example")
    for name, usd, capabilities in (
        ("small", "1", ["tools"]), ("searching", "2", ["tools"]), ("gpt-5-search-api", "3", []), ("sound", "3", ["audio"]),
        ("claude", "5", ["tools"]), ("large", "10", ["tools"]),
    ):  # fmt: skip
        provider = other if name == "claude" else vendor
        model = Model.objects.create(tenant=None, provider=provider, name=name, capabilities=capabilities)
        searches = parse_usd("10") if name in ("searching", "gpt-5-search-api", "claude") else None
        set_price(model, usd, web_search_nano_usd_per_thousand=searches)
        if name == "large":
            set_price(model, "20", service_tier="priority")
    Route.objects.create(tenant=None, name="auto")
    for name, match in (("adas", {"user": ["ada"]}), ("faqs", {"feature": ["faq"]})):
        Route.objects.create(tenant=None, name=name, match=match, candidate_models=["large"])


def set_price(model: Model, usd: str, **fields: Any) -> None:
    rate = parse_usd(usd)
    Price.objects.create(
        tenant=None, model=model, valid_from=NOW.replace(year=2020), input_nano_usd_per_mtok=rate,
        output_nano_usd_per_mtok=2 * rate, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({}, "small"),
        ({"web_search_options": {}}, "searching"),
        ({"tools": [SEARCH], "max_tokens": 9}, "claude"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "sound"),
        ({"spendhub": {"allow": ["large"]}}, "large"),
        ({"model": "large"}, "large"),
    ],
)
def test_who_answers_depends_on_all_that_the_body_says(acme: Caller, fields: dict[str, Any], chosen: str) -> None:
    assert acme.try_call(body={"messages": HELLO, **fields})["chosen"] == chosen


@pytest.mark.parametrize(
    ("fields", "route"),
    [({"user": "ada"}, "adas"), ({"metadata": {"feature": "faq"}}, "faqs"), ({"metadata": {"user_id": "ada"}}, "adas")],
)
def test_a_rule_is_found_by_whom_the_body_is_for(acme: Caller, fields: dict[str, Any], route: str) -> None:
    told = acme.try_call(body={"messages": HELLO, **fields})
    assert (told["route"], told["chosen"]) == (route, "large")
    assert (
        acme.try_call(body={"messages": HELLO, **fields}, attribution={"user": "ben", "feature": "x"})["route"]
        == "auto"
    )


def cost_of(told: dict[str, Any], model: str) -> str:
    (cost,) = [line["estimated_cost"] for line in told["candidates"] if line["model"] == model]
    return str(cost)


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        # 1,000 tokens in at 10 USD a million, and out at 20.
        ({"max_tokens": 100}, "0.012"),
        ({"max_tokens": 100, "n": 3}, "0.016"),
        ({"max_tokens": 100, "service_tier": "priority"}, "0.024"),
    ],
)
def test_each_costs_what_would_be_held_for_it(acme: Caller, fields: dict[str, Any], cost: str) -> None:
    body = {"model": "large", "messages": HELLO, **fields}
    assert cost_of(acme.try_call(body=body, input_tokens=1000), "large") == cost
    by_route = acme.try_call(model="auto", body=body, input_tokens=1000)
    assert cost_of(by_route, "large") == cost


def test_a_limit_beside_the_body_is_of_each_of_its_answers(acme: Caller) -> None:
    body = {"model": "large", "messages": HELLO, "n": 3, "max_tokens": 5}
    assert cost_of(acme.try_call(body=body, input_tokens=1000, max_output_tokens=100), "large") == "0.016"


def test_a_model_that_searches_unasked_costs_the_search_too(acme: Caller) -> None:
    # 1,000 and 8,000 tokens in at 3 USD a million, 100 out at 6, and one search at 10 USD a thousand.
    told = acme.try_call(model="gpt-5-search-api", prompt="hello", input_tokens=1000, max_output_tokens=100)
    assert cost_of(told, "gpt-5-search-api") == "0.0376"


def test_answers_are_expected_to_be_as_long_as_they_usually_are(acme: Caller) -> None:
    tenant_id = acme.tenant.pk
    set_learned({(tenant_id, ""): {"large": 50}, (tenant_id, "poems"): {"large": 500}})
    body = {"model": "large", "messages": HELLO}
    assert cost_of(acme.try_call(body=body, input_tokens=1000), "large") == "0.011"
    told = acme.try_call(body=body | {"metadata": {"feature": "poems"}}, input_tokens=1000)
    assert cost_of(told, "large") == "0.02"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": HELLO, "max_tokens": "many"}, "max_tokens"),
        ({"messages": HELLO, "spendhub": {"max_cost": "much"}}, "max_cost"),
        ({"messages": HELLO, "user": "a\nb"}, "user"),
    ],
)
def test_a_body_that_the_call_would_be_refused_for_is_refused(acme: Caller, body: dict[str, Any], field: str) -> None:
    status, answer = acme.call("post", "routes/dry-run", {"body": body})
    assert (status, answer["error"]["details"]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("vendor", "code", "told"),
    [
        (
            {"api_key_env": "KEY_OF_NOBODY"},
            "credential_missing",
            "provider far has no key under Vendor keys, and the environment variable KEY_OF_NOBODY is empty",
        ),
        ({"base_url": ""}, "credential_missing", "provider far has no address"),
        ({"dialect": "unheard-of"}, "dialect_not_spoken", None),
    ],
)
@pytest.mark.parametrize("named", ["distant", "faraway"])
def test_a_named_model_that_cannot_be_asked_is_refused_as_its_call_would_be(
    acme: Caller, vendor: dict[str, str], code: str, told: str | None, named: str
) -> None:
    far = Provider.objects.create(tenant=None, name="far", **{"base_url": "https://far.example/v1"} | vendor)
    set_price(Model.objects.create(tenant=None, provider=far, name="distant", aliases=["faraway"]), "1")
    status, answer = acme.call("post", "routes/dry-run", {"prompt": "hello", "model": named})
    assert (status, answer["error"]["code"]) == (503, code)
    assert told is None or answer["error"]["message"] == told


def define_route(name: str, *models: str, **fields: Any) -> None:
    Route.objects.create(tenant=None, name=name, candidate_models=list(models), **fields)


def reasons(told: dict[str, Any]) -> dict[str, str]:
    return {each["model"]: each["reason"] for each in told["fell_out"]}


TOP_K = {"messages": HELLO, "max_tokens": 9, "top_k": 5}
NO_WORD = "top_k cannot be said to it"


def test_models_that_have_no_word_for_a_field_fall_out_for_it_and_the_next_one_wins(acme: Caller) -> None:
    define_route("mine", "small", "searching", "claude", "large")
    told = acme.try_call(model="mine", body=TOP_K)
    assert (told["chosen"], told["reason"], told["confidence"]) == (
        "claude", "a fallback, since top_k cannot be said to small", 0.5,
    )  # fmt: skip
    assert [(line["model"], line["role"]) for line in told["candidates"]] == [("claude", "chosen")]
    assert reasons(told) == dict.fromkeys(["small", "searching", "large"], NO_WORD)


def test_a_fallback_that_has_no_word_for_a_field_leaves_the_winner_as_it_was(acme: Caller) -> None:
    define_route("mine", strategy="pinned", options={"model": "claude"}, fallback=["large"])
    told = acme.try_call(model="mine", body=TOP_K)
    assert (told["chosen"], told["reason"], told["confidence"]) == ("claude", "pinned to claude", 1.0)
    assert [(line["model"], line["role"]) for line in told["candidates"]] == [("claude", "chosen")]
    assert reasons(told)["large"] == NO_WORD


def test_where_the_plan_has_no_word_for_a_field_it_is_made_anew_as_the_call_does(acme: Caller) -> None:
    define_route("mine", "small", "searching", "claude", fallback=["searching"])
    told = acme.try_call(model="mine", body=TOP_K)
    assert (told["chosen"], told["strategy"]) == ("claude", "cost-optimized")
    assert told["reason"].startswith("the cheapest")
    assert reasons(told) == dict.fromkeys(["small", "searching"], NO_WORD)


def test_a_model_that_could_be_told_but_is_not_tried_any_more_says_so(acme: Caller) -> None:
    google = Provider.objects.create(
        tenant=None, name="google", dialect="gemini", base_url="https://google.example/v1beta"
    )
    set_price(Model.objects.create(tenant=None, provider=google, name="gemini"), "4")
    for winner, models in (("claude", ["small", "gemini", "claude"]), (None, ["small", "gemini"])):
        define_route(f"for {winner}", *models, fallback=["searching"])
        told = acme.try_call(model=f"for {winner}", body=TOP_K)
        assert told["chosen"] == winner
        assert reasons(told) == dict.fromkeys(["small", "searching"], NO_WORD) | {
            "gemini": "it is of another dialect: where top_k cannot be said to the first ones, only models that take the "
            "request as it is are tried"
        }


def test_a_cheaper_one_that_stands_by_is_asked_where_the_chain_has_no_word_for_a_field(acme: Caller) -> None:
    pools = {"judges": ["large"], "workhorses": ["claude"], "confidence_threshold": 1.0}
    define_route("mine", strategy="judgment-based", options=pools, fallback=["small"])
    assert acme.try_call(model="mine", body={"messages": HELLO})["chosen"] == "large"
    told = acme.try_call(model="mine", body=TOP_K)
    assert (told["chosen"], told["reason"]) == ("claude", "a cheaper one, since top_k cannot be said to large")
    assert {"large", "small"} <= reasons(told).keys()


def test_where_no_model_has_a_word_for_a_field_none_is_chosen_and_the_reason_names_it(acme: Caller) -> None:
    define_route("mine", "small", "large")
    told = acme.try_call(model="mine", body=TOP_K)
    assert (told["chosen"], told["candidates"]) == (None, [])
    assert told["reason"].startswith("top_k cannot be said to a model of")
    assert reasons(told) == dict.fromkeys(["small", "large"], NO_WORD)


def test_a_named_model_that_has_no_word_for_a_field_is_refused_as_its_call_would_be(acme: Caller) -> None:
    status, answer = acme.call("post", "routes/dry-run", {"model": "small", "body": TOP_K})
    error = answer["error"]
    assert (status, error["code"], error["details"]["field"]) == (400, "not_translatable", "top_k")


def test_a_body_that_nobody_understands_is_refused_where_it_would_have_to_be_translated_first(acme: Caller) -> None:
    nobodys = {"messages": [{"content": "hello"}]}  # said by whom?
    define_route("mine", "claude", "large")
    status, answer = acme.call("post", "routes/dry-run", {"model": "mine", "body": nobodys})
    assert (status, answer["error"]["details"]["field"]) == (400, "messages[0].role")
    define_route("others", "small", "claude", "large")
    told = acme.try_call(model="others", body=nobodys)
    assert told["chosen"] == "small"
    [(name, reason)] = reasons(told).items()
    assert name == "claude" and reason.startswith("messages[0].role must be")


def test_an_allow_that_names_nothing_is_refused_beside_the_body_as_in_it(acme: Caller) -> None:
    beside = {"allow": []}
    status, answer = acme.call("post", "routes/dry-run", {"prompt": "hello", **beside})
    assert (status, list(answer["error"]["details"]["fields"])) == (400, ["allow"])
    status, answer = acme.call("post", "routes/dry-run", {"body": {"messages": HELLO, "spendhub": beside}})
    assert (status, answer["error"]["details"]["field"]) == (400, "allow")


def test_an_embedding_can_be_tried(acme: Caller) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    model = Model.objects.create(
        tenant=None, provider=vendor, name="vectors", kind="embedding", capabilities=["embeddings"]
    )
    set_price(model, "1")
    told = acme.try_call(body={"model": "vectors", "input": ["hello"]}, input_tokens=1000)
    assert (told["chosen"], cost_of(told, "vectors")) == ("vectors", "0.001")
