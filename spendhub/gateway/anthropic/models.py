"""GET /v1/models in Anthropic's shape, page by page. Source: Anthropic's API reference, "Models"."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from routing.errors import UnknownModel
from routing.model_facts import ModelFacts
from routing.snapshot import CATALOG
from spendhub.api.queries import InvalidQuery
from spendhub.gateway.model_pages import number_in, place_of
from spendhub.gateway.openai.models import models_to_show

USUAL_LIMIT, MOST = 20, 1000
# The catalog does not know when a model was made; SDKs want a date there, and this is Anthropic's word for not knowing.
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"


def list_models(tenant_id: int, query: Mapping[str, str]) -> dict[str, Any]:
    """The page that `limit` and `after_id` or `before_id` ask for, in the order of names; without them the first one.
    Raises InvalidQuery."""
    models = models_to_show(tenant_id)
    limit, after, before = _limit_in(query), query.get("after_id"), query.get("before_id")
    if after and before:
        raise InvalidQuery("after_id and before_id ask for two pages at once", field="before_id")
    if before:
        end = place_of(models, before, "before_id")
        begin = max(0, end - limit)
        has_more = begin > 0
    else:
        begin = place_of(models, after, "after_id") + 1 if after else 0
        end = begin + limit
        has_more = end < len(models)
    shown = [_model(model) for model in models[begin:end]]
    return {
        "data": shown,
        "has_more": has_more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def one_model(tenant_id: int, name: str) -> dict[str, Any]:
    """The model called `name`, or that its alias stands for. Raises UnknownModel."""
    model = CATALOG.current().resolve(tenant_id, name)
    if model is None or model.unavailable_because() is not None:
        raise UnknownModel(name)
    return _model(model)


def _limit_in(query: Mapping[str, str]) -> int:
    limit = number_in(query, "limit")
    if limit is not None and not 1 <= limit <= MOST:
        raise InvalidQuery(f"limit must be from 1 to {MOST}, not {limit}", field="limit")
    return USUAL_LIMIT if limit is None else limit


def _model(model: ModelFacts) -> dict[str, Any]:
    """`lifecycle` is what the day of its retirement says: one that has passed means, with Anthropic too, that the model
    is overdue, not that it is gone. What the catalog does not know is null."""
    retires_at = model.retires_at
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name,
        "created_at": _UNKNOWN_DATE,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "lifecycle": "active" if retires_at is None else "deprecated",
        "deprecated_at": None,
        "retires_at": None if retires_at is None else f"{retires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "line": None,
        "capabilities": None,
    }
