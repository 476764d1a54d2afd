"""GET /v1/models in OpenAI's shape: every model of the catalog that the tenant may ask for."""

from __future__ import annotations

from typing import Any

from routing.errors import UnknownModel
from routing.model_facts import ModelFacts
from routing.snapshot import CATALOG


def list_models(tenant_id: int) -> dict[str, Any]:
    """The list object. Models that are switched off, and wildcards, are left out."""
    return {"object": "list", "data": [_model(model) for model in models_to_show(tenant_id)]}


def models_to_show(tenant_id: int) -> list[ModelFacts]:
    """The tenant's models that are switched on, without wildcards."""
    models = [model for model in CATALOG.current().models_of(tenant_id) if model.unavailable_because() is None]
    return [model for model in models if not model.name.endswith("*")]


def one_model(tenant_id: int, name: str) -> dict[str, Any]:
    """The model called `name`, or that its alias stands for. Raises UnknownModel."""
    model = CATALOG.current().resolve(tenant_id, name)
    if model is None or model.unavailable_because() is not None:
        raise UnknownModel(name)
    return _model(model)


def _model(model: ModelFacts) -> dict[str, Any]:
    # The catalog does not know when a model was made; SDKs want a number there.
    return {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider.name}
