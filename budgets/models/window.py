"""The ledger: what budgets have spent."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from budgets.models.budget import Budget, State
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class BudgetWindow(models.Model):
    """The ledger row: what one budget has spent for one key in one window.

    `spend_nano_usd` is everything charged; `forgiven_nano_usd` is what resets have set aside. What
    counts against the limit is spend - forgiven. `version` grows with every change.
    `starts_at` of a `total` window is 1970-01-01; its `ends_at` is empty.
    """

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="windows")
    scope_key = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    spend_nano_usd = models.BigIntegerField(default=0)
    forgiven_nano_usd = models.BigIntegerField(default=0)
    version = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    breach_count = models.PositiveIntegerField(default=0)
    last_threshold = models.CharField(max_length=8, blank=True)
    told_thresholds = models.JSONField(default=list)
    hard_stop_told = models.BooleanField(default=False)
    updated_at = models.DateTimeField()

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "budget", "scope_key", "starts_at"], name="one_ledger_row_per_window"
            ),
        ]
        indexes = [models.Index(fields=["updated_at"], name="window_by_change")]
