"""The error tree's root and its kinds. No HTTP here: `spendhub.api` turns kinds into status codes.

    SpendHubError
    |- Invalid       what was sent cannot be understood or is impossible
    |- Unidentified  no usable API key or session came with it
    |- Forbidden     the caller is known, but may not do this
    |- Missing       what was named does not exist (or belongs to another tenant)
    |- Conflict      it contradicts what is already recorded
    |- Refused       understood and possible, but a budget says no
    |- Throttled     too often; the same call can succeed later
    |- Unavailable   something we depend on does not answer

An app adds classes below these kinds, each with a `code` that is stable for ever and listed in
docs/errors.md. Facts go into `details`, which every surface may show to the caller.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SpendHubError(Exception):
    """Root of everything SpendHub raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details


class Invalid(SpendHubError):
    """What was sent cannot be understood or is impossible."""

    code = "invalid"


class Unidentified(SpendHubError):
    """No usable API key or session came with the request."""

    code = "unidentified"


class Forbidden(SpendHubError):
    """The caller is known, but may not do this."""

    code = "forbidden"


class Missing(SpendHubError):
    """What was named does not exist for this tenant."""

    code = "missing"


class Conflict(SpendHubError):
    """The request contradicts what is already recorded."""

    code = "conflict"


class Refused(SpendHubError):
    """Understood and possible, but a budget says no."""

    code = "refused"


class Throttled(SpendHubError):
    """Too often. `retry_after_seconds` says when the same call can succeed."""

    code = "throttled"

    def __init__(self, message: str, retry_after_seconds: int, **details: Any) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **details)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(SpendHubError):
    """Something we depend on does not answer. `retry_after_seconds` says when to try again; None where that alone
    does not help."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_seconds: int | None = 1, **details: Any) -> None:
        if retry_after_seconds is not None:
            details = {"retry_after_seconds": retry_after_seconds, **details}
        super().__init__(message, **details)
        self.retry_after_seconds = retry_after_seconds


class InvalidMoney(Invalid):
    """A value that is no amount of money, or not one that may stand here."""

    code = "invalid_money"

    def __init__(self, seen: object, expected: str) -> None:
        super().__init__(f"{str(seen)[:60]!r} is not {expected}", expected=expected)


def code_of(error: BaseException) -> str:
    """The `code` of an error of ours, "defect" for any other: some libraries have codes of their own."""
    return error.code if isinstance(error, SpendHubError) else "defect"
