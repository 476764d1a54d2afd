"""Routes over the API, and dry runs of calls by them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from routing.dry_run import dry_run
from routing.models import Route
from routing.route_serializers import DryRunAnswerSerializer, DryRunSerializer, RouteSerializer, dry_run_answer
from routing.snapshot import CATALOG
from routing.views import SHARED, CatalogViewSet, exactly, flag
from spendhub.api.authentication import principal_of
from spendhub.api.permissions import MayRead
from spendhub.api.viewsets import UUID_REGEX

FILTERS = [
    OpenApiParameter("name", str, description="exactly this name"),
    OpenApiParameter("strategy", str),
    OpenApiParameter("enabled", bool),
    SHARED,
]


class RouteViewSet(CatalogViewSet):
    """Names for a choice of models, and rules that choose for calls of a kind. One of your own stands before the shared
    one of the same name."""

    model = Route
    serializer_class = RouteSerializer
    filters = FILTERS
    ordering = ("-priority", "name", "pk")
    lookup_value_regex = UUID_REGEX

    def filtered(self, rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
        rows = exactly(rows, request, name="name", strategy="strategy")
        enabled = flag(request, "enabled")
        return rows if enabled is None else rows.filter(is_enabled=enabled)

    @extend_schema(request=DryRunSerializer, responses={200: DryRunAnswerSerializer})
    @action(detail=False, methods=["post"], url_path="dry-run", permission_classes=[MayRead])
    def dry_run(self, request: Request) -> Response:
        """What would become of a call: who wins and why, who else can do it, and who falls out and why.

        Nothing is sent, held or recorded. Models that have no words for a field of the body fall out with its name.
        Where no model fits, the answer is 200 all the same, with `chosen` null; a named model that cannot be asked, say
        for want of a key or of such words, is refused as its call would be."""
        serializer = DryRunSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        catalog = CATALOG.refresh()
        read = serializer.read(principal_of(request), timezone.now())
        return Response(dry_run_answer(dry_run(catalog, read)))
