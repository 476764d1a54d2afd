"""Where Google's clients ask: the model and what is wanted of it stand in the path, the key in a header or the query.

    POST /v1beta/models/{model}:generateContent         also :streamGenerateContent?alt=sse, :countTokens,
    GET  /v1beta/models, /v1beta/models/{model}           :embedContent, :batchEmbedContents

The calls are also understood below /v1, the API's other version. A model's name may have slashes and colons.
Source: ai.google.dev API reference, "All methods".
"""

from __future__ import annotations

from dataclasses import dataclass

from spendhub.errors import Invalid
from spendhub.gateway.exchange import Exchange

MODELS = "/v1beta/models"
_PREFIXES = ("/v1beta/models/", "/v1/models/")
_METHODS = (":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents")


@dataclass(frozen=True, slots=True)
class Called:
    """A method that is called on a model, e.g. `generateContent`."""

    model: str
    method: str


def is_googles(path: str) -> bool:
    """Whether Google's clients ask there."""
    return path.startswith("/v1beta/") or path.endswith(_METHODS)


def called_in(path: str) -> Called | None:
    """What is called, None where it is no method of a model's."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            model, colon, method = path.removeprefix(prefix).rpartition(":")
            return Called(model, method) if colon + method in _METHODS else None
    return None


def expect_events(exchange: Exchange) -> None:
    """Raises Invalid for a stream that is not asked for as events: without `alt=sse` Google answers a JSON array, which
    has no place for what we tell at a stream's end."""
    query = exchange.query
    alt = query.get("alt") or query.get("$alt") or "json"
    if alt.partition(";")[0] != "sse":
        raise Invalid("a stream is told as events: ask for it with ?alt=sse, as Google's SDKs do", field="alt")


def googles_key(exchange: Exchange) -> str | None:
    """The key as Google's clients send it: the header `x-goog-api-key`, else the query's `key`; None for neither."""
    key = exchange.header(b"x-goog-api-key")
    if not key and is_googles(exchange.path):
        key = exchange.query.get("key")
    return (key.strip() or None) if key else None
