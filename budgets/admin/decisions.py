"""Why calls were allowed or refused."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from django.template.loader import render_to_string
from unfold.decorators import display

from budgets.admin.filters import BudgetSeenFilter
from budgets.models import Decision
from spendhub.tenants.admin_fields import Labelled, show_usd, show_usd_left
from spendhub.tenants.admin_filters import MomentsFilter
from spendhub.tenants.admin_scoping import ReadOnlyAdmin

ACTION_COLOURS = {
    "allow": "success", "warn": "warning", "disable-tools": "warning", "degrade": "warning", "hard-stop": "danger",
}  # fmt: skip


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Why calls were allowed or refused: every refusal, and a sample of the rest."""

    list_display = ("decided_at", "shown_action", "shown_why", "model", "shown_who", "shown_estimate")
    list_display_links = ("decided_at",)
    list_select_related = ("budget",)
    list_filter = ("allowed", BudgetSeenFilter, ("created_at", MomentsFilter))
    search_fields = ("id__startswith", "model", "api_key", "attribution")
    fields = ("shown_story",)

    @display(description="Decided at", ordering="created_at")
    def decided_at(self, decision: Decision) -> datetime:
        return decision.created_at

    @display(description="Answer", ordering="action", label=ACTION_COLOURS)
    def shown_action(self, decision: Decision) -> Labelled:
        return Labelled(decision.action, decision.action.replace("-", " ").capitalize())

    @display(description="Because of")
    def shown_why(self, decision: Decision) -> str:
        reason = decision.reason.replace("_", " ")
        return f"{decision.budget.name} ({reason})" if decision.budget else reason

    @display(description="For")
    def shown_who(self, decision: Decision) -> str:
        return ", ".join(decision.attribution.values()) or "–"

    @display(description="Estimated", ordering="estimated_cost_nano_usd")
    def shown_estimate(self, decision: Decision) -> str:
        return show_usd(decision.estimated_cost_nano_usd)

    @display(description="Why")
    def shown_story(self, decision: Decision) -> str:
        return render_to_string(
            "budgets/decision.html",
            {
                "decision": decision,
                "estimate": show_usd(decision.estimated_cost_nano_usd),
                "remaining": show_usd_left(decision.remaining_nano_usd),
                "bound_id": str(decision.budget_id),
            },
        )
