"""/api/v1/feedback and quality."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from spendhub.api.authentication import principal_of
from spendhub.api.permissions import MayRead, MissingPermission
from spendhub.api.queries import PAGING, choice_in, id_in, moment_in, text_in
from spendhub.api.views import NativeView
from telemetry.feedback import (
    QUALITY_FILTERS,
    QUALITY_GROUPS,
    QualityQuestion,
    find_span,
    keep_feedback,
    quality_report,
)
from telemetry.feedback_serializers import FeedbackBodySerializer, FeedbackSerializer, QualityAnswerSerializer
from telemetry.models import Feedback
from telemetry.periods_asked import RANGE, range_in

_FILTERS = [OpenApiParameter(name, str) for name in QUALITY_FILTERS]


class MayReadOrRate(BasePermission):
    """Reading needs `read`; giving an opinion `spend` (whose answer it was) or `manage`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal = principal_of(request)
        if request.method in SAFE_METHODS:
            needed, has_it = "read", principal.can_read
        else:
            needed, has_it = "spend", principal.can_spend or principal.can_manage
        if not has_it:
            raise MissingPermission(needed)
        return True


@extend_schema(tags=["quality"])
class FeedbackView(NativeView, GenericAPIView[Feedback]):
    """What callers and judges thought of answers."""

    permission_classes = [MayReadOrRate]
    serializer_class = FeedbackSerializer
    ordering = ("-at", "-id")
    parameters = {"get": (*QUALITY_FILTERS, "thumbs", "span_id", "from", "to", *PAGING)}

    @extend_schema(request=FeedbackBodySerializer, responses={201: FeedbackSerializer, 200: FeedbackSerializer})
    def post(self, request: Request) -> Response:
        """Keeps an opinion on one call (201); a repeat of the same source replaces the earlier one (200)."""
        sent = FeedbackBodySerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        named = sent.validated_data
        span = find_span(principal_of(request).tenant_id, named.get("request_id"), named.get("span_id"))
        kept, is_first = keep_feedback(span, sent.opinion(), timezone.now())
        told = FeedbackSerializer(kept).data
        return Response(told, status=status.HTTP_201_CREATED if is_first else status.HTTP_200_OK)

    @extend_schema(
        operation_id="feedback_list",
        parameters=[*RANGE, *_FILTERS, OpenApiParameter("thumbs", str, enum=Feedback.Thumbs.values),
                    OpenApiParameter("span_id", str)],
        responses=FeedbackSerializer(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """What was thought of answers, the latest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(FeedbackSerializer(page, many=True).data)

    def get_queryset(self) -> QuerySet[Feedback]:
        if getattr(self, "swagger_fake_view", False):
            return Feedback.objects.across_tenants().none()
        query = self.request.query_params
        filters: dict[str, Any] = {name: text_in(query, name) for name in QUALITY_FILTERS}
        filters |= {
            "thumbs": choice_in(query, "thumbs", Feedback.Thumbs.values),
            "span_id": id_in(query, "span_id"),
            "at__gte": moment_in(query, "from"),
            "at__lt": moment_in(query, "to"),
        }
        rows = Feedback.objects.for_tenant(principal_of(self.request).tenant_id)
        return rows.filter(**{name: value for name, value in filters.items() if value is not None})


class QualityView(NativeView):
    """How good answers were, beside what they cost."""

    permission_classes = [MayRead]
    parameters = {"get": (*QUALITY_FILTERS, "from", "to", "group_by")}

    @extend_schema(
        tags=["quality"],
        parameters=[*RANGE, *_FILTERS, OpenApiParameter("group_by", str, enum=list(QUALITY_GROUPS))],
        responses=QualityAnswerSerializer,
    )
    def get(self, request: Request) -> Response:
        """Thumbs, mean scores and cost per call of what was rated between `from` and `to` (the last 30 days)."""
        query = request.query_params
        starts_at, ends_at = range_in(query, timezone.now())
        question = QualityQuestion(
            tenant_id=principal_of(request).tenant_id,
            starts_at=starts_at,
            ends_at=ends_at,
            filters={name: value for name in QUALITY_FILTERS if (value := text_in(query, name)) is not None},
            group_by=choice_in(query, "group_by", QUALITY_GROUPS),
        )
        return Response(quality_report(question))
