"""/api/v1/brakes and brake-stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from spendhub.api.authentication import principal_of
from spendhub.api.fields import MoneyField, StrictModelSerializer
from spendhub.api.permissions import ReadOrManage
from spendhub.api.queries import PAGING, choice_in, flag_in, id_in, text_in
from spendhub.api.views import NativeView
from spendhub.api.viewsets import UUID_REGEX, TenantModelViewSet
from telemetry.brake_stops import in_force_at, is_in_force, resume
from telemetry.brakes import BRAKES
from telemetry.models import Brake, BrakeStop


class BrakeSerializer(StrictModelSerializer):
    """What an agent may not do for long. `repeats` identical requests pass within the time (null: not counted);
    `spend_factor` times the usual spend may be spent in it (null: not watched), and `spend_least` USD in any case."""

    spend_least = MoneyField(source="spend_least_nano_usd", required=False)

    class Meta:
        model = Brake
        fields = (
            "id", "name", "scope_type", "repeats", "compares", "within_seconds", "spend_factor", "spend_least",
            "action", "slow_seconds", "pause_seconds", "is_enabled",
        )  # fmt: skip

    def validate(self, attrs: Mapping[str, Any]) -> Any:
        before = self.instance or Brake()
        if all(attrs.get(name, getattr(before, name)) is None for name in ("repeats", "spend_factor")):
            raise serializers.ValidationError({"repeats": ["give repeats, or spend_factor, or both"]})
        return super().validate(dict(attrs))


class BrakeStopSerializer(serializers.ModelSerializer[BrakeStop]):
    """One time that a brake acted. `is_in_force` says whether it does so now."""

    brake_id = serializers.UUIDField(allow_null=True)
    is_in_force = serializers.SerializerMethodField()

    class Meta:
        model = BrakeStop
        fields = (
            "id", "brake_id", "brake_name", "scope_type", "scope_key", "cause", "action", "reason", "since", "ends_at",
            "is_in_force", "resumed_at", "resumed_by",
        )  # fmt: skip
        read_only_fields = fields

    def get_is_in_force(self, stop: BrakeStop) -> bool:
        return is_in_force(stop, timezone.now())


@extend_schema(tags=["brakes"])
class BrakeViewSet(TenantModelViewSet):
    """Brakes against agents that repeat themselves, or spend far faster than usual."""

    model = Brake
    serializer_class = BrakeSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    lookup_value_regex = UUID_REGEX

    def perform_create(self, serializer: Any) -> None:
        super().perform_create(serializer)
        BRAKES.refresh()

    def perform_update(self, serializer: Any) -> None:
        super().perform_update(serializer)
        BRAKES.refresh()

    def perform_destroy(self, instance: Any) -> None:
        super().perform_destroy(instance)
        BRAKES.refresh()


_SCOPES = ("session", "user", "agent", "feature", "task", "org", "api_key")
STOP_FILTERS = [
    OpenApiParameter("in_force", bool, description="true: only those that hold now"),
    OpenApiParameter("brake_id", str),
    OpenApiParameter("scope_type", str, enum=list(_SCOPES)),
    OpenApiParameter("scope_key", str),
]


@extend_schema(tags=["brakes"])
@extend_schema_view(list=extend_schema(parameters=STOP_FILTERS))
class BrakeStopViewSet(NativeView, mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[BrakeStop]):
    """What brakes have stopped, slowed or warned, the latest first."""

    permission_classes = [ReadOrManage]
    serializer_class = BrakeStopSerializer
    lookup_value_regex = UUID_REGEX
    ordering = ("-since", "-id")
    parameters = {"list": (*(each.name for each in STOP_FILTERS), *PAGING)}

    def get_queryset(self) -> QuerySet[BrakeStop]:
        if getattr(self, "swagger_fake_view", False):
            return BrakeStop.objects.across_tenants().none()
        rows = BrakeStop.objects.for_tenant(principal_of(self.request).tenant_id).select_related("brake")
        if self.action != "list":
            return rows
        query = self.request.query_params
        in_force = flag_in(query, "in_force")
        if in_force is not None:
            holds = in_force_at(timezone.now())
            rows = rows.filter(holds) if in_force else rows.exclude(pk__in=rows.filter(holds).values("pk"))
        filters: dict[str, Any] = {
            "brake_id": id_in(query, "brake_id"),
            "scope_type": choice_in(query, "scope_type", _SCOPES),
            "scope_key": text_in(query, "scope_key"),
        }
        return rows.filter(**{name: value for name, value in filters.items() if value is not None})

    @extend_schema(request=None, responses=BrakeStopSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Lets the calls pass again, at once; the brake counts anew. One that has ended stays as it is."""
        stop = resume(self.get_object(), principal_of(request).actor, timezone.now())
        return Response(BrakeStopSerializer(stop).data)
