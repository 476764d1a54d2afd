"""Which form field edits a column, on a page of its rows and where they stand on another page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from spendhub.moments import validate_moment
from spendhub.tenants.admin_fields import UsdField

# What a column for whole numbers holds in every database.
LARGEST_WHOLE = 2**31 - 1


def typed_field(page: Any, db_field: Any) -> forms.Field | None:
    """What a page edits a column of its rows with: what its `typed_as` names, USD for money, None: Django's own."""
    make = page.typed_as.get(db_field.name)
    if make is None and "_nano_usd" not in db_field.name:
        return None
    label = without_unit(str(db_field.verbose_name))
    options: dict[str, Any] = {
        "label": label.strip().capitalize() or None,
        "help_text": db_field.help_text,
        "required": not db_field.blank,
    }
    if db_field.has_default():
        options["initial"] = db_field.get_default()
    return make(**options) if make is not None else UsdField(**options)


def bounded_field(field: forms.Field | None, db_field: Any) -> forms.Field | None:
    """Django's own field for a column, which takes what every database can keep, and no more."""
    if isinstance(field, (forms.DateTimeField, forms.SplitDateTimeField)):
        field.validators = [validate_moment]  # the field's own are asked by the row
    elif isinstance(field, forms.IntegerField) and db_field.get_internal_type() == "PositiveIntegerField":
        # SQLite would take more, and tell of larger numbers than any other database can keep.
        field.validators = [MinValueValidator(_least_of(db_field)), MaxValueValidator(LARGEST_WHOLE)]
    return field


def _least_of(db_field: Any) -> int:
    least = [int(each.limit_value) for each in db_field.validators if isinstance(each, MinValueValidator)]
    return max([0, *least])


def without_unit(label: str) -> str:
    """A column's name as people read it."""
    # The group of the fields says it for all of them.
    return label.removesuffix(" nano usd per mtok").replace(" nano usd", "")
