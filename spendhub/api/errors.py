"""Turns errors into answers: one table from kinds to status codes, one JSON shape.

    {"error": {"code": "budget_exceeded", "message": "...", "details": {...}}}

docs/errors.md lists the codes. The recipe's routes and the gateway have shapes of their own, but
take their status codes from here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.response import Response

from spendhub import errors

logger = logging.getLogger(__name__)


class BodyTooLarge(errors.Invalid):
    """The request's body is larger than this route takes."""

    code = "body_too_large"


class BodyTooSlow(errors.Invalid):
    """The request's body did not come in within the time that there is for it."""

    code = "body_too_slow"


class WrongContentType(errors.Invalid):
    """The request's body is not declared to be JSON."""

    code = "wrong_content_type"


class WrongContentEncoding(errors.Invalid):
    """The request's body is compressed, or otherwise not as it is."""

    code = "wrong_content_encoding"


class WrongMethod(errors.Invalid):
    """The route exists, but not for this method."""

    code = "wrong_method"


class NoSuchRoute(errors.Missing):
    """Nothing answers at this address."""

    code = "no_such_route"


class Broken(errors.SpendHubError):
    """A defect of ours; the log has its details."""

    code = "internal_error"


# The most specific class wins: what a class has no line for, its parent's line decides.
STATUS_BY_KIND: Mapping[type[errors.SpendHubError], int] = {
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    WrongContentType: 415,
    WrongContentEncoding: 415,
    WrongMethod: 405,
    errors.Invalid: 400,
    errors.Unidentified: 401,
    errors.Refused: 402,
    errors.Forbidden: 403,
    errors.Missing: 404,
    errors.Conflict: 409,
    errors.Throttled: 429,
    errors.Unavailable: 503,
    errors.SpendHubError: 500,
}


def status_of(error: errors.SpendHubError) -> int:
    """The HTTP status of an error, by the nearest kind in its ancestry."""
    return next(STATUS_BY_KIND[kind] for kind in type(error).__mro__ if kind in STATUS_BY_KIND)


def headers_of(error: errors.SpendHubError) -> dict[str, str]:
    """Retry-After in whole seconds where the error knows it, and the challenge that a 401 must carry."""
    headers = {}
    retry_after = getattr(error, "retry_after_seconds", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(0, int(retry_after)))
    if isinstance(error, errors.Unidentified):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def body_of(error: errors.SpendHubError) -> dict[str, Any]:
    """The native error shape."""
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}


def answer_error(error: errors.SpendHubError) -> HttpResponse:
    """A complete native answer, for code that stands outside REST framework."""
    content = msgspec.json.encode(body_of(error), enc_hook=str)
    return HttpResponse(content, status=status_of(error), content_type="application/json", headers=headers_of(error))


def translate(error: Exception) -> errors.SpendHubError:
    """What any exception that a view let out means to the caller. A defect is logged with its traceback."""
    match error:
        case errors.SpendHubError():
            return error
        case exceptions.ValidationError():
            return _translate_validation(error)
        case exceptions.ParseError() | exceptions.UnsupportedMediaType() | exceptions.MethodNotAllowed():
            kind = {415: WrongContentType, 405: WrongMethod}.get(error.status_code, errors.Invalid)
            return kind(str(error.detail))
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.Unidentified(str(error.detail))
        case exceptions.PermissionDenied() | PermissionDenied():
            return errors.Forbidden(str(error) or "you may not do this")
        case exceptions.NotFound() | Http404():
            return errors.Missing("there is no such thing here")
        case exceptions.Throttled():
            return errors.Throttled(str(error.detail), retry_after_seconds=int(getattr(error, "wait", None) or 1))
        case RequestDataTooBig():
            return BodyTooLarge("the body is too large")
        case SuspiciousOperation() | UnreadablePostError():
            return errors.Invalid("the request could not be read")
        case OperationalError() | InterfaceError():
            logger.exception("the database does not answer")
            return errors.Unavailable("the database does not answer; please try again")
        case _:
            logger.error("a view failed", exc_info=error)
            return Broken("something is broken on our side; it has been logged")


def answer_exception(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's exception handler: every error leaves in the native shape, none as HTML."""
    told = translate(error)
    return Response(body_of(told), status=status_of(told), headers=headers_of(told))


def _translate_validation(error: exceptions.ValidationError) -> errors.Invalid:
    problems = list(_flatten(error.detail))
    first_field, first_problem = problems[0] if problems else ("", "the body is not valid")
    message = f"{first_field}: {first_problem}" if first_field else first_problem
    fields: dict[str, list[str]] = {}
    for field, problem in problems[:100]:
        fields.setdefault(field or "body", []).append(problem)
    return errors.Invalid(message, fields=fields)


def _flatten(detail: Any, path: str = "") -> Any:
    """(path, problem) of each leaf in REST framework's nested lists and dicts."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            is_general = name == "non_field_errors"
            yield from _flatten(inner, path if is_general else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_nested = isinstance(inner, (Mapping, list))
            yield from _flatten(inner, f"{path}[{index}]" if is_nested else path)
    else:
        yield path, str(detail)


class ApiErrors:
    """Middleware: below /api/ even what no view answered (no route, a defect) leaves in the native shape.

    It also refuses NUL in an address: no text column can hold it, and PostgreSQL would fail on it.
    """

    NUL: ClassVar[str] = "\x00"

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self.NUL in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            return answer_error(errors.Invalid("an address may not contain NUL"))
        response: HttpResponseBase = self._get_response(request)
        return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler404: the native shape below /api/, Django's page elsewhere."""
    if request.path_info.startswith("/api/"):
        return answer_error(NoSuchRoute(f"nothing answers at {request.path_info[:200]}"))
    from django.views.defaults import page_not_found

    return page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler400: the native shape below /api/, Django's page elsewhere."""
    if request.path_info.startswith("/api/"):
        return answer_error(translate(exception))
    from django.views.defaults import bad_request as page

    return page(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """handler500: the native shape below /api/, Django's page elsewhere."""
    if request.path_info.startswith("/api/"):
        return answer_error(Broken("something is broken on our side; it has been logged"))
    from django.views.defaults import server_error as page

    return page(request)
