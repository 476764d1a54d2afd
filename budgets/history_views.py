"""What was decided and told: decisions explained, and the events of all budgets."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from budgets.models import BudgetEvent, Decision
from budgets.serializers import DecisionSerializer, EventSerializer
from spendhub.api.authentication import principal_of
from spendhub.api.queries import PAGING, choice_in, flag_in, id_in, moment_in, text_in
from spendhub.api.views import NativeView
from spendhub.api.viewsets import UUID_REGEX


@extend_schema(tags=["decisions"])
class DecisionViewSet(NativeView, mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Decision]):
    """Why calls were allowed or refused. Every refusal is kept, and a sample of the rest."""

    serializer_class = DecisionSerializer
    lookup_value_regex = UUID_REGEX
    ordering = ("-created_at", "-id")
    parameters = {"list": ("allowed", "action", "budget", "model", "from", "to", *PAGING)}

    def get_queryset(self) -> QuerySet[Decision]:
        if getattr(self, "swagger_fake_view", False):
            return Decision.objects.across_tenants().none()
        rows = Decision.objects.for_tenant(principal_of(self.request).tenant_id)
        if self.action != "list":
            return rows
        query = self.request.query_params
        filters: dict[str, Any] = {
            "allowed": flag_in(query, "allowed"),
            "action": text_in(query, "action"),
            "budget_id": id_in(query, "budget"),
            "model": text_in(query, "model"),
            "created_at__gte": moment_in(query, "from"),
            "created_at__lt": moment_in(query, "to"),
        }
        return rows.filter(**{name: value for name, value in filters.items() if value is not None})

    @extend_schema(
        parameters=[
            OpenApiParameter("allowed", bool),
            OpenApiParameter("action", str),
            OpenApiParameter("budget", str, description="The budget that decided."),
            OpenApiParameter("model", str),
            OpenApiParameter("from", str),
            OpenApiParameter("to", str),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Decisions, the latest first."""
        return super().list(request, *args, **kwargs)


@extend_schema(tags=["budgets"])
class EventViewSet(NativeView, mixins.ListModelMixin, GenericViewSet[BudgetEvent]):
    """What was told about budgets: state-change, threshold-breach, hard-stop, budget-reset."""

    serializer_class = EventSerializer
    ordering = ("-occurred_at", "-id")
    parameters = {"list": ("kind", "budget", "scope_key", "from", "to", *PAGING)}

    def get_queryset(self) -> QuerySet[BudgetEvent]:
        if getattr(self, "swagger_fake_view", False):
            return BudgetEvent.objects.across_tenants().none()
        query = self.request.query_params
        filters: dict[str, Any] = {
            "kind": choice_in(query, "kind", BudgetEvent.Kind.values),
            "budget_id": id_in(query, "budget"),
            "scope_key": text_in(query, "scope_key"),
            "occurred_at__gte": moment_in(query, "from"),
            "occurred_at__lt": moment_in(query, "to"),
        }
        rows = BudgetEvent.objects.for_tenant(principal_of(self.request).tenant_id)
        return rows.filter(**{name: value for name, value in filters.items() if value is not None})

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in ("kind", "budget", "scope_key", "from", "to")])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Events of all budgets, the latest first."""
        return super().list(request, *args, **kwargs)
