"""The record of changes as people read it: names in place of the ids of other rows, moments in the account's time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from spendhub.tenants.models import Change, Tenant

# By the kind of row, then by its key.
Names = Mapping[type[models.Model], Mapping[int | UUID, models.Model]]

_LARGEST_KEY = 2**63 - 1
_NOT_OF_AN_ACCOUNT = object()


def names_in(changes: Iterable[Change]) -> Names:
    """The rows that some changes refer to; one query for each kind of row."""
    wanted: dict[type[models.Model], set[int | UUID]] = defaultdict(set)
    for change in changes:
        for field in {**change.before, **change.after}:
            kind = _kind_of(change, field)
            if kind is not None:
                keys = (_key(kind, values.get(field)) for values in (change.before, change.after))
                wanted[kind] |= {key for key in keys if key is not None}
    return {kind: kind._base_manager.in_bulk(keys) for kind, keys in wanted.items() if keys}


def told_value(change: Change, field: str, value: Any, names: Names) -> str:
    """One value of a change, in words; an en dash for none. A row of another account is told by its number alone."""
    if value in (None, "", [], {}):
        return "–"
    kind = _kind_of(change, field)
    key = None if kind is None else _key(kind, value)
    if kind is not None and key is not None:
        row = names.get(kind, {}).get(key)
        return str(row) if row is not None and _is_for(change, row) else f"no. {value}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return _local(value) if isinstance(_field_of(change, field), models.DateTimeField) else str(value)


def _field_of(change: Change, field: str) -> Any:
    """None where the row that was changed has no such field."""
    try:
        return apps.get_model(change.subject_type)._meta.get_field(field)
    except (LookupError, ValueError, FieldDoesNotExist):
        return None


def _kind_of(change: Change, field: str) -> type[models.Model] | None:
    """The kind of row that a changed field refers to; None for a value of its own."""
    found = _field_of(change, field)
    related = found.related_model if isinstance(found, models.ForeignKey) else None
    return related if isinstance(related, type) else None


def _key(kind: type[models.Model], value: Any) -> int | UUID | None:
    """The value as a row's key. Some changes are kept with a row's name in the place of its key: a name may look like
    a number, but a key is one."""
    if isinstance(kind._meta.pk, models.UUIDField):
        try:
            return UUID(value) if isinstance(value, str) else None
        except ValueError:
            return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _LARGEST_KEY else None


def _is_for(change: Change, row: models.Model) -> bool:
    """Whether the account of the change may see what the row is called: it is shared, or its own."""
    if isinstance(row, Tenant):
        return row.pk == change.tenant_id
    return getattr(row, "tenant_id", _NOT_OF_AN_ACCOUNT) in (None, change.tenant_id)


def _local(value: Any) -> str:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
        return str(value) if moment is None else f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return str(value)
