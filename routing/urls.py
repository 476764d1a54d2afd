"""/api/v1/breakers, /api/v1/credentials, /api/v1/models, /api/v1/prices, /api/v1/providers, /api/v1/routes."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from routing.breaker_views import BreakersView
from routing.credential_views import CredentialViewSet
from routing.route_views import RouteViewSet
from routing.views import ModelViewSet, PriceViewSet, ProviderViewSet

router = SimpleRouter(trailing_slash=False)
router.register("credentials", CredentialViewSet, basename="credential")
router.register("models", ModelViewSet, basename="model")
router.register("prices", PriceViewSet, basename="price")
router.register("providers", ProviderViewSet, basename="provider")
router.register("routes", RouteViewSet, basename="route")
urlpatterns = [*router.urls, path("breakers", BreakersView.as_view())]
