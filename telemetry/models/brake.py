"""Brakes against agents that run away, and what they have stopped."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from spendhub.ids import new_id
from spendhub.money import MAX_NANO_USD, NANO_PER_USD
from spendhub.snapshots import SnapshotRow
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

BRAKES_SNAPSHOT = "brakes"
MAX_SLOW_SECONDS = 10


class ScopeType(models.TextChoices):
    """Whose calls a brake counts together."""

    CALLER = "caller", "Each session; without one, each user, agent or API key"
    SESSION = "session", "Each session"
    USER = "user", "Each user"
    AGENT = "agent", "Each agent"
    FEATURE = "feature", "Each feature"
    TASK = "task", "Each task"
    ORG = "org", "Each org"
    API_KEY = "api_key", "Each API key"


class BrakeRow(SnapshotRow):
    """A row behind the brakes' snapshot: saving or deleting it moves the snapshot's version."""

    snapshot_name = BRAKES_SNAPSHOT

    class Meta:
        abstract = True


class Brake(BrakeRow):
    """What an agent may not do for long: repeat itself, or spend far faster than usual.

    `repeats` identical requests pass within `within_seconds`, the next is braked; None: repeats are not counted.
    `spend_factor`: spend within `within_seconds` of more than so many times the usual is braked, from
    `spend_least_nano_usd` on; None: spend is not watched.
    """

    class Action(models.TextChoices):
        WARN = "warn", "Warn: the answer carries a warning"
        SLOW = "slow", "Slow: each call waits first"
        PAUSE = "pause", "Pause: calls are refused until resumed"

    class Compares(models.TextChoices):
        WHOLE = "whole", "The whole request"
        LAST_TURN = "last-turn", "Its last message: catches agents whose history grows"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120, help_text="What you call it, such as “Support agents in a loop”.")
    scope_type = models.CharField("counts together", max_length=8, choices=ScopeType.choices, default=ScopeType.CALLER)
    repeats = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="So many identical requests pass; the next is braked. Empty: repeats are not counted.",
    )
    compares = models.CharField(max_length=9, choices=Compares.choices, default=Compares.WHOLE)
    within_seconds = models.PositiveIntegerField(
        "within (seconds)", default=300, validators=[MinValueValidator(1), MaxValueValidator(86_400)]
    )
    spend_factor = models.DecimalField(
        max_digits=7,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("1.01")), MaxValueValidator(Decimal(10_000))],
        help_text="Spending more than so many times the usual is braked, e.g. 10. Empty: spend is not watched.",
    )
    spend_least_nano_usd = models.BigIntegerField(
        "but not below nano usd",
        default=NANO_PER_USD,
        validators=[MinValueValidator(0), MaxValueValidator(MAX_NANO_USD)],
        help_text="Less than this within the time is never too much.",
    )
    action = models.CharField(max_length=5, choices=Action.choices, default=Action.WARN)
    slow_seconds = models.PositiveSmallIntegerField(
        "waits (seconds)",
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_SLOW_SECONDS)],
        help_text="For the action “slow”: 1 to 10.",
    )
    pause_seconds = models.PositiveIntegerField(
        "paused for (seconds)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(7 * 86_400)],
        help_text="For the action “pause”: it then ends by itself. Empty: until somebody resumes it.",
    )
    is_enabled = models.BooleanField("enabled", default=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"],
                name="brake_name_per_tenant",
                violation_error_message="There is a brake of that name already.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.repeats is None and self.spend_factor is None:
            raise ValidationError("Say how many repeats are too many, or how much spend, or both.")


class BrakeStop(BrakeRow):
    """One time that a brake acted on one scope: the event, and (while it is open) what is in force.

    It ends at `ends_at`, or when somebody resumes it; with its brake switched off or deleted it is not in force.
    `is_open` may outlast `ends_at` until the next one of that brake and scope, or the worker, closes it.
    """

    class Cause(models.TextChoices):
        REPEATS = "repeats", "The same request, again and again"
        SPEND = "spend", "Spend far above the usual"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    brake = models.ForeignKey(Brake, null=True, on_delete=models.SET_NULL, related_name="stops")
    brake_name = models.CharField("brake", max_length=120)
    scope_type = models.CharField(max_length=8)
    scope_key = models.CharField(max_length=200)
    cause = models.CharField(max_length=7, choices=Cause.choices)
    action = models.CharField(max_length=5, choices=Brake.Action.choices)
    reason = models.CharField(max_length=300)
    since = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    is_open = models.BooleanField(default=True)
    resumed_at = models.DateTimeField(null=True)
    resumed_by = models.CharField(max_length=200, blank=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-since"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            # Processes that see the same loop at once make one row of it.
            models.UniqueConstraint(
                fields=["brake", "scope_type", "scope_key", "cause"],
                condition=Q(is_open=True),
                name="one_open_stop_per_brake_and_scope",
            )
        ]
        indexes = [models.Index(fields=["tenant", "-since"], name="brake_stop_by_time")]

    def __str__(self) -> str:
        return f"{self.brake_name}: {self.scope_type} {self.scope_key}"
