"""Where Google's clients ask: the model and what is wanted of it stand in the path, the key in a header or the query.

    POST /v1beta/models/{model}:generateContent         also :streamGenerateContent, :countTokens,
    GET  /v1beta/models, /v1beta/models/{model}           :embedContent, :batchEmbedContents

Files are uploaded below /upload; there are none here, which is told as all else is.

The calls are also understood below /v1, the API's other version. A model's name may have slashes and colons.
Source: ai.google.dev API reference, "All methods".
"""

from __future__ import annotations

from dataclasses import dataclass

from spendhub.errors import Invalid
from spendhub.gateway.exchange import Exchange

MODELS = "/v1beta/models"
_PREFIXES = ("/v1beta/models/", "/v1/models/")
UPLOADS = "/upload/"
STREAM = ":streamGenerateContent"
_METHODS = (":generateContent", STREAM, ":countTokens", ":embedContent", ":batchEmbedContents")
METHODS = tuple(method.removeprefix(":") for method in _METHODS)
_GOOGLES = ("/v1beta/", UPLOADS)


@dataclass(frozen=True, slots=True)
class Called:
    """A method that is called on a model, e.g. `generateContent`."""

    model: str
    method: str


def is_googles(path: str) -> bool:
    """Whether Google's clients ask there."""
    return path.startswith(_GOOGLES) or path == "/v1beta" or path.endswith(_METHODS)


def called_in(path: str) -> Called | None:
    """What is called, None where it is no method of a model's."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            model, colon, method = path.removeprefix(prefix).rpartition(":")
            return Called(model, method) if colon + method in _METHODS else None
    return None


def method_in(path: str) -> str:
    """What is asked of a model after its name, whether or not models have such a method; "" for nothing."""
    return next((path.rpartition(":")[2] for prefix in _PREFIXES if path.startswith(prefix) and ":" in path), "")


def expects_array(exchange: Exchange) -> bool:
    """Whether a stream is asked for as Google tells it by default: as a JSON array, not as events."""
    return exchange.path.endswith(STREAM) and _alt(exchange) != "sse"


def check_alt(exchange: Exchange) -> None:
    """Raises Invalid where a stream is asked for in a form that is neither events nor a JSON array."""
    if _alt(exchange) not in ("sse", "json"):
        raise Invalid("alt must be sse, for events, or json, for an array", field="alt")


def _alt(exchange: Exchange) -> str:
    """The form that is asked for, without what is said about it: `json;enum-encoding=int`."""
    query = exchange.query
    return (query.get("alt") or query.get("$alt") or "json").partition(";")[0]


def googles_key(exchange: Exchange) -> str | None:
    """The key as Google's clients send it: the header `x-goog-api-key`, else the query's `key`; None for neither."""
    key = exchange.header(b"x-goog-api-key")
    if not key and is_googles(exchange.path):
        key = exchange.query.get("key")
    return (key.strip() or None) if key else None
