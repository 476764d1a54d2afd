"""/api/v1/shadow."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routing.strategies.registry import STRATEGIES, strategy_called
from spendhub.api.authentication import principal_of
from spendhub.api.permissions import MayRead
from spendhub.api.queries import InvalidQuery, text_in
from spendhub.api.views import NativeView
from telemetry.periods_asked import RANGE, range_in
from telemetry.shadow import MAX_CALLS, USUAL_STRATEGY, shadow_report


class UnfitSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    cost = serializers.CharField()


class ComparedSerializer(serializers.Serializer[Any]):
    """Savings below 0 are what it would have cost more. Calls that no model fits count as they were on both sides."""

    calls = serializers.IntegerField()
    actual_cost = serializers.CharField()
    shadow_cost = serializers.CharField()
    savings = serializers.CharField()
    savings_share = serializers.FloatField(allow_null=True)
    no_model_fits = UnfitSerializer()
    answered_by = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many answers would have come from each model."
    )


class ComparedModelSerializer(ComparedSerializer):
    model = serializers.CharField(help_text="The model that really answered.")


class SampleSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField(help_text="How many calls were looked at: the latest, without those from memory.")
    recorded = serializers.IntegerField(help_text="How many answered calls the period has.")
    at_most = serializers.IntegerField()


class ShadowAnswerSerializer(ComparedSerializer):
    """What the calls between `from` and `to` would have cost; the models that cost most first."""

    # `from` is a word of Python's own.
    def get_fields(self) -> dict[str, Any]:
        return {
            "from": serializers.DateTimeField(),
            "to": serializers.DateTimeField(),
            "strategy": serializers.CharField(allow_null=True),
            "model": serializers.CharField(allow_null=True),
            "sample": SampleSerializer(),
            **super().get_fields(),
            "by_model": ComparedModelSerializer(many=True),
        }


class ShadowView(NativeView):
    """What recorded calls would have cost another way."""

    permission_classes = [MayRead]
    parameters = {"get": ("from", "to", "strategy", "model")}

    @extend_schema(
        tags=["savings"],
        parameters=[
            *RANGE,
            OpenApiParameter("strategy", str, description=f"One of {', '.join(STRATEGIES)}; {USUAL_STRATEGY}."),
            OpenApiParameter("model", str, description="Instead of a strategy: one model for all."),
        ],
        responses=ShadowAnswerSerializer,
        description=f"What the gateway's calls between `from` and `to` (the last 30 days; the latest {MAX_CALLS:,} of "
        "them) would have cost with another strategy, or with one model, at the prices of their own moments.",
    )
    def get(self, request: Request) -> Response:
        query, principal = request.query_params, principal_of(request)
        strategy, model = text_in(query, "strategy"), text_in(query, "model")
        if strategy is not None and model is not None:
            raise InvalidQuery("ask for a strategy or for a model, not for both", field="model")
        if model is None:
            strategy = strategy_called(strategy or USUAL_STRATEGY).name
        starts_at, ends_at = range_in(query, timezone.now())
        return Response(shadow_report(principal.tenant, starts_at, ends_at, strategy=strategy, model=model))
