"""JSON objects of vendors: read strictly, but for numbers and characters that are none; written compactly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from routing.errors import UpstreamError

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
# An escaped backslash, an escaped character of two halves, or one half. No other escape can be taken for a half.
_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_BYTES_OF_HALF = 6
_NO_CHARACTER = rb"\ufffd"


class NoJson(UpstreamError):
    """An answer of a vendor's, or an event of one, is no JSON object."""


def object_in(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Half a surrogate, as models that are cut off write it, is read as U+FFFD. Raises
    NoJson for anything else."""
    try:
        found = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _read_again(_without_halves(data))
    if not isinstance(found, dict):
        raise NoJson("the vendor's answer is no JSON object")
    return found


def readable_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`; None for anything else, which is handed on as it came."""
    try:
        return object_in(data)
    except UpstreamError:
        return None


def readable_objects(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects among `pieces`. There is nothing to count in what is none."""
    return (found for piece in pieces if (found := readable_object(piece)) is not None)


def objects_among(value: Any) -> Iterable[Mapping[str, Any]]:
    """The objects of what should be a list of them."""
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def _without_halves(data: bytes) -> bytes:
    """`data` with U+FFFD for each half of a surrogate pair that stands alone, and for bytes that are no UTF-8."""
    whole = data.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda found: _NO_CHARACTER if len(found[0]) == _BYTES_OF_HALF else found[0], whole)


def _read_again(data: bytes) -> Any:
    """The JSON in `data`, which may have NaN or Infinity, as servers in Python write them: as text. Raises NoJson for
    anything else."""
    try:
        if b"NaN" in data or b"Infinity" in data:
            return json.loads(data, parse_constant=str)
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise NoJson("the vendor's answer is no JSON") from None


def is_whole_call(arguments: str) -> bool:
    """Whether a tool's call has all its `arguments`. Those without any may as well be those that never came."""
    return bool(readable_object(arguments.encode()))


def encode(value: Any) -> bytes:
    """`value` as JSON."""
    return _encoder.encode(value)
