"""Budgets, and one-off raises of their limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone

from spendhub.ids import new_id
from spendhub.moments import validate_moment
from spendhub.money import MAX_NANO_USD
from spendhub.snapshots import SnapshotRow
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

BUDGETS_SNAPSHOT = "budgets"


class ScopeType(models.TextChoices):
    TENANT = "tenant", "Whole account"
    ORG = "org", "Organisation"
    USER = "user", "User"
    AGENT = "agent", "Agent"
    FEATURE = "feature", "Feature"
    SESSION = "session", "Session"
    TASK = "task", "Task"
    API_KEY = "api_key", "API key"
    PROVIDER = "provider", "Provider"
    MODEL = "model", "Model"


class Period(models.TextChoices):
    HOUR = "hour", "Hour"
    DAY = "day", "Day"
    WEEK = "week", "Week (from Monday)"
    MONTH = "month", "Month"
    TOTAL = "total", "Once, for ever"


class State(models.TextChoices):
    ACTIVE = "active", "Active"
    WARNED = "warned", "Warned"
    DEGRADED = "degraded", "Degraded"
    STOPPED = "stopped", "Stopped"


def default_thresholds() -> list[str]:
    """Shares of the limit that are told once per window: 75 %, 90 %, 100 %."""
    return ["0.75", "0.9", "1"]


class BudgetRow(SnapshotRow):
    """A row behind the budgets snapshot: saving or deleting it moves the snapshot's version."""

    snapshot_name = BUDGETS_SNAPSHOT

    class Meta:
        abstract = True


class Budget(BudgetRow):
    """A limit on a scope per period, with a policy. It holds no spend: that is BudgetWindow's.

    `scope_key` "*" gives every key of the type its own allowance; an exact key replaces it for
    the same period. For scope type `tenant` the key is always "*".
    """

    class Mode(models.TextChoices):
        ENFORCE = "enforce", "Enforce: stop what does not fit"
        OBSERVE = "observe", "Observe: only report what it would have done"

    class Source(models.TextChoices):
        ADMIN = "admin", "Admin"
        API = "api", "API"
        SETTINGS = "settings", "Settings of the installation"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="budgets")
    name = models.CharField(max_length=120)
    scope_type = models.CharField(max_length=10, choices=ScopeType.choices)
    scope_key = models.CharField(max_length=200, default="*", help_text="* gives each one its own allowance.")
    limit_nano_usd = models.BigIntegerField(validators=[MinValueValidator(0), MaxValueValidator(MAX_NANO_USD)])
    period = models.CharField(max_length=6, choices=Period.choices, default=Period.MONTH)
    soft_cap = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.8"),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1))],
        help_text="Share of the limit from which we warn or switch to cheaper models; 0.8 is 80 %.",
    )
    hard_cap = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal(1),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1))],
        help_text="Share of the limit at which calls are stopped; 1 is the whole limit.",
    )
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.ENFORCE)
    thresholds = models.JSONField(default=default_thresholds, blank=True)
    downgrade_rules = models.JSONField(
        default=list, blank=True, help_text='In order, e.g. [{"from": ["gpt-6-sol"], "to": "gpt-6-luna"}]; "*" is any.'
    )
    disabled_tools = models.JSONField(default=list, blank=True)
    strict = models.BooleanField(default=False)
    patience_seconds = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(60)])
    starts_at = models.DateTimeField(null=True, blank=True, validators=[validate_moment])
    ends_at = models.DateTimeField(null=True, blank=True, validators=[validate_moment])
    is_frozen = models.BooleanField("frozen", default=False, help_text="Stops every call under it until unfrozen.")
    source = models.CharField(max_length=8, choices=Source.choices, default=Source.ADMIN, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # Windows that had begun before this moment may hold spend recorded before the budget existed:
    # their ledger row is opened with the sum of those spans. Moved when scope or period changes.
    counts_from = models.DateTimeField(editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "scope_type", "scope_key", "period"],
                condition=models.Q(archived_at__isnull=True),
                name="one_budget_per_scope_and_period",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves the row; a new budget's ledger is opened with what its window has already spent."""
        if not self._state.adding:
            super().save(*args, **kwargs)
            return
        # The ledger is built on these models, so it can only be imported once they are all there.
        from budgets.openings import open_budget

        now = timezone.now()
        if self.counts_from is None:
            self.counts_from = now
        with transaction.atomic():
            super().save(*args, **kwargs)
            open_budget(self, now)


class BudgetRaise(BudgetRow):
    """A one-off raise of a budget's limit that ends by itself."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="raises")
    by_nano_usd = models.BigIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MAX_NANO_USD)])
    starts_at = models.DateTimeField(validators=[validate_moment])
    ends_at = models.DateTimeField(validators=[validate_moment])
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=200, blank=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-starts_at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"

    def __str__(self) -> str:
        return f"raise until {timezone.localtime(self.ends_at):%Y-%m-%d}"
