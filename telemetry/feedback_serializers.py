"""Feedback and quality on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from routing.performance import QualityScore
from spendhub.api.fields import StrictCharField, StrictChoiceField, StrictSerializer
from spendhub.errors import Invalid
from telemetry.feedback import Opinion
from telemetry.models import Feedback
from telemetry.models.feedback import SCORES

_SCORE = {"type": "number", "minimum": 0, "maximum": 5, "nullable": True}


@extend_schema_field({"type": "object", "properties": dict.fromkeys(SCORES, _SCORE), "additionalProperties": False})
class ScoresField(serializers.Field[QualityScore, Any, dict[str, float | None], Any]):
    """Scores from 0 to 5; `overall` is the mean of the others where it is left out."""

    def to_internal_value(self, data: Any) -> QualityScore:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object of scores from 0 to 5")
        unknown = [str(name)[:40] for name in data if name not in SCORES]
        if unknown:
            raise serializers.ValidationError(f"there is no score {unknown[0]!r}; there are {', '.join(SCORES)}")
        try:
            return QualityScore(**data)
        except Invalid as error:
            raise serializers.ValidationError(error.message) from None

    def to_representation(self, value: QualityScore) -> dict[str, float | None]:
        return {name: getattr(value, name) for name in SCORES}


class FeedbackBodySerializer(StrictSerializer):
    """An opinion on one call: `thumbs`, `scores`, or both. The call is named by `request_id` (the gateway's answers
    carry it as x-spendhub-request-id) or by `span_id`. A repeat of the same `source` replaces the earlier one."""

    request_id = StrictCharField(max_length=200, required=False)
    span_id = serializers.UUIDField(required=False)
    thumbs = StrictChoiceField(Feedback.Thumbs.choices, required=False)
    scores = ScoresField(required=False)
    # `source` is a property of DRF's fields, so it is declared by `get_fields`.
    comment = StrictCharField(max_length=500, required=False, allow_blank=True)
    task = StrictCharField(max_length=200, required=False, help_text="Stands in for the call's own.")

    def get_fields(self) -> dict[str, Any]:
        source = StrictChoiceField(Feedback.Source.choices, required=False, default=Feedback.Source.CALLER.value)
        return {**super().get_fields(), "source": source}

    def opinion(self) -> Opinion:
        """What was sent, once it is valid."""
        sent = self.validated_data
        return Opinion(
            thumbs=sent.get("thumbs", ""),
            score=sent.get("scores") or QualityScore(),
            source=sent["source"],
            comment=sent.get("comment", ""),
            task=sent.get("task"),
        )


class FeedbackSerializer(serializers.ModelSerializer[Feedback]):
    """One opinion. `thumbs` is empty, and a score null, where nothing was said."""

    span_id = serializers.UUIDField()
    scores = serializers.SerializerMethodField()

    class Meta:
        model = Feedback
        fields = (
            "id",
            "span_id",
            "source",
            "at",
            "model",
            "provider",
            "feature",
            "task",
            "thumbs",
            "scores",
            "comment",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "object", "properties": dict.fromkeys(SCORES, _SCORE)})
    def get_scores(self, row: Feedback) -> dict[str, float | None]:
        return {name: getattr(row, name) for name in SCORES}


class ThumbsSerializer(serializers.Serializer[Any]):
    up = serializers.IntegerField()
    down = serializers.IntegerField()
    share = serializers.FloatField(allow_null=True, help_text="Of those with thumbs, how many are up: 0 to 1.")


class ScoresSerializer(serializers.Serializer[Any]):
    overall = serializers.FloatField(allow_null=True)
    relevance = serializers.FloatField(allow_null=True)
    correctness = serializers.FloatField(allow_null=True)
    completeness = serializers.FloatField(allow_null=True)
    clarity = serializers.FloatField(allow_null=True)


class QualitySerializer(serializers.Serializer[Any]):
    """Sums over feedback; `scores` are means. `cost_per_call` is the mean cost of the calls that were rated."""

    count = serializers.IntegerField()
    calls = serializers.IntegerField(help_text="How many different calls were rated.")
    thumbs = ThumbsSerializer()
    scores = ScoresSerializer()
    cost_per_call = serializers.CharField(allow_null=True)


class QualityGroupSerializer(QualitySerializer):
    key = serializers.CharField(help_text="Empty: calls that say nothing here.")


class QualityAnswerSerializer(serializers.Serializer[Any]):
    """What was thought of answers between `from` and `to`; the most rated group first."""

    # `from` is a word of Python's own.
    def get_fields(self) -> dict[str, Any]:
        return {
            "from": serializers.DateTimeField(),
            "to": serializers.DateTimeField(),
            "totals": QualitySerializer(),
            "group_by": serializers.CharField(allow_null=True),
            "groups": QualityGroupSerializer(many=True),
        }
