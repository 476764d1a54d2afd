"""/api/v1/check, reservations, budgets, decisions, events; and the recipe's /api/budget/check and reset."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from budgets.budget_views import BudgetViewSet
from budgets.history_views import DecisionViewSet, EventViewSet
from budgets.recipe import RecipeCheckView, RecipeResetView
from budgets.views import CheckView, ReleaseView, ReservationsView, ReservationView

router = SimpleRouter(trailing_slash=False)
router.register("budgets", BudgetViewSet, basename="budget")
router.register("decisions", DecisionViewSet, basename="decision")
router.register("events", EventViewSet, basename="event")

urlpatterns = [
    path("check", CheckView.as_view(), name="check"),
    path("reservations", ReservationsView.as_view(), name="reservations"),
    path("reservations/<uuid:reservation_id>", ReservationView.as_view(), name="reservation"),
    path("reservations/<uuid:reservation_id>/release", ReleaseView.as_view(), name="reservation-release"),
    *router.urls,
]

recipe_urlpatterns = [
    path("check", RecipeCheckView.as_view(), name="recipe-check"),
    path("reset", RecipeResetView.as_view(), name="recipe-reset"),
]
