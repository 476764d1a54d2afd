"""Errors in Google's shape, so that its SDKs raise what their users expect.

    {"error": {"code": 402, "message": "...", "status": "RESOURCE_EXHAUSTED", "details": [...]}}

`code` is the HTTP status and `status` Google's own word for it. `details` holds our code (docs/errors.md) twice: as the
`reason` of a google.rpc.ErrorInfo, whose metadata are texts alone, and with all the facts an error carries as they are,
e.g. `remaining` and `suggested_model` of a refusal.
Source: google.aip.dev/193, "Errors"; google/rpc/error_details.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.upstreams.base import GENERATE, Wire
from spendhub.errors import SpendHubError
from spendhub.gateway.error_facts import error_headers, error_status, error_words, vendors_own, vendors_own_event
from spendhub.gateway.exchange import Headers
from spendhub.gateway.stream_events import data_event

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
FACTS = "type.googleapis.com/spendhub.Error"
DOMAIN = "spendhub"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    504: "DEADLINE_EXCEEDED",
}
_encoder = msgspec.json.Encoder(enc_hook=str)


def error_object(error: SpendHubError, money: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands in `error`; `money` is what a call that broke off has cost."""
    status = error_status(error)
    facts = error.details if money is None else {**error.details, "spendhub": money}
    texts = {name: value for name, value in error.details.items() if isinstance(value, str)}
    return {
        "code": status,
        "message": error_words(error),
        "status": _STATUSES.get(status, "UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT"),
        "details": [
            {"@type": ERROR_INFO, "reason": error.code.upper(), "domain": DOMAIN, "metadata": texts},
            {**facts, "@type": FACTS, "code": error.code},
        ],
    }


def error_answer(error: SpendHubError, wire: Wire = GENERATE) -> tuple[int, bytes, Headers]:
    """Status, body and headers. A vendor's own error in this shape keeps its status, its body and its Retry-After."""
    own = vendors_own(error, wire) if wire == GENERATE else None
    if own is not None:
        return own
    return error_status(error), _encoder.encode({"error": error_object(error)}), error_headers(error)


def error_event(error: SpendHubError, money: Mapping[str, Any] | None = None) -> bytes:
    """The error as the last event of a stream that has begun already."""
    return data_event({"error": error_object(error, money)})


def passing_error_event(error: SpendHubError, money: Mapping[str, Any]) -> bytes:
    """As `error_event`, of a stream that passes: what the vendor says itself stays as it is, its details behind ours.

    `error` comes first, and in it the code, which is an HTTP status: by that the SDK knows what to raise."""
    own = vendors_own_event(error)
    if own is None:
        return error_event(error, money)
    event, said = own
    told = error_object(error, money)
    kept = {name: value for name, value in said.items() if name != "details" and _is_readable(name, value)}
    details = said.get("details")
    told |= {**kept, "details": [*told["details"], *(details if isinstance(details, list) else ())]}
    return data_event({"error": told, **{name: value for name, value in event.items() if name != "error"}})


def _is_readable(name: str, value: Any) -> bool:
    """Whether an SDK can read the value in the place of ours."""
    if name == "code":
        return isinstance(value, int) and 400 <= value < 600
    return isinstance(value, str) or name not in ("message", "status")
