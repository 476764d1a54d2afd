"""Gateway calls that named an idempotency key, and their answers, for whoever sends the same again."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class KeyedCall(models.Model):
    """One idempotency key of one API key: taken by a call that is running, or answered.

    The row counts until `ends_at`: of a running call that is its lease, of an answered one when its answer is
    forgotten. The key itself is not kept, only its digest; `answer` is sealed for this row by
    spendhub/gateway/kept_exchange.py.
    """

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    key_sha256 = models.CharField(max_length=64)
    request_sha256 = models.CharField(max_length=64)
    api_key = models.CharField("API key", max_length=16, help_text="Prefix of the key.")
    claim_id = models.UUIDField(editable=False, help_text="Which of the calls with this key it belongs to.")
    claimed_at = models.DateTimeField("began")
    ends_at = models.DateTimeField(db_index=True)
    answered_at = models.DateTimeField("answered", null=True)
    request_id = models.CharField(max_length=200, blank=True)
    cost_nano_usd = models.BigIntegerField(null=True)
    answer = models.BinaryField(null=True, help_text="Empty where the answer was too large to be kept.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        verbose_name = "call with an idempotency key"
        verbose_name_plural = "calls with an idempotency key"
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            # The conflict that makes one of many callers the first: see keyed_calls.claim_keys.
            models.UniqueConstraint(fields=["tenant", "key_sha256"], name="one_call_per_idempotency_key")
        ]

    def __str__(self) -> str:
        return self.request_id or str(self.claim_id)
