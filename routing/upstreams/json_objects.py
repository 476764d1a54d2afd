"""JSON objects of vendors: read strictly, written compactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from routing.errors import UpstreamError

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def object_in(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises UpstreamError for anything else."""
    try:
        found = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("the vendor's answer is no JSON") from None
    if not isinstance(found, dict):
        raise UpstreamError("the vendor's answer is no JSON object")
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


def is_whole_call(arguments: str) -> bool:
    """Whether a tool's call has all its `arguments`. Those without any may as well be those that never came."""
    return bool(readable_object(arguments.encode()))


def encode(value: Any) -> bytes:
    """`value` as JSON."""
    return _encoder.encode(value)
