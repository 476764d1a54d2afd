"""GET /v1beta/models in Google's shape, page by page. Source: ai.google.dev API reference, "Models"."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from routing.errors import UnknownModel
from routing.model_facts import ModelFacts
from routing.snapshot import CATALOG
from spendhub.api.queries import InvalidQuery
from spendhub.gateway.model_pages import number_in, place_of
from spendhub.gateway.openai.models import models_to_show

USUAL_SIZE, MOST = 50, 1000
_METHODS = {
    "chat": ["generateContent", "streamGenerateContent", "countTokens"],
    "embedding": ["embedContent", "batchEmbedContents"],
}


def list_models(tenant_id: int, query: Mapping[str, str]) -> dict[str, Any]:
    """The page that `pageSize` and `pageToken` ask for, in the order of names; without them the first one. A page has
    at most 1000 models, whatever is asked for. Raises InvalidQuery."""
    models = models_to_show(tenant_id)
    size = min(number_in(query, _said(query, "pageSize", "page_size")) or USUAL_SIZE, MOST)
    token = query.get(_said(query, "pageToken", "page_token"))
    begin = place_of(models, _name_in(token), "pageToken") + 1 if token else 0
    shown = models[begin : begin + size]
    told: dict[str, Any] = {"models": [_model(model) for model in shown]}
    if begin + size < len(models):
        told["nextPageToken"] = _token_of(shown[-1])
    return told


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


def _said(query: Mapping[str, str], name: str, other: str) -> str:
    """Google takes a parameter in either spelling."""
    return other if other in query and name not in query else name


def _token_of(last: ModelFacts) -> str:
    """A token names the last model of the page before it."""
    return urlsafe_b64encode(last.name.encode()).decode().rstrip("=")


def _name_in(token: str) -> str:
    try:
        return b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidQuery("pageToken is no nextPageToken of this list", field="pageToken") from None
