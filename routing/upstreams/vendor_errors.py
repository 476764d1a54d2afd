"""Errors that a vendor sends inside a stream that had begun well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.errors import UpstreamError

MAX_MESSAGE = 200


def raise_for_error(event: Mapping[str, Any]) -> None:
    """Raises UpstreamError, with the vendor's word and message, for an event that is an error or carries one."""
    error = event.get("error")
    if not error:
        return
    if not isinstance(error, Mapping):
        error = {"message": error}
    kind = error.get("type")
    word = (kind if kind != "error" else None) or error.get("status") or error.get("code") or "error"
    message = str(error.get("message") or "")[:MAX_MESSAGE]
    raise UpstreamError(f"the vendor broke off in mid-stream: {word}: {message}")
