"""The catalog over the API: shared rows to look at, a tenant's own rows to edit."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from routing.model_filters import CHEAPEST, ModelQuery
from routing.models import CAPABILITIES, Model, Price, Provider
from routing.own_models import delete_model, own_prices, why_kept
from routing.price_changes import end_price, set_price
from routing.serializers import ModelSerializer, PriceSerializer, ProviderSerializer
from routing.service_tiers import STANDARD
from spendhub.api.authentication import principal_of
from spendhub.api.viewsets import InUse, TenantModelViewSet, conflicts_told, described
from spendhub.errors import Forbidden, Invalid
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant
from spendhub.tenants.snapshot import Principal


class SharedRow(Forbidden):
    """The row belongs to the whole installation; a tenant sees it, and makes one of its own to differ."""

    code = "shared_row"


class CatalogViewSet(TenantModelViewSet):
    """Rows that are shared or the caller's own; only its own can be changed."""

    ordering: tuple[str, ...] = ("name", "pk")

    def visible_rows(self, principal: Principal) -> QuerySet[Any]:
        """Shared rows and the caller's own, filtered as the query says."""
        rows: QuerySet[Any] = self.model.objects.across_tenants().filter(  # type: ignore[attr-defined]  # a TenantManager
            Q(tenant=None) | Q(tenant=principal.tenant_id)
        )
        shared = flag(self.request, "shared")
        if shared is not None:
            rows = rows.filter(tenant__isnull=shared)
        return self.filtered(rows, self.request)

    def filtered(self, rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
        """`rows` as this list's own filters say."""
        return rows

    def get_object(self) -> Any:
        row = super().get_object()
        if self.request.method not in SAFE_METHODS and row.tenant_id is None:
            raise SharedRow("this belongs to the whole installation; make one of your own with the same name instead")
        return row


SHARED = OpenApiParameter("shared", bool, description="true: only shared ones; false: only your own")
PROVIDER_FILTERS = [
    OpenApiParameter("name", str, description="exactly this name"),
    OpenApiParameter("dialect", str, enum=Provider.Dialect.values),
    SHARED,
]
MODEL_FILTERS = [
    OpenApiParameter("name", str, description="exactly this name"),
    OpenApiParameter("search", str, description="part of the name"),
    OpenApiParameter("provider", str, description="the provider's name"),
    OpenApiParameter("kind", str, enum=Model.Kind.values),
    OpenApiParameter("quality", str, enum=Model.Quality.values),
    OpenApiParameter("capability", str, enum=list(CAPABILITIES), many=True, description="has all of these"),
    OpenApiParameter("enabled", bool),
    OpenApiParameter("ids", str, description="names, separated by commas"),
    OpenApiParameter("min_context_tokens", int, description="a model whose context nobody has noted falls out"),
    OpenApiParameter("min_output_tokens", int, description="likewise of its longest answer"),
    OpenApiParameter("max_input_cost", str, description="USD per million tokens, now, for small input"),
    OpenApiParameter("max_output_cost", str, description="USD per million tokens, now, for small input"),
    OpenApiParameter("usable", bool, description="true: those that a call could be sent to now"),
    OpenApiParameter(
        "ordering", str, enum=["name", CHEAPEST], description="cheapest: by 1,000 input and 500 output tokens, now"
    ),
    SHARED,
]
PRICE_FILTERS = [
    OpenApiParameter("model", str, description="the model's name"),
    OpenApiParameter("provider", str, description="the provider's name"),
    OpenApiParameter("service_tier", str, description="the tier's name; empty: the standard one"),
    OpenApiParameter("current", bool, description="true: only prices that have not ended"),
    SHARED,
]


class ProviderViewSet(CatalogViewSet):
    """Vendors, and other servers that speak a vendor's dialect."""

    model = Provider
    serializer_class = ProviderSerializer
    filters = PROVIDER_FILTERS

    def filtered(self, rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return exactly(rows, request, name="name", dialect="dialect")


class ModelViewSet(CatalogViewSet):
    """Models that agents may ask for. One of your own stands before the shared one of the same name."""

    model = Model
    serializer_class = ModelSerializer
    filters = MODEL_FILTERS

    def filtered(self, rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
        principal = principal_of(request)
        # Of the standard tier: what a model costs unless something else is asked for.
        shown = Q(tenant=None) | Q(tenant=principal.tenant_id)
        prices = Price.objects.across_tenants().filter(shown, service_tier=STANDARD)
        rows = rows.select_related("provider").prefetch_related(Prefetch("prices", queryset=prices))
        rows = exactly(rows, request, name="name", provider="provider__name", kind="kind", quality="quality")
        search = _text(request, "search")
        if search:
            rows = rows.filter(name__icontains=search)
        enabled = flag(request, "enabled")
        if enabled is not None:
            rows = rows.filter(is_enabled=enabled)
        for capability in request.query_params.getlist("capability"):
            if capability not in CAPABILITIES:
                raise Invalid(f"capability is one of {', '.join(CAPABILITIES)}", field="capability")
            # Of the JSON's text: SQLite has no `contains` for JSON, and no capability is part of another's quotes.
            rows = rows.filter(capabilities__icontains=f'"{capability}"')
        asked = ModelQuery.read(request.query_params)
        if asked.is_cheapest_first:
            self.ordering = ("usual_nano_usd", "name", "pk")
        return asked.narrow(rows, principal.tenant_id, timezone.now())

    def perform_destroy(self, instance: Model) -> None:
        """With its prices, where nothing was counted with them."""
        needed = why_kept(instance)
        if needed:
            raise InUse(needed)
        principal = principal_of(self.request)
        with conflicts_told():
            for price in own_prices(instance):
                gone = described(PriceSerializer(price, context=self.get_serializer_context()))
                record_change(principal.tenant_id, principal.actor, "delete", price, gone, {})
            record_change(principal.tenant_id, principal.actor, "delete", instance, self.describe(instance), {})
            delete_model(instance)


@extend_schema_view(
    update=extend_schema(description="Ends this price and begins another with the changes. The answer is the new one."),
    partial_update=extend_schema(
        description="Ends this price and begins another with the changes. The answer is the new one."
    ),
    destroy=extend_schema(description="Ends the price now. What was counted with it stands."),
)
class PriceViewSet(CatalogViewSet):
    """Prices of models. A price of your own counts before the shared one; none is ever rewritten."""

    model = Price
    serializer_class = PriceSerializer
    filters = PRICE_FILTERS
    ordering = ("-valid_from", "-pk")

    def filtered(self, rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
        rows = rows.select_related("model", "model__provider")
        rows = exactly(rows, request, model="model__name", provider="model__provider__name")
        if "service_tier" in request.query_params:
            rows = rows.filter(service_tier=_text(request, "service_tier"))
        current = flag(request, "current")
        if current is not None:
            has_ended = Q(valid_until__lte=timezone.now())
            rows = rows.exclude(has_ended) if current else rows.filter(has_ended)
        return rows

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        self._set(serializer, serializer.validated_data["model"], "create", {})

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        row = serializer.instance
        assert isinstance(row, Price)
        wanted = serializer.validated_data.get("model", row.model)
        if wanted.pk != row.model_id:
            raise Invalid("a price stays with its model; make a new one for another model", field="model")
        self._set(serializer, row.model, "update", self.describe(row))

    def perform_destroy(self, instance: Price) -> None:
        principal = principal_of(self.request)
        with conflicts_told():
            record_change(principal.tenant_id, principal.actor, "delete", instance, self.describe(instance), {})
            end_price(instance, timezone.now())

    def _set(self, serializer: BaseSerializer[Any], model: Model, action: str, before: dict[str, Any]) -> None:
        principal = principal_of(self.request)
        assert isinstance(serializer, PriceSerializer)
        now = timezone.now()
        spec = serializer.spec(serializer.validated_data, now)
        with conflicts_told():
            tenant = Tenant.objects.get(pk=principal.tenant_id)
            price = set_price(model, spec, tenant=tenant, now=now)
            record_change(principal.tenant_id, principal.actor, action, price, before, self.describe(price))
        serializer.instance = price


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if len(value) > 200 or not value.isprintable():
        raise Invalid(f"{name} must be a short text", field=name)
    return value


def flag(request: Request, name: str) -> bool | None:
    """A parameter that is true, false or absent. Raises Invalid."""
    value = request.query_params.get(name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise Invalid(f"{name} is true or false", field=name)
    return value == "true"


def exactly(rows: QuerySet[Any], request: Request, **columns: str) -> QuerySet[Any]:
    """`rows` whose columns are what the parameters of these names say, where they say anything. Raises Invalid."""
    for name, column in columns.items():
        value = _text(request, name)
        if value:
            rows = rows.filter(**{column: value})
    return rows
