"""By what the pages of budgets can be narrowed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from spendhub.tenants.admin_filters import SeenFilter


class InForceFilter(DropdownFilter):
    """Archived budgets are out of the way unless asked for."""

    title = "archived"
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("only", "Archived only")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(archived_at__isnull=self.value() != "only")


class BudgetSeenFilter(SeenFilter):
    title = "budget"
    parameter_name = "budget"
    path = "budget_id"
    label_path = "budget__name"
