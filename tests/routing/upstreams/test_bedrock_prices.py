"""What an answer of Bedrock's costs, from AWS's own words for its usage, against an independent package that reads them too."""

from __future__ import annotations

import json
from typing import Any

import genai_prices
import pytest

from routing.pricing import price_usage
from routing.upstreams.bedrock.converse import ConverseReader
from tests.routing.test_price_oracles import MODELS, NOW, our_prices
from tests.routing.upstreams.test_usage_prices import _nano_usd

USAGES: tuple[dict[str, Any], ...] = (
    {"inputTokens": 1_000, "outputTokens": 500, "totalTokens": 1_500},
    {"inputTokens": 40_001, "outputTokens": 777, "totalTokens": 50_781, "cacheReadInputTokens": 10_003},
    {"inputTokens": 7, "outputTokens": 12_345, "cacheWriteInputTokens": 5_001, "cacheReadInputTokens": 33},
    {
        "inputTokens": 50,
        "outputTokens": 503,
        "cacheReadInputTokens": 100_000,
        "cacheWriteInputTokens": 700,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 300}, {"ttl": "5m", "inputTokens": 400}],
    },
)
ON_BEDROCK = [model for model in MODELS if model["provider"] == "bedrock" and model["kind"] == "chat"]


@pytest.mark.parametrize("model", ON_BEDROCK, ids=[model["name"] for model in ON_BEDROCK])
def test_an_answer_costs_what_genai_prices_says(model: dict[str, Any]) -> None:
    price = our_prices(model["genai_prices"], model["name"]).at(NOW)
    assert price is not None
    for usage in USAGES:
        reader = ConverseReader()
        reader.read_body(json.dumps({"output": {"message": {"content": []}}, "usage": usage}).encode())
        assert reader.usage is not None
        found = genai_prices.extract_usage(
            {"model": model["name"], "usage": usage}, provider_id="aws", api_flavor="default"
        )
        theirs = _nano_usd(found.calc_price(genai_request_timestamp=NOW).total_price)
        assert price_usage(reader.usage, price).total_nano_usd == theirs, usage


def test_dozens_of_models_were_compared() -> None:
    assert len(ON_BEDROCK) > 40
