"""GET /v1beta/models in Google's shape. Source: ai.google.dev API reference, "Models"."""

from __future__ import annotations

from typing import Any

from routing.errors import UnknownModel
from routing.snapshot import CATALOG, ModelFacts
from spendhub.gateway.openai.models import models_to_show

_METHODS = {
    "chat": ["generateContent", "streamGenerateContent", "countTokens"],
    "embedding": ["embedContent", "batchEmbedContents"],
}


def list_models(tenant_id: int) -> dict[str, Any]:
    """The list object, all on one page."""
    return {"models": [_model(model) for model in models_to_show(tenant_id)]}


def one_model(tenant_id: int, name: str) -> dict[str, Any]:
    """The model called `name`, or that its alias stands for. Raises UnknownModel."""
    model = CATALOG.current().resolve(tenant_id, name)
    if model is None or model.unavailable_because() is not None:
        raise UnknownModel(name)
    return _model(model)


def _model(model: ModelFacts) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": f"models/{model.name}",
        "version": model.upstream_name,
        "displayName": model.name,
        "description": f"by {model.provider.name}",
        "supportedGenerationMethods": _METHODS.get(model.kind, []),
    }
    if model.context_tokens is not None:
        told["inputTokenLimit"] = model.context_tokens
    if model.max_output_tokens is not None:
        told["outputTokenLimit"] = model.max_output_tokens
    if model.kind == "chat":
        told["thinking"] = "reasoning" in model.capabilities
    return told
