"""What happened to budgets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from budgets.admin.filters import BudgetSeenFilter
from budgets.models import BudgetEvent
from spendhub.tenants.admin_fields import Labelled, show_share, show_usd
from spendhub.tenants.admin_filters import MomentsFilter
from spendhub.tenants.admin_scoping import ReadOnlyAdmin


@admin.register(BudgetEvent)
class BudgetEventAdmin(ReadOnlyAdmin):
    """What happened to budgets: thresholds reached, states changed, stops and resets."""

    list_display = ("occurred_at", "shown_kind", "budget", "shown_key", "shown_what", "shown_money")
    list_display_links = ("occurred_at",)
    list_select_related = ("budget",)
    list_filter = (("kind", ChoicesDropdownFilter), BudgetSeenFilter, ("occurred_at", MomentsFilter))
    search_fields = ("scope_key", "budget__name")
    fields = ("occurred_at", "kind", "budget", "scope_key", "shown_what", "shown_money", "window_starts_at")

    def get_ordering(self, request: HttpRequest) -> Any:
        # The index by time begins with the account: without one, its order would sort the whole table.
        return ("-id",) if self._is_above_accounts(request) else super().get_ordering(request)

    @display(
        description="What",
        ordering="kind",
        label={
            "state-change": "info", "threshold-breach": "warning", "hard-stop": "danger", "budget-reset": "success",
        },
    )  # fmt: skip
    def shown_kind(self, event: BudgetEvent) -> Labelled:
        return Labelled(event.kind, str(event.get_kind_display()))

    @display(description="For")
    def shown_key(self, event: BudgetEvent) -> str:
        return "" if event.scope_key == "*" else event.scope_key

    @display(description="Details")
    def shown_what(self, event: BudgetEvent) -> str:
        if event.kind == BudgetEvent.Kind.STATE_CHANGE:
            return f"{event.from_state or 'active'} → {event.to_state}"
        if event.kind == BudgetEvent.Kind.THRESHOLD_BREACH:
            return f"{show_share(event.threshold)} of the limit"
        if event.kind == BudgetEvent.Kind.BUDGET_RESET:
            return f"by {event.actor.removeprefix('user:')}"
        return "first call refused in this window"

    @display(description="Spent, of limit")
    def shown_money(self, event: BudgetEvent) -> str:
        return f"{show_usd(event.spend_nano_usd)} of {show_usd(event.limit_nano_usd)}"
