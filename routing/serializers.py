"""Providers, models and prices on the wire. Money is USD per million tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import RegexValidator
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from routing.installation_keys import InstallationKeyFlag
from routing.model_filters import price_of
from routing.model_names import problems_of_names
from routing.models import CAPABILITIES, Model, Price, Provider, problem_of_sizes, validate_base_url
from routing.own_upstreams import UpstreamNotAllowed, check_own_address, check_own_key, problem_of_address
from routing.price_specs import COLUMNS, KINDS, PriceSpec
from routing.provider_names import problem_of_provider_name
from routing.service_tiers import MAX_TIER_LENGTH, TIER_PATTERN
from spendhub.api.authentication import principal_of
from spendhub.api.fields import (
    MoneyField,
    StrictCharField,
    StrictChoiceField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictModelSerializer,
    StrictSerializer,
)
from spendhub.money import format_usd

MAX_WORDS = 50
MAX_TOKENS = 2**31 - 1


@extend_schema_field({"type": "array", "items": {"type": "string"}, "maxItems": MAX_WORDS})
class WordsField(serializers.Field[list[str], Any, list[str], Any]):
    """A list of distinct words; of `choices` where given."""

    def __init__(self, *, choices: tuple[str, ...] = (), **options: Any) -> None:
        self._choices = choices
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or len(data) > MAX_WORDS:
            raise serializers.ValidationError(f"a list of at most {MAX_WORDS} words")
        for word in data:
            if not isinstance(word, str) or not word.strip() or len(word) > 120 or not word.isprintable():
                raise serializers.ValidationError("each must be a word of 1 to 120 printable characters")
            if self._choices and word not in self._choices:
                raise serializers.ValidationError(f"{word!r} is none of {', '.join(self._choices)}")
        return list(dict.fromkeys(data))

    def to_representation(self, value: list[str]) -> list[str]:
        return value


@extend_schema_field({"type": "string", "maxLength": 120})
class NamedRowField(serializers.Field[Any, Any, str, Any]):
    """A provider or model by its name: the caller's own one, else the shared one."""

    def __init__(self, *, of: type[Provider] | type[Model], **options: Any) -> None:
        self._of = of
        self._name = StrictCharField(max_length=120)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> Any:
        name = self._name.run_validation(data)
        tenant_id = principal_of(self.context["request"]).tenant_id
        visible = self._of.objects.across_tenants().filter(Q(tenant=None) | Q(tenant=tenant_id), name=name)
        found = sorted(visible, key=lambda row: row.tenant_id is None)
        if not found:
            raise serializers.ValidationError(f"no {self._of._meta.verbose_name} is called {name[:60]!r}")
        return found[0]

    def to_representation(self, value: Any) -> str:
        return str(value.name)


class OwnUpstreamMixin:
    """Checks the address and key variable that a tenant enters."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Of a tenant's own upstream: see routing/own_upstreams.py."""
        request = self.context["request"]  # type: ignore[attr-defined]  # a mixin of serializers
        tenant_id = principal_of(request).tenant_id
        for name in ("base_url", "api_key_env"):
            try:
                if name == "base_url":
                    if attrs.get(name):
                        validate_base_url(attrs[name])
                    check_own_address(attrs.get(name, ""))
                else:
                    check_own_key(tenant_id, attrs.get(name, ""))
            except (UpstreamNotAllowed, DjangoValidationError) as error:
                raise serializers.ValidationError({name: [error.message]}) from None
        return attrs


