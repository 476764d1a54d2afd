"""Filters that lists of several apps have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.utils import parse_datetime_str


class MomentsFilter(RangeDateTimeFilter):
    """Between two moments, said in the account's own time; what is no moment bounds nothing."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        bounds = {
            f"{self.parameter_name}__gte": self._moment("from"),
            f"{self.parameter_name}__lte": self._moment("to"),
        }
        return queryset.filter(**{lookup: moment for lookup, moment in bounds.items() if moment is not None})

    def _moment(self, end: str) -> datetime | None:
        day, time = (self.used_parameters.get(f"{self.parameter_name}_{end}_{part}") for part in (0, 1))
        said = parse_datetime_str(f"{day} {time}")
        try:
            return None if said is None else timezone.make_aware(said).astimezone(UTC)
        except OverflowError:
            return None


class SeenFilter(DropdownFilter):
    """Choices of a related row, among the rows that may be seen from here.

    Django's own filters on relations list every tenant's rows. `path` leads to the related row's id,
    `label_path` to its name.
    """

    path = ""
    label_path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = model_admin.get_queryset(request).order_by(self.label_path)
        return [
            (str(pk), str(label)) for pk, label in rows.values_list(self.path, self.label_path).distinct()[:300] if pk
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() is None:
            return queryset
        try:
            return queryset.filter(**{self.path: self.value()})
        except (ValueError, ValidationError):
            return queryset.none()
