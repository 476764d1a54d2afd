"""Spans and usage on the wire. Money as decimal strings in USD; tokens in the convention of OpenTelemetry GenAI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from spendhub.api.fields import MoneyField
from spendhub.money import format_usd
from spendhub.tenants.attribution import DIMENSIONS
from telemetry.models import CostSpan


class UsageSerializer(serializers.Serializer[Any]):
    """`input_tokens` is all input, the cache counts are parts of it; `reasoning_tokens` is part of `output_tokens`."""

    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    cache_write_1h_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()


class SpanSerializer(serializers.ModelSerializer[CostSpan]):
    """One recorded call. `breakdown` is USD per token kind; empty where the cost was given."""

    attribution = serializers.SerializerMethodField()
    usage = serializers.SerializerMethodField()
    cost = MoneyField(source="cost_nano_usd")
    breakdown = serializers.SerializerMethodField()
    reserved = MoneyField(source="reserved_nano_usd", allow_null=True)
    over_hold = MoneyField(
        source="over_hold_nano_usd",
        allow_null=True,
        help_text="By how much the cost is more than what was held; null where nothing was.",
    )
    worst_case = serializers.CharField(
        source="worst_case_cost",
        allow_null=True,
        help_text="What it could have cost at most, input as estimated, where less was held for it; else null.",
    )

    class Meta:
        model = CostSpan
        fields = (
            "id", "request_id", "occurred_at", "recorded_at", "source", "attribution", "api_key", "provider", "model",
            "requested_model", "usage", "cost", "breakdown", "is_estimated", "reserved", "over_hold", "worst_case",
            "reservation_id", "status", "error_code", "duration_ms", "first_token_ms", "trace_id", "parent_id",
            "metadata",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_attribution(self, span: CostSpan) -> dict[str, str]:
        return {dimension: key for dimension in DIMENSIONS if (key := getattr(span, dimension))}

    @extend_schema_field(UsageSerializer)
    def get_usage(self, span: CostSpan) -> dict[str, int]:
        cached = span.cache_read_tokens + span.cache_write_tokens + span.cache_write_1h_tokens
        return {
            "input_tokens": span.input_tokens + cached,
            "output_tokens": span.output_tokens,
            "cache_read_tokens": span.cache_read_tokens,
            "cache_write_tokens": span.cache_write_tokens,
            "cache_write_1h_tokens": span.cache_write_1h_tokens,
            "reasoning_tokens": span.reasoning_tokens,
        }

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_breakdown(self, span: CostSpan) -> dict[str, str]:
        return {kind: format_usd(nano_usd) for kind, nano_usd in span.breakdown.items()}


class TotalsSerializer(serializers.Serializer[Any]):
    """Sums over spans."""

    calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # a column of the report, not DRF's own errors
    estimated = serializers.IntegerField(help_text="Calls whose cost is an estimate.")
    cost = serializers.CharField()
    average_cost = serializers.CharField()
    usage = UsageSerializer()


class AllTotalsSerializer(TotalsSerializer):
    saved = serializers.CharField(help_text="What answers given again from memory would have cost.")


class GroupSerializer(TotalsSerializer):
    key = serializers.CharField(help_text="Empty: spans that say nothing here.")


class BucketSerializer(TotalsSerializer):
    start = serializers.DateTimeField()


class UsageAnswerSerializer(serializers.Serializer[Any]):
    """What was spent between `from` and `to`; groups dearest first, buckets in order of time."""

    # `from` is a word of Python's own.
    def get_fields(self) -> dict[str, Any]:
        return {
            "from": serializers.DateTimeField(),
            "to": serializers.DateTimeField(),
            "totals": AllTotalsSerializer(),
            "group_by": serializers.CharField(allow_null=True),
            "groups": GroupSerializer(many=True),
            "interval": serializers.CharField(allow_null=True),
            "buckets": BucketSerializer(many=True),
        }
