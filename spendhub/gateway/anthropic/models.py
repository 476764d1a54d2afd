"""GET /v1/models in Anthropic's shape. Source: Anthropic's API reference, "List models"."""

from __future__ import annotations

from typing import Any

from routing.errors import UnknownModel
from routing.snapshot import CATALOG, ModelFacts
from spendhub.gateway.openai.models import models_to_show

# The catalog does not know when a model was made; SDKs want a date there.
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"


def list_models(tenant_id: int) -> dict[str, Any]:
    """The list object, all on one page."""
    shown = [_model(model) for model in models_to_show(tenant_id)]
    return {
        "data": shown,
        "has_more": False,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def one_model(tenant_id: int, name: str) -> dict[str, Any]:
    """The model called `name`, or that its alias stands for. Raises UnknownModel."""
    model = CATALOG.current().resolve(tenant_id, name)
    if model is None or model.unavailable_because() is not None:
        raise UnknownModel(name)
    return _model(model)


def _model(model: ModelFacts) -> dict[str, Any]:
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": _UNKNOWN_DATE}
