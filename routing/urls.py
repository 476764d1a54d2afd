"""/api/v1/models, /api/v1/prices, /api/v1/providers."""

from rest_framework.routers import SimpleRouter

from routing.views import ModelViewSet, PriceViewSet, ProviderViewSet

router = SimpleRouter(trailing_slash=False)
router.register("models", ModelViewSet, basename="model")
router.register("prices", PriceViewSet, basename="price")
router.register("providers", ProviderViewSet, basename="provider")
urlpatterns = router.urls
