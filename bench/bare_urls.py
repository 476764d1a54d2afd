"""The product's routes, and beside them the least that a Django view with JSON in and out can be."""

from __future__ import annotations

import json

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from spendhub import urls as product

handler400, handler404, handler500 = product.handler400, product.handler404, product.handler500


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    """Reads JSON, answers JSON, does nothing."""
    asked = json.loads(request.body)
    return JsonResponse({"allowed": True, "estimated_cost": asked["estimated_cost"]})


urlpatterns = [path("bench/bare", bare), *product.urlpatterns]
