"""Which features' answers may be given again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display

from spendhub.tenants.admin_fields import show_seconds, show_usd
from spendhub.tenants.admin_scoping import ScopedAdmin
from spendhub.tenants.seats import Rank
from telemetry.cache_rules import EVERY_FEATURE
from telemetry.cache_savings import saved_nano_usd
from telemetry.models import CostSpan, ResponseCacheRule

SHOWN = timedelta(days=30)


@admin.register(ResponseCacheRule)
class ResponseCacheRuleAdmin(ScopedAdmin):
    """Features whose repeated requests cost nothing."""

    list_display = ("shown_feature", "shown_ttl", "shown_saved", "is_enabled")
    search_fields = ("feature",)
    when_empty = "Name a feature whose answers are everybody's: the same question is then not paid for twice."
    fieldsets = (("Answers that are given again", {"fields": ("feature", "ttl_seconds", "is_enabled")}),)

    @display(description="Feature", ordering="feature")
    def shown_feature(self, rule: ResponseCacheRule) -> str:
        return "Every feature without a rule of its own" if rule.feature == EVERY_FEATURE else rule.feature

    @display(description="Kept for", ordering="ttl_seconds")
    def shown_ttl(self, rule: ResponseCacheRule) -> str:
        return show_seconds(rule.ttl_seconds)

    @display(description=f"Saved in {SHOWN.days} days")
    def shown_saved(self, rule: ResponseCacheRule) -> str:
        recent = CostSpan.objects.for_tenant(rule.tenant_id).filter(occurred_at__gte=timezone.now() - SHOWN)
        if rule.feature == EVERY_FEATURE:
            own = ResponseCacheRule.objects.for_tenant(rule.tenant_id).order_by().values("feature")
            return show_usd(saved_nano_usd(recent.exclude(feature="").exclude(feature__in=own)))
        return show_usd(saved_nano_usd(recent.filter(feature=rule.feature)))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "feature":
            field.help_text = (
                "The feature whose answers are kept, e.g. faq, in its case; * is every feature without a rule of its "
                "own (also one that is switched off is its own)."
            )
        return field

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.ADMIN)
