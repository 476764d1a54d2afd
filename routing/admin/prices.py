"""What tokens cost, from which day on."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display

from routing.admin.model_choices import ChosenModel, is_hidden_from, label_of_model
from routing.admin.owned_rows import OwnedRowAdmin
from routing.models import Price
from routing.price_changes import FORM_GRACE, end_price, rewrites_past, set_price
from routing.price_specs import COLUMNS, KINDS, PriceSpec
from spendhub.tenants.admin_fields import show_usd
from spendhub.tenants.admin_filters import SeenFilter
from spendhub.tenants.admin_scoping import ScopedForm, SharedRowsAdmin, describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import actor_of, seat_of


class ServiceTierFilter(SeenFilter):
    title = "service tier"
    parameter_name = "service_tier"
    path = label_path = "service_tier"


class PriceForm(ScopedForm):
    """A price for a model of the same owner, or for a shared one."""

    class Meta:
        model = Price
        fields: tuple[str, ...] = ()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        model, tenant = cleaned.get("model"), self.tenant
        if model is not None and model.tenant_id is not None and model.tenant_id != getattr(tenant, "pk", None):
            self.add_error("model", "This model belongs to another account.")
        if model is not None and tenant is not None and is_hidden_from(tenant.pk, model):
            self.add_error("model", f"Your own {model.name} stands before this one: choose that.")
        first, last = cleaned.get("daily_from_minute"), cleaned.get("daily_until_minute")
        if first is not None and last is not None and first >= last:
            self.add_error("daily_until_minute", "The last minute comes after the first.")
        if model is not None and cleaned.get("valid_from") is not None:
            now = timezone.now()
            spec = PriceSpec(
                input=0,
                output=0,
                service_tier=cleaned.get("service_tier") or "",
                valid_from=cleaned["valid_from"],
                min_context_tokens=cleaned.get("min_context_tokens") or 0,
                daily_from_minute=first or 0,
            )
            if now - spec.valid_from > FORM_GRACE and rewrites_past(model, spec, tenant=tenant, now=now):
                self.add_error(
                    "valid_from", "Another price already holds from then on: let this one begin now or later."
                )
        return cleaned

    def validate_constraints(self) -> None:
        """A price for the very same moment is a new row all the same: `set_price` sees to it."""


@admin.register(Price)
class PriceAdmin(OwnedRowAdmin):
    """What tokens cost. A new price is a new row: what was recorded with the old one stands."""

    form = PriceForm
    stands_for_shared_by_name = False
    list_display = (
        "model",
        "service_tier",
        "shown_input",
        "shown_output",
        "shown_context",
        "valid_from",
        "valid_until",
        "shown_owner",
    )
    list_select_related = ("model",)
    list_filter = (ServiceTierFilter, "is_custom")
    search_fields = ("model__name",)
    autocomplete_fields = ("model",)
    ordering = ("model__name", "service_tier", "-valid_from", "min_context_tokens")
    fieldsets = (
        (None, {"fields": ("model", "valid_from")}),
        (
            "US dollars per million tokens, of searches per thousand (empty: no price of its own)",
            {
                "fields": (
                    ("input_nano_usd_per_mtok", "output_nano_usd_per_mtok"),
                    ("cache_read_nano_usd_per_mtok", "cache_write_nano_usd_per_mtok"),
                    ("cache_write_1h_nano_usd_per_mtok", "reasoning_nano_usd_per_mtok"),
                    "web_search_nano_usd_per_thousand",
                )
            },
        ),
        (
            "Only for some calls",
            {
                "fields": ("service_tier", "min_context_tokens", ("daily_from_minute", "daily_until_minute")),
                "classes": ("collapse",),
            },
        ),
        ("Where it is from", {"fields": ("source",)}),
    )
    actions_detail = ("end_now",)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "model":
            kwargs["widget"] = ChosenModel(db_field, self.admin_site)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "model" and field is not None:
            field.queryset = field.queryset.select_related("tenant")
            field.label_from_instance = partial(label_of_model, seat_of(request))
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = {"valid_from": timezone.now(), **super().get_changeform_initial_data(request)}
        return initial

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Asked without a row, the answer also opens the list's actions; a row itself is never edited.
        return False if isinstance(obj, models.Model) else super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Input", ordering="input_nano_usd_per_mtok")
    def shown_input(self, price: Price) -> str:
        return show_usd(price.input_nano_usd_per_mtok)

    @display(description="Output", ordering="output_nano_usd_per_mtok")
    def shown_output(self, price: Price) -> str:
        return show_usd(price.output_nano_usd_per_mtok)

    @display(description="Context from", ordering="min_context_tokens")
    def shown_context(self, price: Price) -> str:
        return f"{price.min_context_tokens:,}" if price.min_context_tokens else "–"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        seat = seat_of(request)
        if change or seat is None:
            raise PermissionDenied
        tenant: Tenant | None = seat.tenant if seat.tenant is not None else obj.tenant
        spec = PriceSpec(
            **{kind: getattr(obj, COLUMNS[kind]) for kind in KINDS},
            service_tier=obj.service_tier,
            valid_from=obj.valid_from,
            min_context_tokens=obj.min_context_tokens,
            daily_from_minute=obj.daily_from_minute,
            daily_until_minute=obj.daily_until_minute,
            source=obj.source or f"set by {request.user.get_username()}",
        )
        made = set_price(obj.model, spec, tenant=tenant, now=timezone.now())
        record_change(tenant, actor_of(request), "create", made, {}, describe_row(made))
        obj.__dict__.update(made.__dict__)

    @action(description="End it now", icon="event_busy", permissions=["add"])
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        price = self.get_row(request, object_id)
        if not SharedRowsAdmin.has_change_permission(self, request, price):
            raise PermissionDenied
        now = timezone.now()
        has_begun = price.valid_from <= now
        if request.method == "POST":
            before = describe_row(price)
            verb, after = ("end", before | {"valid_until": now}) if has_begun else ("delete", {})
            record_change(price.tenant_id, actor_of(request), verb, price, before, after)
            end_price(price, now)
            told = "no longer holds; what was counted with it stands" if has_begun else "is taken back"
            messages.success(request, f"The price {told}.")
            return HttpResponseRedirect(reverse("admin:routing_price_changelist"))
        if not has_begun:
            return self.ask(
                request,
                title=f"Take back the price of {price.model}?",
                text="It has not begun: it is removed, and the price before it, where there is one, holds on.",
                button="Take it back",
            )
        return self.ask(
            request,
            title=f"End the price of {price.model}?",
            text="From now on the shared price holds, where there is one, and a later one of yours from its day on. "
            "While there is none, the model has no price. What was counted with this one stands.",
            button="End it",
        )
