"""/api/v1/experiments and performance."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from spendhub.api.authentication import principal_of
from spendhub.api.permissions import MayRead
from spendhub.api.queries import choice_in, text_in
from spendhub.api.views import NativeView
from telemetry.call_samples import MAX_CALLS, Period
from telemetry.experiments import experiment_report, experiments_seen
from telemetry.model_performance import FILTERS, GROUPS, performance_report
from telemetry.periods_asked import RANGE, range_in

_SAMPLED = f"the latest {MAX_CALLS:,} of the period"


class SampledSerializer(serializers.Serializer[Any]):
    """How many calls were looked at, the latest of how many."""

    calls = serializers.IntegerField()
    recorded = serializers.IntegerField()
    at_most = serializers.IntegerField()


class SampledAnswerSerializer(serializers.Serializer[Any]):
    """An answer about the calls between `from` and `to`."""

    # `from` is a word of Python's own.
    def get_fields(self) -> dict[str, Any]:
        return {
            "from": serializers.DateTimeField(),
            "to": serializers.DateTimeField(),
            "sample": SampledSerializer(),
            **super().get_fields(),
        }


class ExperimentSeenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    routes = serializers.ListField(child=serializers.CharField())
    arms = serializers.ListField(child=serializers.CharField())
    calls = serializers.IntegerField()
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()


class ExperimentsAnswerSerializer(SampledAnswerSerializer):
    """The latest first; no pages."""

    results = ExperimentSeenSerializer(many=True)


class VerdictsSerializer(serializers.Serializer[Any]):
    """What rules find wrong with answers without reading them."""

    score = serializers.FloatField(allow_null=True, help_text="Points of 5 that are left, the mean; 5: no fault seen.")
    calls = serializers.IntegerField(help_text="How many calls the rules had something to say of.")
    faults = serializers.DictField(child=serializers.IntegerField(), help_text="How many answers had each fault.")


class TallySerializer(serializers.Serializer[Any]):
    """`success_rate` is of the calls that ended by themselves; latencies are those of successes; `quality` 0 to 5."""

    calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # a column of the report, not DRF's own errors
    success_rate = serializers.FloatField(allow_null=True)
    cost = serializers.CharField()
    cost_per_call = serializers.CharField(allow_null=True)
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)
    quality = serializers.FloatField(allow_null=True)
    ratings = serializers.IntegerField(help_text="How many calls were rated.")
    rules = VerdictsSerializer()
    blended_quality = serializers.FloatField(
        allow_null=True, help_text="`quality`, less the share that goes off for faults; null: nobody has rated any."
    )


class ArmSerializer(TallySerializer):
    """Calls that the arm's own model took."""

    name = serializers.CharField(help_text="The model.")
    share_wanted = serializers.FloatField(allow_null=True, help_text="As set up today; null: no longer an arm.")
    share_seen = serializers.FloatField(allow_null=True, help_text="Of the calls, as they were drawn.")
    elsewhere = serializers.IntegerField(help_text="Tries of another model after it had failed, or by a policy.")


class VerdictSerializer(serializers.Serializer[Any]):
    better = serializers.CharField(allow_null=True, help_text="The arm that is better; null: that cannot be said.")
    is_significant = serializers.BooleanField()
    p_value = serializers.FloatField()
    missing = serializers.IntegerField(
        allow_null=True, help_text="Roughly how many more the arm with fewer needs; null: no number would tell."
    )
    note = serializers.CharField(help_text="The same in plain words.")


class ArmsComparedSerializer(serializers.Serializer[Any]):
    baseline = serializers.CharField(help_text="The arm that is meant to get most calls.")
    arm = serializers.CharField()
    success = VerdictSerializer()
    quality = VerdictSerializer()


class ExperimentAnswerSerializer(SampledAnswerSerializer):
    """One experiment; the arm that is meant to get most calls first."""

    name = serializers.CharField()
    routes = serializers.ListField(child=serializers.CharField())
    arms = ArmSerializer(many=True)
    comparisons = ArmsComparedSerializer(many=True)


class PerformanceLineSerializer(TallySerializer):
    key = serializers.CharField(help_text="The model, provider, feature or task.")
    rank = serializers.IntegerField(allow_null=True, help_text="By quality per USD; null: nobody has rated it.")
    output_tokens = serializers.IntegerField()
    output_tokens_per_second = serializers.FloatField(allow_null=True, help_text="Of the whole time of its successes.")
    cost_per_1000_output_tokens = serializers.CharField(allow_null=True)
    quality_per_usd = serializers.FloatField(
        allow_null=True, help_text="Mean blended quality by mean cost of a call; null: not rated, or free."
    )


class PerformanceAnswerSerializer(SampledAnswerSerializer):
    """The most quality per USD first; what nobody has rated comes last, the most called first."""

    group_by = serializers.CharField()
    results = PerformanceLineSerializer(many=True)


def _period(request: Request, **filters: str) -> Period:
    starts_at, ends_at = range_in(request.query_params, timezone.now())
    return Period(principal_of(request).tenant_id, starts_at, ends_at, filters)


class ExperimentsView(NativeView):
    """Experiments that calls took part in."""

    permission_classes = [MayRead]
    parameters = {"get": ("from", "to")}

    @extend_schema(
        tags=["quality"],
        operation_id="v1_experiments_list",
        parameters=RANGE,
        responses=ExperimentsAnswerSerializer,
        description="Experiments that the gateway's calls between `from` and `to` (the last 30 days) took part in; "
        f"{_SAMPLED} are looked at.",
    )
    def get(self, request: Request) -> Response:
        return Response(experiments_seen(_period(request)))


class ExperimentView(NativeView):
    """How one experiment has turned out."""

    permission_classes = [MayRead]
    parameters = {"get": ("from", "to")}

    @extend_schema(
        tags=["quality"],
        operation_id="v1_experiments_retrieve",
        parameters=RANGE,
        responses=ExperimentAnswerSerializer,
        description="Each arm of an experiment (by its name or its route's) between `from` and `to` (the last 30 "
        f"days; {_SAMPLED}), and whether one is better or nothing can be said yet.",
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(experiment_report(_period(request), name))


class PerformanceView(NativeView):
    """How models and providers have done."""

    permission_classes = [MayRead]
    parameters = {"get": ("from", "to", "group_by", *FILTERS)}

    @extend_schema(
        tags=["quality"],
        parameters=[
            *RANGE,
            OpenApiParameter("group_by", str, enum=list(GROUPS), description="model, unless said."),
            *(OpenApiParameter(name, str) for name in FILTERS),
        ],
        responses=PerformanceAnswerSerializer,
        description="Success, speed, cost and quality of your own calls between `from` and `to` (the last 30 days; "
        f"{_SAMPLED}) by model, provider, feature or task.",
    )
    def get(self, request: Request) -> Response:
        query = request.query_params
        filters = {name: value for name in FILTERS if (value := text_in(query, name)) is not None}
        group_by = choice_in(query, "group_by", GROUPS) or GROUPS[0]
        return Response(performance_report(_period(request, **filters), group_by))
