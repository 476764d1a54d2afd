"""Where each address of the web plane leads."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from budgets.urls import recipe_urlpatterns as budget_recipe
from telemetry.urls import recipe_urlpatterns as telemetry_recipe

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/account/", include("spendhub.dashboard.urls")),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include("spendhub.tenants.urls")),
    path("api/v1/", include("budgets.urls")),
    path("api/v1/", include("telemetry.urls")),
    path("api/budget/", include(budget_recipe)),
    path("api/budget/", include(telemetry_recipe)),
    path("api/v1/", include("routing.urls")),
]

handler400 = "spendhub.api.errors.bad_request"
handler404 = "spendhub.api.errors.not_found"
handler500 = "spendhub.api.errors.server_error"
