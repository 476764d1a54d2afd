"""Money held for calls in flight, where the database counts."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from budgets.models.budget import Budget
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class Hold(models.Model):
    """Money held for a call in flight, where the database is the counter store."""

    class Kind(models.TextChoices):
        RESERVATION = "reservation", "Ends by itself at expires_at"
        CALL = "call", "Stays until settled or booked as interrupted"

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    amount_nano_usd = models.BigIntegerField()
    expires_at = models.DateTimeField()
    payload = models.JSONField(default=dict)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        indexes = [models.Index(fields=["tenant", "kind", "expires_at"], name="hold_by_expiry")]


class HoldLine(models.Model):
    """One window's part in a hold."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="lines")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="+")
    scope_key = models.CharField(max_length=200)
    window_starts_at = models.DateTimeField()
    window_ends_at = models.DateTimeField(null=True)
    amount_nano_usd = models.BigIntegerField()

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["hold", "budget", "scope_key", "window_starts_at"], name="one_line_per_hold_and_window"
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "budget", "scope_key", "window_starts_at"], name="holdline_by_window")
        ]
