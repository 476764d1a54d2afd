"""Reads a request's body: bounded, declared as JSON, and strict about what JSON is.

Refused: NaN and Infinity, invalid UTF-8, lone surrogates, NUL (no text column can hold it), and
nesting deeper than `MAX_DEPTH` (a thousand brackets would exhaust whoever writes it down again).
"""

from __future__ import annotations

import re
from typing import IO, Any, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError
from rest_framework.parsers import BaseParser

from spendhub.api.errors import BodyTooLarge, WrongContentType
from spendhub.errors import Invalid

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 64

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# How msgspec tells of a field that is missing, or that there is none of: in words only.
_NAMED = re.compile(r"(?:missing required|contains unknown) field `([^`]+)`")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

Decoded = TypeVar("Decoded")


class InvalidJson(Invalid):
    """The body is not JSON, or uses what JSON does not have, such as NaN."""

    code = "invalid_json"


def read_body(request: HttpRequest, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body in full. Raises BodyTooLarge above `max_bytes`, before reading it where its length is declared."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if not declared and request.META.get("HTTP_TRANSFER_ENCODING"):
        raise Invalid("send the body with a Content-Length, not in chunks")
    if declared.isdigit() and int(declared) > max_bytes:
        raise BodyTooLarge(f"the body has {declared} bytes; this route takes {max_bytes}", max_bytes=max_bytes)
    try:
        body = request.body
    except RequestDataTooBig:
        raise BodyTooLarge(f"this route takes {max_bytes} bytes", max_bytes=max_bytes) from None
    except UnreadablePostError:
        raise Invalid("the body ended before its end") from None
    if len(body) > max_bytes:
        raise BodyTooLarge(f"the body has {len(body)} bytes; this route takes {max_bytes}", max_bytes=max_bytes)
    return body


def decode(body: bytes, decoder: msgspec.json.Decoder[Decoded]) -> Decoded:
    """The body as the decoder's type. Raises InvalidJson, or Invalid naming the field that does not fit."""
    refuse_unstorable(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `")
        field = place.rstrip("`").removeprefix("$").removeprefix(".")
        named = _NAMED.search(problem)
        about = ".".join(name for name in (field, named[1] if named else "") if name)
        raise Invalid(f"{field}: {problem}" if field else problem, field=about) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("the body is not valid JSON in UTF-8" if body else "the body is empty; send JSON") from None
    except RecursionError:
        raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels") from None


def refuse_unstorable(body: bytes) -> None:
    """Raises InvalidJson for what decodes but cannot be kept: NUL in a text, nesting without end."""
    if b"\\u0000" in body and _NUL.search(body):
        raise InvalidJson("the body has a NUL character (\\u0000), which no text may hold")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        depth = 0
        for bracket in _STRINGS.sub(b"", body).translate(None, _ALL_BUT_BRACKETS):
            depth += 1 if bracket in b"[{" else -1
            if depth > MAX_DEPTH:
                raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels")


def require_json(content_type: str) -> None:
    """Raises WrongContentType unless the header says JSON (or nothing)."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("application/json", "") and not media_type.endswith("+json"):
        raise WrongContentType(f"send application/json, not {media_type[:80]}")


_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class StrictJSONParser(BaseParser):
    """REST framework's way in to `read_body` and `decode`; a view may set `max_body_bytes`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        context = parser_context or {}
        limit: int = getattr(context.get("view"), "max_body_bytes", MAX_BODY_BYTES)
        request = context["request"]
        return decode(read_body(getattr(request, "_request", request), limit), _ANYTHING)
