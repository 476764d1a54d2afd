"""Holds made over the API."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from spendhub.ids import new_id
from spendhub.tenants.models import Tenant, validate_attribution
from spendhub.tenants.scoping import TenantManager


class Reservation(models.Model):
    """A hold made over the API: durable, so that its commit is understood however late it comes."""

    class Status(models.TextChoices):
        HELD = "held", "Held (or ended by itself after expires_at)"
        COMMITTED = "committed", "Committed"
        RELEASED = "released", "Released"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    # What was asked, digested: the same key with another question is a conflict, not a repeat.
    request_sha256 = models.CharField(max_length=64, blank=True)
    attribution = models.JSONField(default=dict, validators=[validate_attribution])
    api_key = models.CharField(max_length=16, blank=True, help_text="Prefix of the key that asked.")
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    amount_nano_usd = models.BigIntegerField()
    lines = models.JSONField(default=list, help_text="[budget id, scope key, window start in epoch seconds] each")
    answer = models.JSONField(default=dict, help_text="What was answered; a repeat gets the same.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.HELD)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    span_id = models.UUIDField(null=True)
    released_nano_usd = models.BigIntegerField(null=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="one_reservation_per_idempotency_key")
        ]
        indexes = [models.Index(fields=["tenant", "status", "expires_at"], name="reservation_by_expiry")]
