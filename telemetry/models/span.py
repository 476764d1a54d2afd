"""One recorded call, and later changes of what it cost."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from spendhub.ids import new_id
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager
from telemetry.drafts import WORST_CASE_COST


def costs_over_hold(is_over: bool) -> models.Q:
    """Calls that cost more than was held for them, or no more; those for which nothing was held are neither."""
    return models.Q(**{f"cost_nano_usd__{'gt' if is_over else 'lte'}": models.F("reserved_nano_usd")})


class CostSpan(models.Model):
    """One recorded LLM call. Never edited: a correction is a row of its own beside it.

    Token columns are disjoint except reasoning, which is part of output: `input_tokens` is plain
    input without cached tokens. `cost_nano_usd` is what it cost when it was recorded (later
    corrections included); `breakdown` gives nano_usd per token kind.
    """

    class Status(models.TextChoices):
        OK = "ok", "OK"
        ERROR = "error", "Error"
        ABORTED = "aborted", "Client left"
        INTERRUPTED = "interrupted", "Interrupted: booked at the estimate"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    request_id = models.CharField(max_length=200, help_text="Counts once per tenant, whoever retries.")
    occurred_at = models.DateTimeField(help_text="When the call was checked: decides the budget windows it counts in.")
    recorded_at = models.DateTimeField()
    source = models.CharField(max_length=12, help_text="gateway, api, recipe, worker or demo")
    reservation_id = models.UUIDField(null=True)
    trace_id = models.CharField(max_length=64, blank=True)
    parent_id = models.CharField(max_length=64, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    requested_model = models.CharField(max_length=120, blank=True)
    org = models.CharField(max_length=200, blank=True)
    user = models.CharField(max_length=200, blank=True)
    agent = models.CharField(max_length=200, blank=True)
    feature = models.CharField(max_length=200, blank=True)
    session = models.CharField(max_length=200, blank=True)
    task = models.CharField(max_length=200, blank=True)
    api_key = models.CharField(max_length=16, blank=True, help_text="Prefix of the key.")
    input_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    cost_nano_usd = models.BigIntegerField()
    breakdown = models.JSONField(default=dict)
    reserved_nano_usd = models.BigIntegerField(null=True, help_text="What was held for it, if anything.")
    is_estimated = models.BooleanField("estimated", default=False)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.OK)
    error_code = models.CharField(max_length=60, blank=True)
    duration_ms = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True)
    metadata = models.JSONField(default=dict)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        verbose_name = "call"
        ordering = ["-occurred_at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["tenant", "request_id"], name="one_span_per_request_id")]
        indexes = [
            models.Index(fields=["tenant", "-occurred_at"], name="span_by_time"),
            models.Index(fields=["tenant", "user", "-occurred_at"], name="span_by_user"),
            # Few, among all that an account has ever recorded.
            models.Index(
                fields=["tenant", "-occurred_at"],
                condition=costs_over_hold(True),
                name="span_over_hold",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'call'} {timezone.localtime(self.occurred_at):%Y-%m-%d %H:%M}"

    @property
    def over_hold_nano_usd(self) -> int | None:
        """By how much it cost more than was held for it; None where nothing was."""
        return None if self.reserved_nano_usd is None else max(0, self.cost_nano_usd - self.reserved_nano_usd)

    @property
    def worst_case_cost(self) -> str | None:
        """What it could have cost at most, in USD, where the gateway held for less; None where it did not, or nobody
        knows."""
        # What others have sent in says nothing: their metadata is their own.
        return self.metadata.get(WORST_CASE_COST) if self.source == "gateway" else None


class SpanCorrection(models.Model):
    """A later change of what a span cost, with who made it and why. The ledger moves with it."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    span = models.ForeignKey(CostSpan, on_delete=models.PROTECT, related_name="corrections")
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=200, blank=True)
    from_nano_usd = models.BigIntegerField()
    to_nano_usd = models.BigIntegerField()

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
