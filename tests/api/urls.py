"""Routes that fail in every way, for the tests of the error shape."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import OperationalError
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from spendhub import urls as product
from spendhub.api.lean import LeanAnswer, LeanView
from spendhub.errors import Throttled

handler400, handler404, handler500 = product.handler400, product.handler404, product.handler500


class Order(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    note: str | None = None
    extra: dict[str, Any] = {}


class OrderView(LeanView[Order]):
    """Answers what it was asked."""

    accepts = Order
    answers = {200: Order}
    max_body_bytes = 2000

    def answer(self, principal, body, now, **path):  # type: ignore[no-untyped-def]  # as in LeanView
        if body.note == "defect":
            raise ZeroDivisionError("a defect")
        if body.note == "throttled":
            raise Throttled("too often", retry_after_seconds=7)
        return LeanAnswer(200, body, {"X-Tenant": principal.tenant_slug})


class PlainView(APIView):
    """As REST framework does it."""

    permission_classes = []
    schema = None

    def get(self, request: Request, way: str) -> Response:
        if way == "defect":
            raise ZeroDivisionError("a defect")
        if way == "database":
            raise OperationalError("gone")
        return Response({"way": way})

    def post(self, request: Request, way: str) -> Response:
        return Response(request.data)


urlpatterns = [
    *product.urlpatterns,
    path("api/test/lean", OrderView.as_view()),
    path("api/test/plain/<str:way>", PlainView.as_view()),
]
