"""How long a vendor asks to be left alone, where it does not say so in `Retry-After` as whole seconds.

That header may hold a date as well. Google says it in the error itself, as google.rpc.RetryInfo, and sends no header;
OpenAI and Azure also send `retry-after-ms`. Sources: RFC 9110, section 10.2.3; Google's google/rpc/error_details.proto;
OpenAI's SDK, which reads both headers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

# A protobuf duration as JSON: seconds, up to nine digits after the point.
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


def with_retry_after(headers: Mapping[str, str], body: bytes, now: datetime | None = None) -> Mapping[str, str]:
    """The headers of a refusal; with `retry-after` in whole seconds, rounded up, where it is said otherwise."""
    if "retry-after" in headers:
        seconds = _seconds_until(headers["retry-after"], now or datetime.now(UTC))
    else:
        given = headers.get("retry-after-ms", "")
        seconds = float(given) / 1000 if _NUMBER.fullmatch(given) else _seconds_in(body)
    return headers if seconds is None else {**headers, "retry-after": str(math.ceil(seconds))}


def _seconds_until(given: str, now: datetime) -> float | None:
    """Of a number with a fraction, or a date; None for what needs no reading, or cannot be read."""
    if _NUMBER.fullmatch(given):
        return None if given.isdigit() else float(given)
    try:
        moment = parsedate_to_datetime(given)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return None


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
