"""/api/v1/keys."""

from rest_framework.routers import SimpleRouter

from spendhub.tenants.views import KeyViewSet

router = SimpleRouter(trailing_slash=False)
router.register("keys", KeyViewSet, basename="key")
urlpatterns = router.urls
