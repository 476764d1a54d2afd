"""Which budgets name models: routing asks before one is renamed or deleted, and may not know what a budget is."""

from __future__ import annotations

from collections.abc import Iterable

from budgets.models import Budget, ScopeType
from routing.model_uses import ModelUse


def uses_in_budgets(tenant_id: int | None) -> Iterable[ModelUse]:
    """Budgets of one tenant's, or with None of everybody's, that limit a model or a provider, or switch from one model
    to another; archived ones do nothing."""
    rows = Budget.objects.across_tenants().filter(archived_at__isnull=True).order_by("name")
    for budget in rows if tenant_id is None else rows.filter(tenant=tenant_id):
        in_rules = {name for rule in budget.downgrade_rules for name in (*rule["from"], rule["to"])}
        keys = frozenset((budget.scope_key,)) - {"*"}
        limited = keys if budget.scope_type == ScopeType.MODEL else frozenset()
        yield ModelUse(
            budget.tenant_id,
            f"the budget {budget.name!r}",
            names=frozenset(in_rules - {"*"}),
            own_names=limited,
            counted_names=limited,
            counted_providers=keys if budget.scope_type == ScopeType.PROVIDER else frozenset(),
        )
