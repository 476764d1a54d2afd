"""/api/v1/spans, usage, and the commit of a reservation."""

from django.urls import path

from telemetry.recipe import RecipeRecordView
from telemetry.views import CommitView, SpansView, SpanView, UsageView

urlpatterns = [
    path("reservations/<uuid:reservation_id>/commit", CommitView.as_view(), name="reservation-commit"),
    path("spans", SpansView.as_view(), name="spans"),
    path("spans/<uuid:span_id>", SpanView.as_view(), name="span"),
    path("usage", UsageView.as_view(), name="usage"),
]

recipe_urlpatterns = [path("record", RecipeRecordView.as_view(), name="recipe-record")]
