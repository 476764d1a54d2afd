"""Calls that named an idempotency key, and until when their answers are given again. The answers are not shown."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.decorators import display

from spendhub.tenants.admin_fields import Labelled, show_usd
from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from spendhub.tenants.seats import Rank
from telemetry.models import KeyedCall

STATE_COLOURS = {"running": "info", "kept": "success", "over": "default"}


@admin.register(KeyedCall)
class KeyedCallAdmin(ReadOnlyAdmin):
    """Deleting a row forgets its answer at once: the next call with the key is made anew."""

    list_display = ("claimed_at", "api_key", "shown_state", "request_id", "shown_cost", "ends_at")
    list_display_links = ("claimed_at",)
    list_filter = (("api_key", FieldTextFilter), ("request_id", FieldTextFilter))
    search_fields = ("request_id",)
    when_empty = (
        "A call that is sent with the header Idempotency-Key is listed here for as long as its answer is given again."
    )
    ordering = ("-claimed_at",)
    fieldsets = (
        ("The call", {"fields": (("claimed_at", "answered_at"), ("api_key", "request_id"), "shown_cost")}),
        ("The key", {"fields": (("shown_state", "ends_at"), "shown_key")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Fifty answers may be many megabytes, and no page shows them.
        return super().get_queryset(request).defer("answer")

    @display(description="State", label=STATE_COLOURS)
    def shown_state(self, row: KeyedCall) -> Labelled:
        if row.ends_at <= timezone.now():
            return Labelled("over", "Over")
        return Labelled("running", "Running") if row.answered_at is None else Labelled("kept", "Answered")

    @display(description="Its SHA-256")
    def shown_key(self, row: KeyedCall) -> str:
        return row.key_sha256

    @display(description="Cost", ordering="cost_nano_usd")
    def shown_cost(self, row: KeyedCall) -> str:
        return "–" if row.cost_nano_usd is None else show_usd(row.cost_nano_usd)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.ADMIN)
