"""Reads the parameters of an address: typed, bounded, and named when they do not fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from django.utils.dateparse import parse_date, parse_datetime

from spendhub.errors import Invalid
from spendhub.moments import EARLIEST, LATEST

MAX_TEXT_LENGTH = 200
# What every list takes that comes in pages: see paging.py.
PAGING = ("limit", "cursor")


class InvalidQuery(Invalid):
    """A parameter of the address is not what it must be."""

    code = "invalid_query"


def refuse_unknown(query: Mapping[str, str], known: Collection[str]) -> None:
    """Raises InvalidQuery for a parameter that the route does not know: a misspelt filter must not be ignored.

    `format` is known everywhere: clients of REST framework say it, and there is one format."""
    for name in query:
        if name not in known and name != "format":
            seen = name[:40]
            others = f"there are {', '.join(sorted(known))}" if known else "this address takes none"
            raise InvalidQuery(f"there is no parameter {seen!r}; {others}", field=seen)


def text_in(query: Mapping[str, str], name: str) -> str | None:
    """A plain text, None when absent or empty."""
    value = query.get(name)
    if not value:
        return None
    if len(value) > MAX_TEXT_LENGTH or any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise InvalidQuery(f"{name} must be plain text of at most {MAX_TEXT_LENGTH} characters", field=name)
    return value


def required_text_in(query: Mapping[str, str], name: str) -> str:
    """A plain text that must be there."""
    value = text_in(query, name)
    if value is None:
        raise InvalidQuery(f"{name} is missing", field=name)
    return value


def choice_in(query: Mapping[str, str], name: str, choices: Collection[str]) -> str | None:
    """One of the words, None when absent."""
    value = text_in(query, name)
    if value is not None and value not in choices:
        raise InvalidQuery(f"{name} is one of {', '.join(choices)}, not {value[:40]!r}", field=name)
    return value


def flag_in(query: Mapping[str, str], name: str) -> bool | None:
    """true or false, None when absent."""
    value = choice_in(query, name, ("true", "false"))
    return None if value is None else value == "true"


def moment_in(query: Mapping[str, str], name: str) -> datetime | None:
    """A moment (2026-11-24T12:00:00Z) or a day (2026-11-24, its first moment), UTC unless it says otherwise."""
    value = text_in(query, name)
    if value is None:
        return None
    try:
        # A "+" in an address is a space unless it was escaped.
        moment = parse_datetime(value.replace(" ", "+")) or parse_datetime(value)
        day = parse_date(value) if moment is None else None
        if day is not None:
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if moment is not None:
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise InvalidQuery(f"{name} must be a moment like 2026-11-24T12:00:00Z, or a day", field=name)
    return moment


def id_in(query: Mapping[str, str], name: str) -> UUID | None:
    """A UUID, None when absent."""
    value = text_in(query, name)
    try:
        return None if value is None else UUID(value)
    except ValueError:
        raise InvalidQuery(f"{name} must be an id", field=name) from None
