"""The record of changes as people read it: names in place of the ids of other rows, moments in the account's time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from spendhub.tenants.models import Change

# By the kind of row, then by its id.
Names = Mapping[type[models.Model], Mapping[Any, str]]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def names_in(changes: Iterable[Change]) -> Names:
    """The names of all rows that some changes refer to; one query for each kind of row."""
    wanted: dict[type[models.Model], set[Any]] = defaultdict(set)
    for change in changes:
        for field in {**change.before, **change.after}:
            kind = _kind_of(change, field)
            if kind is not None:
                wanted[kind] |= {_key(kind, values.get(field)) for values in (change.before, change.after)} - {None}
    return {
        kind: {str(pk): str(row) for pk, row in kind._base_manager.in_bulk(keys).items()}
        for kind, keys in wanted.items()
    }


def told_value(change: Change, field: str, value: Any, names: Names) -> str:
    """One value of a change, in words; an en dash for none."""
    if value in (None, "", [], {}):
        return "–"
    kind = _kind_of(change, field)
    if kind is not None and _key(kind, value) is not None:
        return names.get(kind, {}).get(str(value), f"no. {value}")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return _local(value) if isinstance(value, str) else str(value)


def _kind_of(change: Change, field: str) -> type[models.Model] | None:
    """The kind of row that a changed field refers to; None for a value of its own."""
    try:
        found = apps.get_model(change.subject_type)._meta.get_field(field)
    except (LookupError, ValueError, FieldDoesNotExist):
        return None
    related = found.related_model if isinstance(found, models.ForeignKey) else None
    return related if isinstance(related, type) else None


def _key(kind: type[models.Model], value: Any) -> Any:
    """The value as a row's key; None for what is none: some changes are kept with the name itself."""
    try:
        return kind._meta.pk.to_python(value) if value else None
    except ValidationError:
        return None


def _local(text: str) -> str:
    moment = parse_datetime(text) if _MOMENT.fullmatch(text) else None
    return text if moment is None else f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"
