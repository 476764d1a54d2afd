"""What counts how much when the quality of answers is summed up."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from spendhub.tenants.admin_scoping import ScopedAdmin
from spendhub.tenants.seats import Rank, seat_of
from telemetry.models import QualityWeights


@admin.register(QualityWeights)
class QualityWeightsAdmin(ScopedAdmin):
    """One row, where an account wants other weights than the usual ones."""

    list_display = ("__str__", "caller_weight", "judge_weight", "rules_weight")
    when_empty = "The usual weights hold: callers and judges count alike, and half of what the rules find goes off."
    fieldsets = (
        ("Who counts how much", {"fields": (("caller_weight", "judge_weight", "rules_weight"),)}),
        (
            "Points of 5 that an answer loses",
            {
                "fields": (
                    ("refused_points", "empty_points", "cut_off_points"),
                    ("malformed_points", "broken_off_points"),
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        seat = seat_of(request)
        has_its_own = seat is not None and QualityWeights.objects.for_tenant(seat.tenant).exists()
        return super().has_add_permission(request) and not has_its_own

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.ADMIN)
