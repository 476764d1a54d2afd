"""GET /api/v1/breakers: which vendors are being left alone, and until when."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routing.breakers import BREAKERS
from routing.snapshot import CATALOG
from routing.vendor_health import Health, health_of_models
from spendhub.api.authentication import principal_of
from spendhub.api.permissions import MayRead
from spendhub.api.queries import choice_in, text_in
from spendhub.api.views import NativeView

STATES = ("closed", "half-open", "open")


class BreakerSerializer(serializers.Serializer[Any]):
    """One model's circuit breaker."""

    provider = serializers.CharField()
    model = serializers.CharField()
    state = serializers.ChoiceField(STATES, source="circuit.state", help_text="open: calls go elsewhere meanwhile.")
    is_forced = serializers.BooleanField(source="circuit.is_forced", help_text="Opened by hand, and closed by hand.")
    failures = serializers.IntegerField(source="circuit.failures", help_text="In a row, until now or until it opened.")
    since = serializers.DateTimeField(allow_null=True, help_text="When the state last changed; null: never.")
    probe_at = serializers.DateTimeField(
        allow_null=True, help_text="From when on a call may try an open one again; null unless that is known."
    )


class BreakersSerializer(serializers.Serializer[Any]):
    """All of them: no pages."""

    results = BreakerSerializer(many=True)


class BreakersView(NativeView):
    """Circuit breakers of the models you see that have something to tell; every other one is closed.

    A model that has failed five times in a row is left alone for a while. Breakers are shared by the whole
    installation, those of your own models excepted; its operator opens and closes them by hand in the admin.
    """

    permission_classes = [MayRead]
    parameters = {"get": ("provider", "model", "state")}

    @extend_schema(
        operation_id="v1_breakers_list",
        parameters=[
            OpenApiParameter("provider", str, description="exactly this provider's"),
            OpenApiParameter("model", str, description="exactly this model's"),
            OpenApiParameter("state", str, enum=STATES),
        ],
        responses=BreakersSerializer,
    )
    def get(self, request: Request) -> Response:
        query = request.query_params
        wanted = (text_in(query, "provider"), text_in(query, "model"), choice_in(query, "state", STATES))
        standing = BREAKERS.standing()
        found = health_of_models(CATALOG.current(), standing, principal_of(request).tenant_id)
        shown = [health for health in found if health.key in standing and _is_wanted(health, *wanted)]
        return Response(BreakersSerializer({"results": shown}).data)


def _is_wanted(health: Health, provider: str | None, model: str | None, state: str | None) -> bool:
    given = ((provider, health.provider), (model, health.model), (state, health.circuit.state))
    return all(wanted is None or wanted == own for wanted, own in given)
