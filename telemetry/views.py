"""Spans in and out, commits of reservations, and totals."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, cast

import msgspec
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from budgets.counters.drive import drive
from spendhub.api.authentication import principal_of
from spendhub.api.lean import LeanAnswer, LeanView
from spendhub.api.permissions import MayRead
from spendhub.api.queries import PAGING, choice_in, flag_in, moment_in, text_in
from spendhub.api.views import NativeView
from spendhub.money import format_usd, parse_usd
from spendhub.tenants.snapshot import Principal
from telemetry.bodies import CommitAnswer, CommitBody, SpanBody, SpansAnswer
from telemetry.intake import checked_metadata, draft_of, drafts_of, usage_of
from telemetry.models import CostSpan, costs_over_hold
from telemetry.periods_asked import RANGE, range_in
from telemetry.priced import tier_of
from telemetry.recording import Settlement, commit_reservation, record
from telemetry.serializers import SpanSerializer, UsageAnswerSerializer
from telemetry.usage import FILTERS, INTERVALS, Question, usage_report

MAX_BULK_BYTES = 32 * 1024 * 1024
_FILTERS = [OpenApiParameter(name, str) for name in FILTERS]
_SPAN_FILTERS = [
    *_FILTERS,
    OpenApiParameter("request_id", str),
    OpenApiParameter("trace_id", str),
    OpenApiParameter("over_hold", bool, description="Whether a call cost more than was held for it."),
]


@extend_schema(tags=["spending"])
class CommitView(LeanView[CommitBody]):
    """Books what a reserved call has cost, in full even where more was spent than held; a late commit counts too.

    Repeating it answers the same; 409 when the reservation was released, or committed with another cost, or when the
    request_id names another call: then it stays open.
    """

    accepts = CommitBody
    answers = {200: CommitAnswer}

    def answer(self, principal: Principal, body: CommitBody, now: datetime, **path: Any) -> LeanAnswer:
        settlement = Settlement(
            usage=usage_of(body.usage),
            service_tier=tier_of(body.usage),
            actual_nano_usd=None if body.actual_cost is None else parse_usd(body.actual_cost),
            model=body.model,
            provider=body.provider,
            request_id=body.request_id,
            duration_ms=body.duration_ms,
            status=body.status,
            metadata=checked_metadata(body.metadata),
        )
        unpriced = principal.tenant.unpriced_models
        done = drive(
            commit_reservation(
                principal.tenant_id, path["reservation_id"], settlement, unpriced_models=unpriced, now=now
            )
        )
        told = {
            "span_id": str(done.span_id),
            "cost": format_usd(done.cost_nano_usd),
            "released": format_usd(done.released_nano_usd),
            "over": format_usd(done.over_nano_usd),
            "is_repeat": done.is_repeat,
            "is_late": done.is_late,
        }
        return LeanAnswer(200, told)


def _one_or_many() -> dict[str, Any]:
    """The request's schema, written out: one span, or a list of them."""
    schema = msgspec.json.schema(SpanBody)
    components = schema.pop("$defs")

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(components[node["$ref"].rpartition("/")[2]])
        return {name: inline(value) for name, value in node.items()}

    one = inline(schema)
    return {"application/json": {"oneOf": [one, {"type": "array", "minItems": 1, "maxItems": 10_000, "items": one}]}}


@extend_schema(tags=["spans"])
class SpansView(LeanView[Any], NativeView, ListAPIView[CostSpan]):
    """Recorded calls: POST one or a list, GET those recorded."""

    accepts: ClassVar[Any] = SpanBody | list[SpanBody]
    max_body_bytes = MAX_BULK_BYTES
    http_method_names = ["get", "post", "head", "options"]
    permission_classes = [MayRead]
    serializer_class = SpanSerializer
    ordering = ("-occurred_at", "-id")
    parameters = {"get": (*(each.name for each in (*RANGE, *_SPAN_FILTERS)), *PAGING)}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST":
            return super().dispatch(request, *args, **kwargs)
        # Reading needs no haste: REST framework pages, filters and answers errors.
        return cast(HttpResponse, APIView.dispatch(self, request, *args, **kwargs))

    def answer(self, principal: Principal, body: SpanBody | list[SpanBody], now: datetime, **path: Any) -> LeanAnswer:
        drafts = drafts_of(body, principal, now) if isinstance(body, list) else [draft_of(body, principal, now)]
        stored = drive(record(principal.tenant_id, drafts, now))
        ids = [str(span_id) for span_id in stored.ids]
        return LeanAnswer(202, {"accepted": stored.accepted, "duplicates": stored.duplicates, "ids": ids})

    @extend_schema(request=_one_or_many(), responses={202: SpansAnswer})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Records one call, or a list of up to 10,000: all are on disk when this answers, or none is.

        A known request_id is a duplicate: answered with the id of the earlier span, counted once.
        """
        raise NotImplementedError

    @extend_schema(
        operation_id="spans_list",
        parameters=[*RANGE, *_SPAN_FILTERS],
        responses=SpanSerializer(many=True),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Recorded calls, the latest first."""
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[CostSpan]:
        if getattr(self, "swagger_fake_view", False):
            return CostSpan.objects.across_tenants().none()
        query = self.request.query_params
        names = (*FILTERS, "request_id", "trace_id")
        filters: dict[str, Any] = {name: text_in(query, name) for name in names}
        filters |= {"occurred_at__gte": moment_in(query, "from"), "occurred_at__lt": moment_in(query, "to")}
        rows = CostSpan.objects.for_tenant(principal_of(self.request).tenant_id)
        is_over = flag_in(query, "over_hold")
        if is_over is not None:
            rows = rows.filter(costs_over_hold(is_over))
        return rows.filter(**{name: value for name, value in filters.items() if value is not None})


@extend_schema(tags=["spans"])
class SpanView(NativeView, RetrieveAPIView[CostSpan]):
    """One recorded call."""

    permission_classes = [MayRead]
    serializer_class = SpanSerializer
    lookup_url_kwarg = "span_id"

    def get_queryset(self) -> QuerySet[CostSpan]:
        if getattr(self, "swagger_fake_view", False):
            return CostSpan.objects.across_tenants().none()
        return CostSpan.objects.for_tenant(principal_of(self.request).tenant_id)


class UsageView(NativeView):
    """Totals of what was spent."""

    permission_classes = [MayRead]
    parameters = {"get": (*FILTERS, "from", "to", "group_by", "interval")}

    @extend_schema(
        tags=["spans"],
        parameters=[
            *RANGE,
            *_FILTERS,
            OpenApiParameter("group_by", str, enum=FILTERS),
            OpenApiParameter("interval", str, enum=list(INTERVALS), description="Cut in your account's time zone."),
        ],
        responses=UsageAnswerSerializer,
    )
    def get(self, request: Request) -> Response:
        """Totals between `from` and `to` (the last 30 days), by one dimension and by time where asked for."""
        query, principal = request.query_params, principal_of(request)
        starts_at, ends_at = range_in(query, timezone.now())
        question = Question(
            tenant_id=principal.tenant_id,
            zone=principal.timezone,
            starts_at=starts_at,
            ends_at=ends_at,
            filters={name: value for name in FILTERS if (value := text_in(query, name)) is not None},
            group_by=choice_in(query, "group_by", FILTERS),
            interval=choice_in(query, "interval", INTERVALS),
        )
        return Response(usage_report(question))
