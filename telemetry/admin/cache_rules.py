"""Which features' answers may be given again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from spendhub.tenants.admin_scoping import ScopedAdmin
from spendhub.tenants.seats import Rank
from telemetry.models import ResponseCacheRule


@admin.register(ResponseCacheRule)
class ResponseCacheRuleAdmin(ScopedAdmin):
    """Features whose repeated requests cost nothing."""

    list_display = ("feature", "shown_ttl", "is_enabled")
    search_fields = ("feature",)
    fieldsets = (("Answers that are given again", {"fields": ("feature", "ttl_seconds", "is_enabled")}),)

    @display(description="Kept for", ordering="ttl_seconds")
    def shown_ttl(self, rule: ResponseCacheRule) -> str:
        return f"{rule.ttl_seconds:,} s"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.ADMIN)
