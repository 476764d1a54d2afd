"""Errors that a vendor sends with status 200: inside a stream that had begun well, or in place of a whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.errors import UpstreamError

MAX_MESSAGE = 200


def raise_for_error(event: Mapping[str, Any]) -> None:
    """Raises UpstreamError, with the vendor's word and message, for an event that is an error or carries one."""
    _raise(event, "broke off in mid-stream")


def raise_for_error_answer(answer: Mapping[str, Any]) -> None:
    """Raises UpstreamError, as `raise_for_error` does, for a whole answer that is an error or carries one."""
    _raise(answer, "answered with an error")


def raise_unless_list(answer: Mapping[str, Any], name: str) -> None:
    """Raises UpstreamError for a whole answer without the list `name`, which is what its vendor's answers are about."""
    if not isinstance(answer.get(name), list):
        raise UpstreamError(f"the vendor's answer has no {name}")


def _raise(told: Mapping[str, Any], what: str) -> None:
    error = told.get("error")
    if not error:
        return
    if not isinstance(error, Mapping):
        error = {"message": error}
    kind = error.get("type")
    word = (kind if kind != "error" else None) or error.get("status") or error.get("code") or "error"
    message = str(error.get("message") or "")[:MAX_MESSAGE]
    raise UpstreamError(f"the vendor {what}: {word}: {message}")
