"""JSON objects of vendors: read strictly, written compactly."""

from __future__ import annotations

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


def encode(value: Any) -> bytes:
    """`value` as JSON."""
    return _encoder.encode(value)
