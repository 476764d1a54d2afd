"""What a request may be billed beside plain tokens, read before it is sent; and what a strict budget makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from routing.candidates import Candidate
from routing.extras import NO_EXTRAS, Extras, estimate_asked, price_asked
from routing.model_facts import ModelFacts, Quote
from routing.pricing import CompiledPrice, PriceTable, Rates
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES, Wire
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.extras_asked import extras_at, extras_of, with_untold, worst_case
from spendhub.gateway.holding import Need, worst_of
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NANO = 10**9


def asked(wire: Wire = RESPONSES, **body: Any) -> CallRequest:
    return CallRequest(wire=wire, body={"model": "m", **body}, model="m")


def price(input_usd: int, output_usd: int, **rates: int) -> CompiledPrice:
    return CompiledPrice((Rates(input_usd * NANO, output_usd * NANO, **rates),))


STANDARD = price(2, 10, cache_write_1h=5 * NANO, web_search=10 * NANO)


def model(**tiers: CompiledPrice) -> ModelFacts:
    prices = PriceTable((STANDARD,), {name.replace("_", "+"): (each,) for name, each in tiers.items()})
    return model_facts("m", prices=prices, has_responses=True)


@pytest.mark.parametrize(
    "body",
    [
        {"input": "hello", "max_output_tokens": 5},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"name": "g", "input_schema": {}}]},
        {"service_tier": "auto"},
        {"service_tier": "standard_only", "speed": "standard", "inference_geo": "global"},
        {"tools": [{"type": "bash_20250124"}, {"type": "memory_20250818"}]},
        {"prompt_cache_options": {"ttl": "30m"}},
        {"models": [], "fallbacks": None, "provider": {}, "prediction": None, "enable_search": False},
        {"search_parameters": None, "compaction": None, "deferred": False, "best_of": 1, "extra_body": {}},
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 100}, "safety_settings": []}}},
        {"tools": "no list", "service_tier": 7},
        {"tools": [{"functionDeclarations": [{"name": "f"}]}, {"computerUse": {}}]},
        {
            "tools": [
                {"type": "shell", "environment": {"type": "local"}},
                {"type": "tool_search", "execution": "client"},
            ]
        },
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    ],
)
def test_a_request_without_extras_has_none(body: dict[str, Any]) -> None:
    assert extras_of(asked(**body)) is NO_EXTRAS


@pytest.mark.parametrize(
    ("body", "tier"),
    [
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "fast"}, "priority"),
        ({"service_tier": "auto", "speed": "fast", "inference_geo": "us"}, "fast+us"),
        ({"serviceTier": "FLEX"}, "flex"),
    ],
)
def test_the_tier_is_what_the_request_asks_for(body: dict[str, str], tier: str) -> None:
    assert extras_of(asked(**body)) == Extras(service_tier=tier)


@pytest.mark.parametrize(
    ("body", "held_for"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]}, 2),
        ({"tools": [{"type": "web_search"}]}, 5),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 3}, 3),
        ({"tools": [{"type": "web_search", "max_uses": 400}]}, 5),
        ({"tools": [{"type": "web_search", "max_uses": "many"}]}, 5),
        ({"tools": [{"googleSearch": {}}]}, 5),
    ],
)
def test_searches_are_held_for_up_to_what_is_usual(body: dict[str, Any], held_for: int) -> None:
    assert extras_of(asked(**body)) == Extras(web_searches=held_for, vendor_tools="tools[0]")


def test_chats_search_costs_one_that_the_vendor_does_not_tell_of() -> None:
    told = Extras(web_searches=1, untold_searches=1, vendor_tools="web_search_options")
    assert extras_of(asked(CHAT, web_search_options={})) == told
    searching = model_facts("gpt-5-search-api")
    assert extras_at(NO_EXTRAS, asked(CHAT), searching) == Extras(
        web_searches=1, untold_searches=1, vendor_tools="model"
    )
    assert extras_at(NO_EXTRAS, asked(CHAT), model_facts("gpt-5")) is NO_EXTRAS


@pytest.mark.parametrize("wire", [MESSAGES, GENERATE, RESPONSES])
def test_a_model_that_always_searches_costs_a_search_whoever_translates_for_it(wire: Wire) -> None:
    searching = model_facts("gpt-5-search-api")
    assert extras_at(NO_EXTRAS, asked(wire), searching) == Extras(
        web_searches=1, untold_searches=1, vendor_tools="model"
    )


def test_a_search_that_responses_tell_of_is_held_and_not_counted_twice() -> None:
    searching = model_facts("gpt-5-search-api", has_responses=True)
    held = extras_at(NO_EXTRAS, asked(RESPONSES), searching)
    assert held == Extras(web_searches=1, vendor_tools="model")
    told = TokenUsage.from_totals(100, 5)
    assert with_untold(told, held, RESPONSES) is told


def test_a_model_that_always_searches_is_held_for_the_searches_that_are_asked_of_it_too() -> None:
    searching = model_facts("gpt-5-search-api")
    request = asked(RESPONSES, tools=[{"type": "web_search"}])
    assert extras_at(extras_of(request), request, searching) == Extras(
        web_searches=5, untold_searches=1, vendor_tools="model"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"type": "function"}, {"type": "code_interpreter"}]}, "tools[1]"),
        ({"tools": [{"type": "web_fetch_20250910"}]}, "tools[0]"),
        ({"tools": [{"urlContext": {}}]}, "tools[0]"),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "tools[0]"),
        ({"tools": [{"type": "tool_search_tool_regex_20251119", "name": "s"}]}, "tools[0]"),
        # A tool that is not known to run at the client: the next one that a vendor thinks of.
        ({"tools": [{"type": "crystal_ball"}]}, "tools[0]"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"enable_search": True}, "enable_search"),
        # Others may answer, at prices of their own: models and hosts that a reseller chooses, or Anthropic itself.
        ({"models": ["dear/model"]}, "models"),
        ({"route": "fallback"}, "route"),
        ({"preset": "free-then-dear"}, "preset"),
        ({"provider": {"order": ["dear-host"]}}, "provider"),
        ({"providerOptions": {"gateway": {"models": ["dear/model"]}}}, "providerOptions"),
        ({"fallbacks": [{"model": "claude-opus-5"}]}, "fallbacks"),
        ({"fallbacks": "default"}, "fallbacks"),
        # What is not used of it is billed as output, beside which OpenAI takes no limit.
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"best_of": 8}, "best_of"),
        # xAI answers later, and bills then.
        ({"deferred": True}, "deferred"),
        # With nothing in them they are on all the same.
        ({"search_parameters": {}}, "search_parameters"),
        ({"search_parameters": {"mode": "auto"}}, "search_parameters"),
        ({"compaction": {}}, "compaction"),
        ({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}, "extra_body"),
        ({"extra_body": {"google": {"thinking_config": {}, "tools": [{"google_search": {}}]}}}, "extra_body"),
        ({"extra_body": {"google": "all"}}, "extra_body"),
        ({"extra_body": {"plugins": [{"id": "web"}]}}, "extra_body"),
        ({"extra_body": [1]}, "extra_body"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"context_management": [{"type": "compaction", "compact_threshold": 1000}]}, "context_management"),
    ],
)
def test_the_field_that_lets_the_vendor_do_more_than_answer_is_named(body: dict[str, Any], field: str) -> None:
    assert extras_of(asked(**body)).vendor_tools == field


@pytest.mark.parametrize("body", [{"prompt_cache_options": {"ttl": "12h"}}, {"cache_control": {"ttl": "1h"}}])
def test_a_cache_that_lives_longer_is_held_at_its_own_rate(body: dict[str, Any]) -> None:
    extras = extras_of(asked(**body))
    assert extras == Extras(writes_long_cache=True)
    # 1,000 tokens at 5 USD per million in place of 2.
    assert estimate_asked(extras, STANDARD, 1_000, 0) == 5_000_000


def test_a_hold_has_the_price_of_the_tier_that_was_asked_for() -> None:
    priority = price(4, 20)
    extras = Extras(service_tier="priority")
    asked_at = price_asked(extras, model(priority=priority), STANDARD, NOW)
    assert asked_at is priority
    assert estimate_asked(extras, asked_at, 1_000, 100) == 4_000_000 + 2_000_000
    assert price_asked(Extras(service_tier="flex"), model(priority=priority), STANDARD, NOW) is STANDARD


def test_a_hold_for_searches_has_their_fee_and_a_block_of_input_for_each() -> None:
    # 2 searches at 0.01 USD, and 2 x 8,000 tokens beside the 1,000 at 2 USD per million.
    held = estimate_asked(Extras(web_searches=2), STANDARD, 1_000, 0)
    assert held == 20_000_000 + 17_000 * 2_000


def test_a_hold_without_extras_is_what_it_always_was() -> None:
    assert estimate_asked(NO_EXTRAS, STANDARD, 1_000, 100) == 2_000_000 + 1_000_000


def test_under_a_strict_budget_openais_project_may_not_choose_another_tier() -> None:
    tiered = model(priority=price(4, 20))
    assert worst_case(NO_EXTRAS, asked(service_tier="auto"), tiered) == (NO_EXTRAS, {"service_tier": "default"})
    assert worst_case(NO_EXTRAS, asked(), tiered) == (NO_EXTRAS, {"service_tier": "default"})
    wanted = Extras(service_tier="flex")
    assert worst_case(wanted, asked(service_tier="flex"), tiered) == (wanted, {})
    assert worst_case(NO_EXTRAS, asked(), model()) == (NO_EXTRAS, {})


@pytest.mark.parametrize("body", [{}, {"service_tier": "auto"}, {"service_tier": "standard_only"}])
def test_nor_where_the_request_is_translated_and_its_own_tier_is_anthropics(body: dict[str, Any]) -> None:
    found = worst_case(NO_EXTRAS, asked(MESSAGES, **body), model(priority=price(4, 20)))
    assert found == (NO_EXTRAS, {"service_tier": "default"})


def test_a_tier_that_the_client_has_said_to_openai_stays_as_it_is() -> None:
    assert worst_case(NO_EXTRAS, asked(service_tier="default"), model(priority=price(4, 20))) == (NO_EXTRAS, {})


@pytest.mark.parametrize(
    ("body", "tier"), [({}, "us"), ({"speed": "fast"}, "fast+us"), ({"inference_geo": "global"}, "")]
)
def test_under_a_strict_budget_anthropics_workspace_may_have_a_place_of_its_own(
    body: dict[str, str], tier: str
) -> None:
    placed = model(us=price(3, 11), fast_us=price(6, 22))
    request = asked(MESSAGES, **body)
    assert worst_case(extras_of(request), request, placed)[0].service_tier == tier


def test_under_a_strict_budget_every_block_is_looked_at_for_a_long_lived_cache() -> None:
    block = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    request = asked(MESSAGES, messages=[{"role": "user", "content": [block]}])
    assert extras_of(request) is NO_EXTRAS
    assert worst_case(NO_EXTRAS, request, model())[0] == Extras(writes_long_cache=True)


def test_what_chat_completions_do_not_tell_of_is_taken_from_the_request() -> None:
    told = TokenUsage.from_totals(100, 5, cache_write_tokens=40)
    long_lived, searching = Extras(writes_long_cache=True), Extras(untold_searches=1)
    assert with_untold(told, long_lived, CHAT) == TokenUsage.from_totals(100, 5, cache_write_1h_tokens=40)
    assert with_untold(told, long_lived, RESPONSES) is told
    assert with_untold(told, searching, CHAT) == TokenUsage.from_totals(100, 5, cache_write_tokens=40, web_searches=1)
    assert with_untold(told, Extras(service_tier="flex"), CHAT) is told


@pytest.mark.parametrize("wire", [MESSAGES, GENERATE])
def test_a_translated_call_counts_the_search_that_chat_completions_do_not_tell_of_and_no_ttl(wire: Wire) -> None:
    # Translating for a vendor drops how long its cache is to be kept.
    extras = Extras(web_searches=1, untold_searches=1, writes_long_cache=True)
    told = TokenUsage.from_totals(100, 5, cache_write_tokens=40)
    assert with_untold(told, extras, wire) == TokenUsage.from_totals(100, 5, cache_write_tokens=40, web_searches=1)


@pytest.mark.parametrize("wire", [CHAT, MESSAGES])
def test_under_a_strict_budget_a_resellers_hosts_may_not_be_dearer_than_the_catalog_says(wire: Wire) -> None:
    reseller = model_facts("m", base_url="https://openrouter.ai/api/v1")
    candidate = Candidate(reseller, Quote(reseller, STANDARD, False))
    found = worst_of(Need(100, 50, 50, True), asked(wire), candidate, NOW)
    assert found.pins == {"provider": {"max_price": {"prompt": 2.0, "completion": 10.0, "request": 0}}}


@pytest.mark.parametrize("name", ["sonar", "sonar-pro", "perplexity/sonar-deep-research", "openai/gpt-5:online"])
def test_models_that_always_search_are_known_by_their_names(name: str) -> None:
    assert extras_at(NO_EXTRAS, asked(CHAT), model_facts(name)).vendor_tools == "model"
    assert extras_at(NO_EXTRAS, asked(CHAT), model_facts(name.replace("sonar", "sonata").split(":")[0])) is NO_EXTRAS
