"""Models as the snapshot gives them, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.asking import Asked
from routing.conversation import Conversation
from routing.model_facts import ModelFacts, ProviderFacts
from routing.pricing import CompiledPrice, PriceTable, Rates
from routing.upstreams.base import CHAT, Wire


def model_facts(name: str, **changes: Any) -> ModelFacts:
    """A chat model at 2 and 10 USD per million tokens; `changes` go to the model or its provider."""
    provider = {
        "id": 1, "tenant_id": None, "name": "vendor", "dialect": "openai", "base_url": "http://127.0.0.1:1/v1",
        "api_key_env": "", "timeout_seconds": 5, "is_enabled": True,
    }  # fmt: skip
    for field in ("dialect", "timeout_seconds", "base_url", "api_key_env", "auth_header", "has_responses"):
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


def chat(body: Mapping[str, Any], *, is_stream: bool = False, wire: Wire = CHAT) -> Asked:
    """A client's request that its vendor gets untouched."""
    return Asked(wire, body, is_stream, _no_conversation)


def say(conversation: Conversation, *, is_stream: bool = False) -> Asked:
    """A client's request that every vendor gets translated: none speaks its wire format."""
    return Asked("telegraph", {}, is_stream, lambda: conversation)  # type: ignore[arg-type]  # on purpose


def _no_conversation() -> Conversation:
    raise AssertionError("this call should have passed untouched")
