"""Models as the snapshot gives them, without a database."""

from __future__ import annotations

from typing import Any

from routing.pricing import CompiledPrice, PriceTable, Rates
from routing.snapshot import ModelFacts, ProviderFacts


def model_facts(name: str, **changes: Any) -> ModelFacts:
    """A chat model at 2 and 10 USD per million tokens; `changes` go to the model or its provider."""
    provider = {
        "id": 1, "tenant_id": None, "name": "vendor", "dialect": "openai", "base_url": "http://127.0.0.1:1/v1",
        "api_key_env": "", "timeout_seconds": 5, "is_enabled": True,
    }  # fmt: skip
    for field in ("dialect", "timeout_seconds", "base_url", "api_key_env"):
        if field in changes:
            provider[field] = changes.pop(field)
    facts = ProviderFacts(**provider)
    model: dict[str, Any] = {
        "id": 1, "tenant_id": None, "name": name, "upstream_name": name, "provider": facts, "kind": "chat",
        "quality": "standard", "capabilities": frozenset({"tools"}), "context_tokens": 128_000,
        "max_output_tokens": 4_096, "is_enabled": True, "retires_at": None,
        "prices": PriceTable((CompiledPrice((Rates(2_000_000_000, 10_000_000_000),)),)),
    }  # fmt: skip
    return ModelFacts(**{**model, **changes})
