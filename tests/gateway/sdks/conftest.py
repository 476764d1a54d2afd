"""One SpendHub for the folder, with a vendor behind it in each of the dialects that SDKs speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.anthropic_upstream import FakeAnthropic
from tests.fakes.bedrock_upstream import ACCESS_KEY, FakeBedrock
from tests.fakes.gemini_upstream import FakeGemini
from tests.fakes.openai_upstream import FakeOpenAI
from tests.gateway.conftest import running_spendhub
from tests.gateway.sdks.vendors import Sdks, Vendors, sdks_for

# What everybody can do here, so that nobody falls out.
CAN = ["general", "tools", "vision", "json", "streaming", "reasoning", "files"]


def configured_models(openai_url: str, anthropic_url: str, gemini_url: str, bedrock_url: str) -> str:
    """ROUTER_CONFIG_MODELS: 1 token in is 2,000 nano_usd, 1 out is 10,000, at every model."""
    prices = {"inputCostPerMillion": 2, "outputCostPerMillion": 10, "apiKeyEnv": "VENDOR_KEY"}
    openais, anthropics, googles = {"baseUrl": openai_url}, {"baseUrl": anthropic_url}, {"baseUrl": gemini_url}
    return json.dumps(
        [
            {"id": "gpt", "provider": "openai", "config": openais, "capabilities": CAN, **prices,
             "webSearchCostPerThousand": 10},
            # Of OpenAI's own names, which say what they take: no tools beside reasoning in a chat completion, and none.
            {"id": "gpt-next", "upstream_name": "gpt-5.6", "provider": "openai", "config": openais, "capabilities": CAN,
             **prices},
            {"id": "gpt-pro", "upstream_name": "gpt-5-pro", "provider": "openai", "config": openais,
             "capabilities": CAN, **prices},
            # A host of its own that does not speak responses.
            {"id": "next-by-chat", "upstream_name": "gpt-5.6", "provider": "compatible", "config": openais,
             "capabilities": CAN, **prices},
            {"id": "embed", "provider": "openai", "config": openais, "kind": "embedding", **prices,
             "capabilities": ["embeddings"]},
            {"id": "claude", "upstream_name": "claude-sonnet-4-5", "provider": "anthropic", "config": anthropics,
             "capabilities": CAN, "webSearchCostPerThousand": 10, **prices},
            {"id": "gemini", "upstream_name": "gemini-3.5-flash", "provider": "google", "config": googles,
             "capabilities": CAN, **prices},
            {"id": "googles-embed", "provider": "google", "config": googles, "kind": "embedding", **prices,
             "capabilities": ["embeddings"]},
            # Whose requests are signed.
            {"id": "bedrock-claude", "upstream_name": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "capabilities": CAN,
             "provider": "bedrock", "config": {"baseUrl": bedrock_url}, **prices, "apiKeyEnv": "BEDROCK_KEY"},
            {"id": "bedrock-unusable", "upstream_name": "amazon.nova-lite-v1:0", "provider": "bedrock", **prices,
             "config": {"baseUrl": bedrock_url}, "capabilities": CAN, "apiKeyEnv": "UNUSABLE_KEY"},
            # A compatible vendor: it speaks chat completions alone.
            {"id": "compatible", "provider": "compatible", "config": openais, "capabilities": CAN, **prices},
        ]
    )  # fmt: skip


@pytest.fixture(scope="session")
def vendors() -> Iterator[Vendors]:
    with FakeOpenAI() as openai, FakeAnthropic() as anthropic, FakeGemini() as gemini, FakeBedrock() as bedrock:
        models = configured_models(openai.base_url, anthropic.base_url, gemini.base_url, bedrock.base_url)
        with running_spendhub(
            valkey_number=2, ROUTER_CONFIG_MODELS=models, BEDROCK_KEY=ACCESS_KEY, UNUSABLE_KEY="no:key"
        ) as served:
            yield Vendors(replace(served, vendor=openai), openai, anthropic, gemini, bedrock)


@pytest.fixture(params=["sync", "async"])
def sdks(request: pytest.FixtureRequest, vendors: Vendors) -> Iterator[Sdks]:
    """The official clients; a test that asks for them runs with those for event loops as well."""
    with sdks_for(vendors, request.param) as found:
        yield found
