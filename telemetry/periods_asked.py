"""The period that a report is asked for: `from` and `to` in the address, the last 30 days without them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from drf_spectacular.utils import OpenApiParameter

from spendhub.api.queries import InvalidQuery, moment_in

USUAL_RANGE = timedelta(days=30)
RANGE = [
    OpenApiParameter("from", str, description="A moment or a day; included."),
    OpenApiParameter("to", str, description="A moment or a day; not included."),
]


def range_in(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    """Where the period begins (included) and ends (not included). Raises InvalidQuery."""
    ends_at = moment_in(query, "to") or now
    starts_at = moment_in(query, "from") or ends_at - USUAL_RANGE
    if starts_at >= ends_at:
        raise InvalidQuery("from must be before to", field="from")
    return starts_at, ends_at
