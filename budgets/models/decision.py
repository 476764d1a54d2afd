"""Why calls were allowed or refused."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from budgets.models.budget import Budget
from spendhub.ids import new_id
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class Decision(models.Model):
    """Why a call was allowed or refused: each budget looked at and what it held.
    Kept for every refusal and a sample of the rest."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    allowed = models.BooleanField()
    action = models.CharField(max_length=14)
    reason = models.CharField(max_length=40)
    budget = models.ForeignKey(
        Budget, null=True, on_delete=models.SET_NULL, related_name="+", help_text="The budget that bound."
    )
    attribution = models.JSONField(default=dict)
    api_key = models.CharField(max_length=16, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    estimated_cost_nano_usd = models.BigIntegerField()
    remaining_nano_usd = models.BigIntegerField(null=True)
    resets_at = models.DateTimeField(null=True)
    suggested_model = models.CharField(max_length=120, blank=True)
    disabled_tools = models.JSONField(default=list)
    looked_at = models.JSONField(default=list, help_text="Each budget as it stood at that moment.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        indexes = [models.Index(fields=["tenant", "-created_at"], name="decision_by_time")]

    def __str__(self) -> str:
        return f"{self.action} {timezone.localtime(self.created_at):%Y-%m-%d %H:%M}"
