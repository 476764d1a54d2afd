"""Accounts."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action, display

from spendhub.tenants.admin_scoping import ScopedAdmin
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import Rank


@admin.register(Tenant)
class AccountAdmin(ScopedAdmin):
    """Accounts: the operator makes them, an owner keeps their own in order."""

    edit_rank = Rank.OWNER
    list_display = ("name", "slug", "timezone", "shown_status", "created_at")
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("name", "slug", "timezone", "currency")}),
        ("Calls to models without a known price", {"fields": ("unpriced_models",)}),
        ("Access", {"fields": ("status",)}),
    )
    prepopulated_fields = {"slug": ("name",)}
    actions_detail = ("move_timezone",)

    @display(description="Status", label={"Active": "success", "Suspended": "danger"})
    def shown_status(self, tenant: Tenant) -> str:
        return "Active" if tenant.status == Tenant.Status.ACTIVE else "Suspended"

    def rows_of(self, rows: models.QuerySet[Any], tenant: Tenant) -> models.QuerySet[Any]:
        return rows.filter(pk=tenant.pk)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.OPERATOR)

    def fixed_after_creation(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        if obj is None:
            return ()
        # The zone cuts the windows: moving it would tear counts from the days they were made in.
        return ("slug", "timezone") if self.may(request, Rank.OPERATOR) else ("slug", "timezone", "status")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *self.fixed_after_creation(request, obj)]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj is not None else self.prepopulated_fields

    @action(description="Change time zone", icon="schedule", permissions=["change"])
    def move_timezone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        # Budgets must be cut anew with it, and they are above this app: the dashboard has the page.
        return HttpResponseRedirect(reverse("dashboard:timezone", args=[self.get_row(request, object_id).pk]))

    def give_tenant(self, request: HttpRequest, obj: Any) -> None:
        """An account belongs to itself."""