class SharedFlag(serializers.BooleanField):
    """Whether the row belongs to the whole installation."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            read_only=True, source="*", help_text="True: for every account, and read-only here.", **options
        )

    def to_representation(self, value: Any) -> bool:
        return value.tenant_id is None


class ProviderSerializer(OwnUpstreamMixin, StrictModelSerializer):
    """A vendor, or any server that speaks a vendor's dialect."""

    is_shared = SharedFlag()
    has_installation_key = InstallationKeyFlag()
    timeout_seconds = StrictIntegerField(min_value=1, max_value=3600, required=False)

    class Meta:
        model = Provider
        fields = [
            "id", "name", "dialect", "base_url", "api_key_env", "auth_header", "has_responses", "timeout_seconds",
            "is_enabled", "is_shared", "has_installation_key",
        ]  # fmt: skip

    def validate_name(self, name: str) -> str:
        """See routing/provider_names.py."""
        if problem := problem_of_provider_name(principal_of(self.context["request"]).tenant_id, self.instance, name):
            raise serializers.ValidationError(problem)
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Where calls are sent: see routing/own_upstreams.py."""
        attrs, row = super().validate(attrs), self.instance if isinstance(self.instance, Provider) else None
        now = row or Provider()
        base_url, dialect = attrs.get("base_url", now.base_url), attrs.get("dialect", now.dialect)
        if problem := problem_of_address(dialect, base_url, None if row is None else row.base_url):
            raise serializers.ValidationError({"base_url": [problem]})
        return attrs

    def validate_dialect(self, dialect: str) -> str:
        """The sandbox is built in; there is one."""
        if dialect == Provider.Dialect.SANDBOX:
            raise serializers.ValidationError("the sandbox is built in and cannot be added")
        return dialect


class RatesSerializer(StrictSerializer):
    """USD per million tokens of each kind, of `web_search` per thousand; null: this kind has no rate of its own."""

    input = MoneyField()
    output = MoneyField()
    cache_read = MoneyField(allow_null=True)
    cache_write = MoneyField(allow_null=True)
    cache_write_1h = MoneyField(allow_null=True)
    reasoning = MoneyField(allow_null=True)
    web_search = MoneyField(allow_null=True)


class ModelSerializer(OwnUpstreamMixin, StrictModelSerializer):
    """A model that agents may ask for, by `name` or one of its `aliases`."""

    name = StrictCharField(max_length=120)
    provider = NamedRowField(of=Provider, help_text="The provider's name.")
    aliases = WordsField(required=False)
    capabilities = WordsField(required=False, choices=CAPABILITIES)
    context_tokens = StrictIntegerField(min_value=1, max_value=MAX_TOKENS, required=False, allow_null=True)
    max_output_tokens = StrictIntegerField(min_value=1, max_value=MAX_TOKENS, required=False, allow_null=True)
    price = serializers.SerializerMethodField(help_text="What it costs now, for small input; null without a price.")
    is_shared = SharedFlag()

    class Meta:
        model = Model
        fields = [
            "id", "name", "provider", "aliases", "upstream_name", "base_url", "api_key_env", "kind", "quality",
            "context_tokens", "max_output_tokens", "capabilities", "region", "is_enabled", "retires_at", "source",
            "price", "is_shared",
        ]  # fmt: skip

    def to_internal_value(self, data: Any) -> Any:
        """`price` may come back as it was read; another one would be ignored, and so is refused. Where the whole model
        is sent back it is ignored, for another price may have begun since."""
        values = super().to_internal_value(data)
        shown = self.get_price(self.instance) if isinstance(self.instance, Model) else None
        sent = data.get("price", shown)
        is_sent_back = self.instance is not None and not self.partial and _is_shown_price(sent)
        if sent != shown and not is_sent_back:
            raise serializers.ValidationError(
                {"price": ["is shown here and set at prices: leave it out, and POST it there"]}
            )
        return values

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Its names must be free, and stay what others call it by: see routing/model_names.py."""
        attrs = super().validate(attrs)
        row = self.instance if isinstance(self.instance, Model) else None
        problems = problems_of_names(
            principal_of(self.context["request"]).tenant_id,
            row,
            name=attrs.get("name", row.name if row else ""),
            aliases=attrs.get("aliases", row.aliases if row else []),
            provider=attrs.get("provider"),
        )
        before = (row.context_tokens, row.max_output_tokens) if row else (None, None)
        sizes = (attrs.get("context_tokens", before[0]), attrs.get("max_output_tokens", before[1]))
        # A row that is odd from before may be edited elsewhere.
        if sizes != before and (problem := problem_of_sizes(*sizes)):
            problems["max_output_tokens"] = [problem]
        if problems:
            raise serializers.ValidationError(problems)
        return attrs

    @extend_schema_field(RatesSerializer(allow_null=True))
    def get_price(self, model: Model) -> dict[str, str | None] | None:
        """The caller's own price for it, else the shared one, at this moment."""
        price = price_of(model, timezone.now())
        if price is None:
            return None
        rates = price.rates_for(0)
        by_kind = {kind: getattr(rates, kind) for kind in KINDS}
        return {kind: None if rate is None else format_usd(rate) for kind, rate in by_kind.items()}


