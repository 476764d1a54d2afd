"""What an answer costs, from the vendor's own words for its usage, against two independent packages.

Each reads the same payloads by itself: genai-prices and metergraph-core. Where they differ from us today, the reason
is named here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import genai_prices
import metergraph_core
import pytest

from routing.pricing import price_usage
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.responses import ResponsesReader
from tests.routing.test_price_oracles import MODELS, NOW, our_prices

ANTHROPIC_USAGES: tuple[dict[str, Any], ...] = (
    {"input_tokens": 1_000, "output_tokens": 500},
    {"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
    {"input_tokens": 40_001, "output_tokens": 777, "cache_read_input_tokens": 10_003},
    {"input_tokens": 7, "output_tokens": 12_345, "cache_creation_input_tokens": 5_001, "cache_read_input_tokens": 33},
    {
        "input_tokens": 50,
        "output_tokens": 503,
        "cache_read_input_tokens": 100_000,
        "cache_creation_input_tokens": 700,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 300},
        "output_tokens_details": {"thinking_tokens": 400},
    },
    {
        "input_tokens": 199_000,
        "output_tokens": 11,
        "cache_creation_input_tokens": 9_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 9_000},
    },
)
GEMINI_USAGES: tuple[dict[str, Any], ...] = (
    {"promptTokenCount": 1_000, "candidatesTokenCount": 500, "totalTokenCount": 1_500},
    {"promptTokenCount": 7, "candidatesTokenCount": 1, "thoughtsTokenCount": 1_234, "totalTokenCount": 1_242},
    {
        "promptTokenCount": 50_000,
        "cachedContentTokenCount": 10_001,
        "candidatesTokenCount": 33,
        "totalTokenCount": 50_033,
    },
    {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 80,
        "toolUsePromptTokenCount": 7,
        "totalTokenCount": 207,
    },
    {"promptTokenCount": 300_000, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 300_005},
    {
        "promptTokenCount": 250_001,
        "cachedContentTokenCount": 200_000,
        "candidatesTokenCount": 9,
        "totalTokenCount": 250_010,
    },
)
OPENAI_USAGES = ((1_000, 500, 0, 0), (7, 1, 0, 0), (50_000, 1_003, 10_001, 512), (300_000, 12_345, 100_000, 12_000))


def _chat(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _response(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }


# Form of the answer: our reader, our provider, genai-prices' and metergraph's names for it, its usages.
FORMS: dict[str, tuple[type[UsageReader], str, str, str, tuple[dict[str, Any], ...]]] = {
    "anthropic": (MessagesReader, "anthropic", "default", "anthropic", ANTHROPIC_USAGES),
    "gemini": (ContentsReader, "google", "default", "gemini", GEMINI_USAGES),
    "chat": (ChatReader, "openai", "chat", "openai", tuple(_chat(*counts) for counts in OPENAI_USAGES)),
    "responses": (
        ResponsesReader,
        "openai",
        "responses",
        "openai",
        tuple(_response(*counts) for counts in OPENAI_USAGES),
    ),
}
CASES: list[tuple[str, dict[str, Any]]] = [
    (form, model)
    for form, (_, provider, *_rest) in FORMS.items()
    for model in MODELS
    if model["provider"] == provider and model["kind"] == "chat"
]
each_case = pytest.mark.parametrize(("form", "model"), CASES, ids=[f"{form}-{model['name']}" for form, model in CASES])
# metergraph rounds to hundred-millionths of a dollar: ten nano-dollars.
METERGRAPH_ROUNDING_NANO_USD = 5
NO_CACHE_RATE = "only metergraph lists a discount for cached input; without one it counts as plain input"
DIFFERENT_AT_METERGRAPH: dict[str, str] = {
    **dict.fromkeys(
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"), "metergraph no longer lists the long-context tier"
    ),
    "gemini-3.5-flash": "metergraph lists 0.75/3.75; genai-prices and litellm both list 1.50/9",
    "gemini-omni-1.1-flash": "metergraph lists 1.50/17.50; genai-prices and litellm both list 1.50/9",
    **dict.fromkeys(("gpt-5.2-pro", "gpt-5.2-pro-2025-12-11", "gpt-5.4-pro", "gpt-5.4-pro-2026-03-05"), NO_CACHE_RATE),
    **dict.fromkeys(("gpt-5.5-pro", "gpt-5.5-pro-2026-04-23"), NO_CACHE_RATE),
}


def payload(form: str, name: str, usage: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the vendor's, as far as it says what it cost."""
    if form == "gemini":
        candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
        return {"modelVersion": name, "candidates": [candidate], "usageMetadata": usage}
    said: dict[str, dict[str, Any]] = {
        "anthropic": {"type": "message", "content": []},
        "chat": {"object": "chat.completion", "choices": [{"message": {"content": "x"}}]},
        "responses": {"object": "response", "output": []},
    }
    return {"id": "x", "model": name, "usage": usage, **said[form]}


def our_cost(form: str, model: Mapping[str, Any], usage: Mapping[str, Any]) -> int:
    reader = FORMS[form][0]()
    reader.read_body(json.dumps(payload(form, model["name"], usage)).encode())
    price = our_prices(model["genai_prices"], model["name"]).at(NOW)
    assert price is not None and reader.usage is not None
    return price_usage(reader.usage, price).total_nano_usd


def genai_cost(form: str, name: str, usage: Mapping[str, Any]) -> int:
    _, provider, flavor, _, _ = FORMS[form]
    found = genai_prices.extract_usage(payload(form, name, usage), provider_id=provider, api_flavor=flavor)
    return _nano_usd(found.calc_price(genai_request_timestamp=NOW).total_price)


def metergraph_cost(form: str, name: str, usage: Mapping[str, Any]) -> int | None:
    """None where the package has no price for the model."""
    result = metergraph_core.cost_from_response(FORMS[form][3], payload(form, name, usage), catalog=_catalog(), at=NOW)
    return None if result.cost_usd is None else _nano_usd(result.cost_usd)


@cache
def _catalog() -> Any:
    return metergraph_core.load_catalog()


def _nano_usd(cost: Decimal) -> int:
    return int(Fraction(cost) * 10**9 + Fraction(1, 2))


@each_case
def test_an_answer_costs_what_genai_prices_says(form: str, model: dict[str, Any]) -> None:
    for usage in FORMS[form][4]:
        assert our_cost(form, model, usage) == genai_cost(form, model["name"], usage), usage


@each_case
def test_an_answer_costs_what_metergraph_says(form: str, model: dict[str, Any]) -> None:
    found = {index: metergraph_cost(form, model["name"], usage) for index, usage in enumerate(FORMS[form][4])}
    different = [
        FORMS[form][4][index]
        for index, theirs in found.items()
        if theirs is not None
        and abs(our_cost(form, model, FORMS[form][4][index]) - theirs) > METERGRAPH_ROUNDING_NANO_USD
    ]
    assert bool(different) == (model["name"] in DIFFERENT_AT_METERGRAPH), different


def test_hundreds_of_pairs_were_compared_in_every_form() -> None:
    pairs = {form: sum(len(FORMS[form][4]) for of, _ in CASES if of == form) for form in FORMS}
    assert sum(pairs.values()) > 500
    assert min(pairs.values()) > 100
    priced = [model for form, model in CASES if metergraph_cost(form, model["name"], FORMS[form][4][0])]
    assert len(priced) > len(CASES) * 2 / 3
