"""Which moments may be entered: those of which every time zone can cut a day, a week and a month."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.exceptions import ValidationError

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2999, 12, 31, tzinfo=UTC)


def validate_moment(moment: datetime) -> None:
    """Raises ValidationError outside of EARLIEST to LATEST; for fields of models and forms."""
    if not EARLIEST <= moment <= LATEST:
        raise ValidationError("Write a day between the years 1970 and 2999.")


def within_bounds(moment: datetime) -> datetime:
    """The moment itself, or the nearest that may be entered: for rows that are there already."""
    return min(max(moment, EARLIEST), LATEST)