def _is_shown_price(sent: Any) -> bool:
    return sent is None or (isinstance(sent, dict) and set(sent) == set(KINDS))


class PriceSerializer(StrictSerializer):
    """What a million tokens of each kind cost, and a thousand searches of the web, in USD, from a moment on. A change
    is a new price."""

    id = serializers.IntegerField(read_only=True)
    model = NamedRowField(of=Model, help_text="The model's name.")
    input = MoneyField(source="input_nano_usd_per_mtok")
    output = MoneyField(source="output_nano_usd_per_mtok")
    cache_read = MoneyField(source="cache_read_nano_usd_per_mtok", required=False, allow_null=True)
    cache_write = MoneyField(source="cache_write_nano_usd_per_mtok", required=False, allow_null=True)
    cache_write_1h = MoneyField(source="cache_write_1h_nano_usd_per_mtok", required=False, allow_null=True)
    reasoning = MoneyField(source="reasoning_nano_usd_per_mtok", required=False, allow_null=True)
    web_search = MoneyField(
        source="web_search_nano_usd_per_thousand",
        required=False,
        allow_null=True,
        help_text="Per thousand; null: not counted, and the span is marked as estimated.",
    )
    service_tier = StrictCharField(
        max_length=MAX_TIER_LENGTH,
        required=False,
        allow_blank=True,
        validators=[RegexValidator(TIER_PATTERN, "a word such as priority; of several: fast+us")],
        help_text="For calls that the vendor answers in this tier alone: flex, priority, fast, us, batch, fast+us ... "
        "Empty is the standard tier.",
    )
    valid_from = StrictDateTimeField(required=False, help_text="Now, when absent.")
    valid_until = StrictDateTimeField(required=False, allow_null=True)
    min_context_tokens = StrictIntegerField(
        min_value=0, max_value=MAX_TOKENS, required=False, help_text="For calls whose input is larger than this."
    )
    daily_from_minute = StrictIntegerField(min_value=0, max_value=1439, required=False, help_text="Of the day in UTC.")
    daily_until_minute = StrictIntegerField(min_value=1, max_value=1440, required=False)
    source = StrictCharField(  # type: ignore[assignment]  # a serializer's own `source` is an argument, not this
        max_length=300, required=False, allow_blank=True
    )
    currency = StrictChoiceField(choices=["USD"], required=False, help_text="Prices are in US dollars.")
    checked_on = serializers.DateField(read_only=True, allow_null=True)
    is_custom = serializers.BooleanField(read_only=True)
    is_shared = SharedFlag()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The times must be in order."""
        spec = self.spec(attrs, timezone.now())
        if spec.valid_until is not None and spec.valid_until <= spec.valid_from:
            raise serializers.ValidationError({"valid_until": ["must be after valid_from"]})
        if spec.daily_until_minute <= spec.daily_from_minute:
            raise serializers.ValidationError({"daily_until_minute": ["must be after daily_from_minute"]})
        return attrs

    def spec(self, attrs: dict[str, Any], now: datetime) -> PriceSpec:
        """The price that `attrs` describe; an edit begins with what the row has, and holds from `now` on."""
        row: Price | None = self.instance if isinstance(self.instance, Price) else None
        values: dict[str, Any] = {}
        for kind in KINDS:
            column = COLUMNS[kind]
            values[kind] = attrs.get(column, getattr(row, column, None))
        for name in (
            "service_tier",
            "valid_until",
            "min_context_tokens",
            "daily_from_minute",
            "daily_until_minute",
            "source",
        ):
            if name in attrs or row is not None:
                values[name] = attrs[name] if name in attrs else getattr(row, name)
        if row is not None and values["valid_until"] == row.valid_until:
            # A later price may end it there, and be taken back.
            values["valid_until"] = row.stated_until
        begins = attrs.get("valid_from") or (max(row.valid_from, now) if row is not None else now)
        return PriceSpec(**values, valid_from=begins)
