"""What happened to budgets."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from budgets.models.budget import Budget
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class BudgetEvent(models.Model):
    """Something an admin may want to be told: stored once, and the seam for notifications."""

    class Kind(models.TextChoices):
        STATE_CHANGE = "state-change", "State change"
        THRESHOLD_BREACH = "threshold-breach", "Threshold reached"
        HARD_STOP = "hard-stop", "Hard stop"
        BUDGET_RESET = "budget-reset", "Budget reset"

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    occurred_at = models.DateTimeField()
    scope_key = models.CharField(max_length=200)
    window_starts_at = models.DateTimeField()
    from_state = models.CharField(max_length=8, blank=True)
    to_state = models.CharField(max_length=8, blank=True)
    threshold = models.CharField(max_length=8, blank=True)
    spend_nano_usd = models.BigIntegerField()
    limit_nano_usd = models.BigIntegerField()
    actor = models.CharField(max_length=200, blank=True, help_text="Who reset it; empty when money moved it.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-occurred_at", "-id"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        indexes = [models.Index(fields=["tenant", "-occurred_at", "-id"], name="event_by_tenant")]

    def __str__(self) -> str:
        return f"{self.kind} {timezone.localtime(self.occurred_at):%Y-%m-%d %H:%M}"
