"""One SpendHub for the folder, with a vendor behind it in each of the dialects that SDKs speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.anthropic_upstream import FakeAnthropic
from tests.fakes.openai_upstream import FakeOpenAI
from tests.gateway.conftest import running_spendhub
from tests.gateway.sdks.vendors import Vendors

# What everybody can do here, so that nobody falls out.
CAN = ["general", "tools", "vision", "json", "streaming", "reasoning", "files"]


def configured_models(openai_url: str, anthropic_url: str) -> str:
    """ROUTER_CONFIG_MODELS: 1 token in is 2,000 nano_usd, 1 out is 10,000, at every model."""
    prices = {"inputCostPerMillion": 2, "outputCostPerMillion": 10, "apiKeyEnv": "VENDOR_KEY"}
    openais, anthropics = {"baseUrl": openai_url}, {"baseUrl": anthropic_url}
    return json.dumps(
        [
            {"id": "gpt", "provider": "openai", "config": openais, "capabilities": CAN, **prices},
            {"id": "embed", "provider": "openai", "config": openais, "kind": "embedding", **prices,
             "capabilities": ["embeddings"]},
            {"id": "claude", "upstream_name": "claude-sonnet-4-5", "provider": "anthropic", "config": anthropics,
             "capabilities": CAN, **prices},
            # A compatible vendor: it speaks chat completions alone.
            {"id": "compatible", "provider": "compatible", "config": openais, "capabilities": CAN, **prices},
        ]
    )  # fmt: skip


@pytest.fixture(scope="session")
def vendors() -> Iterator[Vendors]:
    with FakeOpenAI() as openai, FakeAnthropic() as anthropic:
        models = configured_models(openai.base_url, anthropic.base_url)
        with running_spendhub(valkey_number=2, ROUTER_CONFIG_MODELS=models) as served:
            yield Vendors(replace(served, vendor=openai), openai, anthropic)
