"""Vendors: where calls are sent, and with which key."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from routing.admin.breakers import VendorHealthPages
from routing.admin.owned_rows import OwnUpstreamForm, UpstreamAdmin, warn
from routing.admin.told_after_saving import DECIDES_WHERE_CALLS_GO, told_of_provider
from routing.models import Provider
from routing.own_upstreams import (
    problem_of_address,
)
from routing.provider_names import problem_of_provider_name


class ProviderForm(OwnUpstreamForm):
    """Checks what a provider is called, as the API does."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant, name = self.tenant, cleaned.get("name")
        row = None if self.instance._state.adding else self.instance
        if name and (problem := problem_of_provider_name(None if tenant is None else tenant.pk, row, name)):
            self.add_error("name", f"{problem}.")
        if "base_url" in cleaned and (
            problem := problem_of_address(
                cleaned.get("dialect", ""), cleaned["base_url"], None if row is None else row.base_url
            )
        ):
            self.add_error("base_url", f"It {problem}.")
        return cleaned


@admin.register(Provider)
class ProviderAdmin(VendorHealthPages, UpstreamAdmin):
    """Where calls are sent."""

    form = ProviderForm

    list_display = ("name", "short_dialect", "shown_base_url", "shown_api_key_env", "is_enabled", "shown_owner")
    list_filter = (("dialect", ChoicesDropdownFilter), "is_enabled")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "dialect", "base_url", "has_responses")}),
        ("Access", {"fields": ("api_key_env", "auth_header")}),
        ("Limits", {"fields": (("timeout_seconds", "is_enabled"),)}),
    )
    actions_detail = ("make_own",)
    own_copy_text = (
        "Your account gets its own copy, which stands before the shared one. It needs a key of your own: enter one "
        "under Vendor keys."
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or DECIDES_WHERE_CALLS_GO.intersection(form.changed_data):
            warn(request, told_of_provider(obj))

    @display(description="Dialect", ordering="dialect")
    def short_dialect(self, provider: Provider) -> str:
        return str(provider.get_dialect_display()).split(" (")[0]
