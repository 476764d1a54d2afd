"""/api/v1/quality-weights."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from spendhub.api.authentication import principal_of
from spendhub.api.fields import StrictModelSerializer
from spendhub.api.permissions import ReadOrManage
from spendhub.api.views import NativeView
from spendhub.tenants.changes import record_change
from telemetry.models import QualityWeights
from telemetry.models.quality_weights import WEIGHTS
from telemetry.quality_rules import weights_of

_LARGEST = 1e9


class _NumberField(serializers.FloatField):
    """A finite JSON number; the model says between which."""

    def to_internal_value(self, data: Any) -> float:
        # NaN is in no range.
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not -_LARGEST < data < _LARGEST:
            self.fail("invalid")
        return super().to_internal_value(data)


class QualityWeightsSerializer(StrictModelSerializer):
    """How much callers, judges and rules count, and how many points of 5 an answer loses for each fault."""

    serializer_field_mapping = StrictModelSerializer.serializer_field_mapping | {models.FloatField: _NumberField}

    class Meta:
        model = QualityWeights
        fields = WEIGHTS


@extend_schema(tags=["quality"])
class QualityWeightsView(NativeView):
    """What counts how much when quality is summed up."""

    permission_classes = [ReadOrManage]

    @extend_schema(responses=QualityWeightsSerializer)
    def get(self, request: Request) -> Response:
        """The weights in force: yours, or the defaults where you have set none."""
        return Response(QualityWeightsSerializer(weights_of(principal_of(request).tenant_id)).data)

    @extend_schema(request=QualityWeightsSerializer(partial=True), responses=QualityWeightsSerializer)
    def patch(self, request: Request) -> Response:
        """Sets some of them; what is left out stays as it is."""
        principal = principal_of(request)
        with transaction.atomic():
            row, _ = QualityWeights.objects.for_tenant(principal.tenant_id).get_or_create(tenant_id=principal.tenant_id)
            before = QualityWeightsSerializer(row).data
            sent = QualityWeightsSerializer(row, data=request.data, partial=True)
            sent.is_valid(raise_exception=True)
            sent.save()
            record_change(principal.tenant_id, principal.actor, "update", row, before, sent.data)
        return Response(sent.data)
