"""Errors in Anthropic's shape, so that its SDKs raise what their users expect.

    {"type": "error", "error": {"type": "...", "message": "..."}, "request_id": null}

`type` is Anthropic's own word for the status. Beside it stand `code`, which is ours (docs/errors.md), and the
facts an error carries, e.g. `remaining` and `suggested_model` of a refusal. Anthropic's own `details` are told where
its SDK acts upon them.
Source: Anthropic's API reference, "Errors".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.conversation import NotTranslatable
from routing.errors import UpstreamRefused
from routing.upstreams.base import MESSAGES
from spendhub.errors import SpendHubError
from spendhub.gateway.answer_headers import ANTHROPICS_ID, vendors_id
from spendhub.gateway.error_facts import error_headers, error_status, error_words, vendors_own, vendors_own_event
from spendhub.gateway.exchange import Headers
from spendhub.gateway.stream_events import named_event

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OWN_NAMES = ("type", "message", "code")
# By this Anthropic's SDK knows that it has to send the whole conversation, which it then does by itself.
_WITHOUT_THREAD = {"error_code": "thread_unsupported_request", "unsupported": ["model"]}
_encoder = msgspec.json.Encoder(enc_hook=str)


def error_object(error: SpendHubError, money: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The whole error: `type`, `error` and `request_id`, the vendor's where there is one. `money` is what a call that
    broke off has cost."""
    status = error_status(error)
    facts = {name: value for name, value in error.details.items() if name not in _OWN_NAMES}
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    told = {"type": kind, "message": error_words(error), "code": error.code, **facts}
    if isinstance(error, NotTranslatable) and error.field == "thread":
        told["details"] = _WITHOUT_THREAD
    if money is not None:
        told["spendhub"] = money
    request_id = vendors_id(error.headers, ANTHROPICS_ID) if isinstance(error, UpstreamRefused) else None
    return {"type": "error", "error": told, "request_id": request_id}


def error_answer(error: SpendHubError) -> tuple[int, bytes, Headers]:
    """Status, body and headers. A vendor's own error in this shape keeps its status, its body and its Retry-After."""
    own = vendors_own(error, MESSAGES)
    if own is not None:
        return own
    return error_status(error), _encoder.encode(error_object(error)), error_headers(error)


def error_event(error: SpendHubError, money: Mapping[str, Any] | None = None) -> bytes:
    """The error as the last event of a stream that has begun already."""
    return named_event("error", error_object(error, money))


def passing_error_event(error: SpendHubError, money: Mapping[str, Any]) -> bytes:
    """As `error_event`, of a stream that passes: what the vendor says itself stays as it is."""
    own = vendors_own_event(error)
    if own is None:
        return error_event(error, money)
    event, said = own
    ours = error_object(error)
    return named_event("error", {**ours, **event, "error": {**ours["error"], **said, "spendhub": money}})
