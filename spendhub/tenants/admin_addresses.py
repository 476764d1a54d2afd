"""What somebody types into the address of an admin page: taken where it fits, and no page breaks where it does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError, models
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from spendhub.moments import validate_moment

# No key of a row is larger.
_LARGEST_KEY = 2**63 - 1


class FoundRows(ChangeList):
    """The rows of a list. A number that no column holds is found out by the database only, and then is what every other
    filter is that makes no sense: left out, with a word."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except (OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from error


class ChosenRow(AutocompleteSelect):
    """A row chosen by typing. Django's own asks the database for whatever was sent, also for what is no key."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [each for each in value if not each or _key(self.field, each) is not None], attr)


class AddressedAdmin(ModelAdmin):
    """A page whose filters and prefilled fields may be anything that somebody types into an address."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", ChosenRow(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FoundRows

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return not isinstance(self._field(lookup.partition("__")[0]), models.BinaryField) and super().lookup_allowed(
            lookup, value, request
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        return {name: value for name, given in initial.items() if (value := self._fitting(name, given)) is not None}

    def _fitting(self, name: str, given: Any) -> Any:
        field = self._field(name)
        if isinstance(field, models.ForeignKey):
            return _key(field, given)
        return _moment(field, given) if isinstance(field, models.DateTimeField) else given

    def _field(self, name: str) -> Any:
        try:
            return self.opts.get_field(name)
        except FieldDoesNotExist:
            return None


def _key(field: Any, given: Any) -> Any:
    """The key of a row that may stand in the relation `field`; None for what cannot be one."""
    try:
        key = field.target_field.to_python(given)
    except ValidationError:
        return None
    return None if isinstance(key, int) and not 0 <= key <= _LARGEST_KEY else key


def _moment(field: models.DateTimeField[Any, Any], given: Any) -> datetime | None:
    try:
        found = field.to_python(given)
        if found is None:
            return None
        moment: datetime = timezone.make_aware(found) if timezone.is_naive(found) else found
        validate_moment(moment)
    except ValidationError:
        return None
    return moment
