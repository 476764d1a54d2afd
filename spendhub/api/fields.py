"""Serializer fields that take a value only for what it is: no `true` for 1, no 5 for "5".

`StrictSerializer` and `StrictModelSerializer` use them throughout and name the fields they do not
know. Read-only fields may be sent back as they came (they are ignored), so that a row that was
read can be edited and written again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from spendhub.errors import InvalidMoney
from spendhub.moments import EARLIEST, LATEST
from spendhub.money import MAX_NANO_USD, format_usd, parse_usd


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?$"}, {"type": "number", "minimum": 0}],
        "description": "USD: a decimal string, or a number. Answers hold the string.",
        "example": "12.50",
    }
)
class MoneyField(serializers.Field[int, Any, str, Any]):
    """USD that somebody sets on the wire, nano_usd (an int) inside. `spendhub.money.parse_usd` says what is refused."""

    def __init__(self, *, minimum_nano_usd: int = 0, maximum_nano_usd: int = MAX_NANO_USD, **options: Any) -> None:
        self._minimum_nano_usd = minimum_nano_usd
        self._maximum_nano_usd = maximum_nano_usd
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> int:
        try:
            nano_usd = parse_usd(data, maximum_nano_usd=self._maximum_nano_usd, is_chosen=True)
        except InvalidMoney as error:
            raise serializers.ValidationError(error.message, code=error.code) from None
        if nano_usd < self._minimum_nano_usd:
            raise serializers.ValidationError(f"at least {format_usd(self._minimum_nano_usd)} USD")
        return nano_usd

    def to_representation(self, value: int) -> str:
        return format_usd(value)


class StrictCharField(serializers.CharField):
    """Text only, without control characters."""

    def run_validation(self, data: Any = empty) -> Any:
        if data is not empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        if isinstance(data, str) and any(unicodedata.category(character) in ("Cc", "Cs") for character in data):
            raise serializers.ValidationError("may not hold control characters")
        return super().run_validation(data)


class StrictSlugField(serializers.SlugField):
    """A slug, given as text."""

    def run_validation(self, data: Any = empty) -> Any:
        if data is not empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=str(data)[:40])
        return data


class StrictIntegerField(serializers.IntegerField):
    """A whole JSON number."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class StrictDecimalField(serializers.DecimalField):
    """A finite number, or a decimal string."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, (int, float, str, Decimal)) or len(str(data)) > 60:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictDateTimeField(serializers.DateTimeField):
    """A moment in ISO 8601, from 1970 to 2999; without an offset it is UTC."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if not EARLIEST <= moment <= LATEST:
            raise serializers.ValidationError("must lie between the years 1970 and 2999")
        return moment.astimezone(UTC)


class StrictChoiceField(serializers.ChoiceField):
    """One of the given words, given as text."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=str(data)[:40])
        return super().to_internal_value(data)


class _KnownFieldsOnly:
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [str(name)[:60] for name in data if name not in self.fields]  # type: ignore[attr-defined]  # a mixin of serializers
            if unknown:
                raise serializers.ValidationError({name: ["there is no such field"] for name in unknown[:20]})
        return super().to_internal_value(data)  # type: ignore[misc]  # a mixin of serializers


class StrictSerializer(_KnownFieldsOnly, serializers.Serializer[Any]):
    """A serializer that names the fields it does not know."""


class StrictModelSerializer(_KnownFieldsOnly, serializers.ModelSerializer[Any]):
    """A model serializer whose fields are strict, and which names those it does not know."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: StrictCharField,
        models.TextField: StrictCharField,
        models.SlugField: StrictSlugField,
        models.BooleanField: StrictBooleanField,
        models.IntegerField: StrictIntegerField,
        models.BigIntegerField: StrictIntegerField,
        models.PositiveIntegerField: StrictIntegerField,
        models.PositiveSmallIntegerField: StrictIntegerField,
        models.DecimalField: StrictDecimalField,
        models.DateTimeField: StrictDateTimeField,
    }
    serializer_choice_field = StrictChoiceField
