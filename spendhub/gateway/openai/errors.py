"""Errors in OpenAI's shape, so that its SDKs raise what their users expect.

    {"error": {"message": "...", "type": "...", "param": null, "code": "..."}}

`type` and, where OpenAI has a code for it, `code` are OpenAI's; else `code` is ours (docs/errors.md).
The facts an error carries stand beside them, e.g. `remaining` and `suggested_model` of a refusal.
"""

from __future__ import annotations

import msgspec

from budgets.errors import BudgetExceeded
from routing.errors import ModelNotAvailable, UnknownModel, UpstreamError, UpstreamRefused, UpstreamTimeout
from spendhub.api.errors import headers_of, status_of
from spendhub.errors import SpendHubError, Unidentified
from spendhub.gateway.answer_headers import refusal_headers
from spendhub.gateway.exchange import Headers

_TYPES = {402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}
_CODES: tuple[tuple[type[SpendHubError], str], ...] = (
    (Unidentified, "invalid_api_key"),
    (UnknownModel, "model_not_found"),
    (ModelNotAvailable, "model_not_found"),
)
_KEPT_OF_VENDORS = ("content-type", "retry-after", "x-request-id", "x-should-retry")
_encoder = msgspec.json.Encoder(enc_hook=str)
_JSON = (b"content-type", b"application/json")


def error_status(error: SpendHubError) -> int:
    """The HTTP status; what went wrong at the vendor is 502 and 504, apart from our own 503."""
    if isinstance(error, UpstreamRefused):
        return error.status if 400 <= error.status < 600 else 502
    if isinstance(error, UpstreamTimeout):
        return 504
    return 502 if isinstance(error, UpstreamError) else status_of(error)


def error_body(error: SpendHubError) -> bytes:
    """The error object as JSON."""
    status = error_status(error)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), error.code)
    facts = {name: value for name, value in error.details.items() if name not in ("message", "type", "param", "code")}
    told = {
        "message": error.message,
        "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
        "param": error.details.get("field") or ("model" if code == "model_not_found" else None),
        "code": code,
        **facts,
    }
    return _encoder.encode({"error": told})


def error_answer(error: SpendHubError) -> tuple[int, bytes, Headers]:
    """Status, body and headers. A vendor's own error keeps its status, its body and its Retry-After."""
    status = error_status(error)
    if isinstance(error, UpstreamRefused) and error.body:
        kept = [name for name in _KEPT_OF_VENDORS if name in error.headers]
        return status, error.body, [(name.encode(), error.headers[name].encode("latin-1", "replace")) for name in kept]
    headers = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    headers.append(_JSON)
    if isinstance(error, BudgetExceeded):
        headers += [*refusal_headers(error.decision), (b"x-should-retry", b"false")]
    return status, error_body(error), headers


def error_event(error: SpendHubError) -> bytes:
    """The error as the last event of a stream that has begun already."""
    return b"data: " + error_body(error) + b"\n\n"
