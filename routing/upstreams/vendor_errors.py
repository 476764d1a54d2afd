"""Errors that a vendor sends with status 200: inside a stream that had begun well, or in place of a whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.content_refusals import refuses_content
from routing.errors import UpstreamError

MAX_MESSAGE = 200


class BrokenOff(UpstreamError):
    """The vendor has ended its stream with an error of its own; `event` is the object in which it says so, as it came:
    for clients who speak the same wire format."""

    def __init__(self, message: str, event: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.event = event
        self.refuses_content = refuses_content(event)


def raise_for_error(event: Mapping[str, Any]) -> None:
    """Raises BrokenOff, with the vendor's word and message, for an event that is an error or carries one."""
    said = _error_in(event)
    if said:
        raise BrokenOff(f"the vendor broke off in mid-stream: {said}", event)


def raise_for_error_answer(answer: Mapping[str, Any]) -> None:
    """Raises UpstreamError, as `raise_for_error` does, for a whole answer that is an error or carries one."""
    said = _error_in(answer)
    if said:
        error = UpstreamError(f"the vendor answered with an error: {said}")
        error.refuses_content = refuses_content(answer)
        raise error


def raise_unless_list(answer: Mapping[str, Any], name: str) -> None:
    """Raises UpstreamError for a whole answer without the list `name`, which is what its vendor's answers are about."""
    if not isinstance(answer.get(name), list):
        raise UpstreamError(f"the vendor's answer has no {name}")


def gave_up(reason: str, told: Mapping[str, Any]) -> UpstreamError:
    """What is wrong with an answer without a word of text, whose vendor calls by `reason` what has failed in it. What
    it says besides is in `told`."""
    said = _error_in(told) or str(told.get("finishMessage") or "")[:MAX_MESSAGE]
    error = UpstreamError(f"the vendor failed without an answer: {reason}{f': {said}' if said else ''}")
    error.refuses_content = refuses_content(told)
    return error


def _error_in(told: Mapping[str, Any]) -> str:
    """The vendor's word and message, "" where there is no error."""
    error = told.get("error")
    if not error:
        return ""
    if not isinstance(error, Mapping):
        error = {"message": error}
    kind = error.get("type")
    word = (kind if kind != "error" else None) or error.get("status") or error.get("code") or "error"
    message = str(error.get("message") or "")[:MAX_MESSAGE]
    return f"{word}: {message}"
