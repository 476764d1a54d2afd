"""How long a vendor asks to be left alone, where it does not say so in `Retry-After`.

Google says it in the error itself, as google.rpc.RetryInfo, and sends no header; OpenAI and Azure also send
`retry-after-ms`. Sources: Google's google/rpc/error_details.proto; OpenAI's SDK, which reads both headers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

# A protobuf duration as JSON: seconds, up to nine digits after the point.
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_MILLISECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


def with_retry_after(headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
    """The headers of a refusal; with `retry-after` in whole seconds, rounded up, where it is said elsewhere."""
    if "retry-after" in headers:
        return headers
    given = headers.get("retry-after-ms", "")
    seconds = float(given) / 1000 if _MILLISECONDS.fullmatch(given) else _seconds_in(body)
    return headers if seconds is None else {**headers, "retry-after": str(math.ceil(seconds))}


def _seconds_in(body: bytes) -> float | None:
    if b"retryDelay" not in body:
        return None
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]  # Google's address for OpenAI's format wraps its errors.
    error = found.get("error") if isinstance(found, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        said = _DURATION.fullmatch(str(detail.get("retryDelay"))) if isinstance(detail, dict) else None
        if said is not None:
            return float(said[1])
    return None
