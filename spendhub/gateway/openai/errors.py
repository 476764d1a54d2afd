"""Errors in OpenAI's shape, so that its SDKs raise what their users expect.

    {"error": {"message": "...", "type": "...", "param": null, "code": "..."}}

`type` and, where OpenAI has a code for it, `code` are OpenAI's; else `code` is ours (docs/errors.md).
The facts an error carries stand beside them, e.g. `remaining` and `suggested_model` of a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.errors import ModelNotAvailable, UnknownModel
from routing.upstreams.base import CHAT, Wire
from spendhub.errors import SpendHubError, Unidentified
from spendhub.gateway.error_facts import error_headers, error_status, error_words, vendors_own, vendors_own_event
from spendhub.gateway.exchange import Headers
from spendhub.gateway.stream_events import data_event, named_event

_TYPES = {402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}
_CODES: tuple[tuple[type[SpendHubError], str], ...] = (
    (Unidentified, "invalid_api_key"),
    (UnknownModel, "model_not_found"),
    (ModelNotAvailable, "model_not_found"),
)
_OWN_NAMES = ("message", "type", "param", "code")
_encoder = msgspec.json.Encoder(enc_hook=str)


def error_object(error: SpendHubError, money: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands in `error`; `money` is what a call that broke off has cost."""
    status = error_status(error)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), error.code)
    facts = {name: value for name, value in error.details.items() if name not in _OWN_NAMES}
    return {
        "message": error_words(error),
        "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
        "param": error.details.get("field") or ("model" if code == "model_not_found" else None),
        "code": code,
        **facts,
        **({} if money is None else {"spendhub": money}),
    }


def error_answer(error: SpendHubError, wire: Wire = CHAT) -> tuple[int, bytes, Headers]:
    """Status, body and headers. A vendor's own error in `wire` keeps its status, its body and its Retry-After."""
    own = vendors_own(error, wire)
    if own is not None:
        return own
    return error_status(error), _encoder.encode({"error": error_object(error)}), error_headers(error)


def error_event(error: SpendHubError, money: Mapping[str, Any] | None = None) -> bytes:
    """The error as the last event of a stream of chunks that has begun already."""
    return data_event({"error": error_object(error, money)})


def passing_error_event(error: SpendHubError, money: Mapping[str, Any]) -> bytes:
    """As `error_event`, of a stream that passes: what the vendor says itself stays as it is."""
    own = vendors_own_event(error)
    if own is None:
        return error_event(error, money)
    event, said = own
    return data_event({**event, "error": {**error_object(error), **said, "spendhub": money}})


def typed_error_event(error: SpendHubError, money: Mapping[str, Any] | None = None, number: int = 0) -> bytes:
    """The error as the last event of a stream of typed events (Responses), the one with this `number`."""
    return _typed(error_object(error, money), number)


def passing_typed_error_event(error: SpendHubError, money: Mapping[str, Any], number: int) -> bytes:
    """As `typed_error_event`, of a stream that passes: what the vendor says itself stays as it is."""
    own = vendors_own_event(error)
    if own is None:
        return typed_error_event(error, money, number)
    _, said = own
    if said.get("type") == "error":
        # As the reference has it, the event is the error itself.
        said = {name: value for name, value in said.items() if name not in ("type", "sequence_number")}
    return _typed({**error_object(error), **said, "spendhub": money}, number)


def _typed(told: Mapping[str, Any], number: int) -> bytes:
    # The facts stand twice: at the top where the reference has them, and in `error`, which makes the SDK raise.
    names = ("code", "message", "param")
    event = {"type": "error", **{name: told[name] for name in names}, "sequence_number": number, "error": told}
    return named_event("error", event)
