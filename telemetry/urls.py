"""/api/v1/spans, usage, shadow, feedback, quality and its weights, experiments, performance, cache rules, brakes, and
the commit of a reservation."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from telemetry.brake_views import BrakeStopViewSet, BrakeViewSet
from telemetry.cache_rule_views import CacheRuleViewSet
from telemetry.comparison_views import ExperimentsView, ExperimentView, PerformanceView
from telemetry.feedback_views import FeedbackView, QualityView
from telemetry.quality_weight_views import QualityWeightsView
from telemetry.recipe import RecipeRecordView
from telemetry.shadow_views import ShadowView
from telemetry.views import CommitView, SpansView, SpanView, UsageView

router = SimpleRouter(trailing_slash=False)
router.register("brakes", BrakeViewSet, basename="brake")
router.register("brake-stops", BrakeStopViewSet, basename="brake-stop")
router.register("cache-rules", CacheRuleViewSet, basename="cache-rule")

urlpatterns = [
    path("reservations/<uuid:reservation_id>/commit", CommitView.as_view(), name="reservation-commit"),
    path("spans", SpansView.as_view(), name="spans"),
    path("spans/<uuid:span_id>", SpanView.as_view(), name="span"),
    path("feedback", FeedbackView.as_view(), name="feedback"),
    path("quality", QualityView.as_view(), name="quality"),
    path("quality-weights", QualityWeightsView.as_view(), name="quality-weights"),
    path("shadow", ShadowView.as_view(), name="shadow"),
    path("experiments", ExperimentsView.as_view(), name="experiments"),
    path("experiments/<path:name>", ExperimentView.as_view(), name="experiment"),
    path("performance", PerformanceView.as_view(), name="performance"),
    path("usage", UsageView.as_view(), name="usage"),
    *router.urls,
]

recipe_urlpatterns = [path("record", RecipeRecordView.as_view(), name="recipe-record")]
