"""What an error says in whichever shape it is told: its status, its words, its facts, its headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from budgets.errors import BudgetExceeded
from routing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from routing.upstreams.vendor_errors import BrokenOff
from spendhub.api.errors import headers_of, status_of
from spendhub.errors import SpendHubError, Unavailable
from spendhub.gateway.answer_headers import (
    ANTHROPICS_ID,
    OPENAIS_ID,
    limit_headers,
    refusal_headers,
    vendors_id_headers,
)
from spendhub.gateway.exchange import Headers
from spendhub.gateway.idempotency_errors import IdempotencyKeyReused, IdempotencyNotReplayable
from telemetry.brakes import CallPaused

MAX_VENDOR_MESSAGE = 2_000
# A vendor's headers that stay with its error, whoever tells it.
_KEPT_WITH_BODY = ("content-type", "retry-after", "retry-after-ms", "x-should-retry")
_KEPT_WITH_STATUS = _KEPT_WITH_BODY[1:]
_JSON = (b"content-type", b"application/json")
# None of them comes right within the seconds for which an SDK tries again, unless a budget's money is merely held.
_NOT_TO_BE_ASKED_AGAIN = (BudgetExceeded, CallPaused, IdempotencyKeyReused, IdempotencyNotReplayable)


def error_status(error: SpendHubError) -> int:
    """The HTTP status; what went wrong at the vendor is 502 and 504, apart from our own 503."""
    if isinstance(error, UpstreamRefused):
        return error.status if 400 <= error.status < 600 else 502
    if isinstance(error, UpstreamTimeout):
        return 504
    if isinstance(error, IdempotencyKeyReused):
        # Not 409: SDKs take that for a lock, and try again.
        return 422
    return 502 if isinstance(error, UpstreamError) else status_of(error)


def error_words(error: SpendHubError) -> str:
    """The message; of a vendor's refusal the vendor's own, where it can be found in what it sent."""
    if isinstance(error, UpstreamRefused):
        said = _vendors_words(error.body)
        if said:
            return f"{error.message}: {said}"
    return error.message


def error_headers(error: SpendHubError) -> Headers:
    """The headers of an error that is told in our words."""
    if isinstance(error, UpstreamRefused):
        return [_JSON, *_kept(error, _KEPT_WITH_STATUS)]
    headers = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    headers.append(_JSON)
    if isinstance(error, BudgetExceeded):
        headers += refusal_headers(error.decision)
    helps = _helps_to_ask_again(error)
    if helps is not None:
        headers.append((b"x-should-retry", b"true" if helps else b"false"))
    return headers


def _helps_to_ask_again(error: SpendHubError) -> bool | None:
    """Whether an SDK shall try again by itself; None where its own rules for the status are right."""
    if isinstance(error, BudgetExceeded) and error.decision.is_merely_held:
        return True  # which no SDK does of a 402
    is_final = isinstance(error, Unavailable) and error.retry_after_seconds is None
    return False if is_final or isinstance(error, _NOT_TO_BE_ASKED_AGAIN) else None


def vendors_own(error: SpendHubError, wire: str) -> tuple[int, bytes, Headers] | None:
    """A vendor's error as it came, where the vendor speaks the client's wire format; else None."""
    if not isinstance(error, UpstreamRefused) or not error.body or error.wire != wire:
        return None
    return error_status(error), error.body, _kept(error, _KEPT_WITH_BODY)


def vendors_own_event(error: SpendHubError) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The event with which a vendor has ended its stream, and the error in it; None where it is no word of the
    vendor's, or the error has no fields."""
    if not isinstance(error, BrokenOff):
        return None
    said = error.event.get("error")
    return (error.event, said) if isinstance(said, Mapping) else None


def _kept(error: UpstreamRefused, names: tuple[str, ...]) -> Headers:
    kept = [(n.encode(), error.headers[n].encode("latin-1", "replace")) for n in names if n in error.headers]
    return kept + vendors_id_headers(error.headers, OPENAIS_ID, ANTHROPICS_ID) + limit_headers(error.headers)


def _vendors_words(body: bytes) -> str:
    """The message in a vendor's error body: OpenAI's, Anthropic's and Google's shapes, and a list of one."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail")
    return found[:MAX_VENDOR_MESSAGE] if isinstance(found, str) else ""
