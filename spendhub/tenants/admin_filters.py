"""Filters that lists of several apps have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import RangeDateTimeFilter
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
