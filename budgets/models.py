"""Budgets, the ledger of what they have spent, and what was held, decided and told about them."""

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
from spendhub.tenants.models import Tenant, validate_attribution
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


class CounterFence(models.Model):
    """Which counter store is in charge: one row for the installation.

    `epoch` grows with every change of store and whenever Redis has lost its memory; no reserve
    passes before `effective_at`, by when every process has seen the change or stopped by itself.
    After that moment the first process to need it opens it: what is held is then all in the new store.
    """

    class Store(models.TextChoices):
        REDIS = "redis", "Redis"
        DATABASE = "database", "Database"

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    store = models.CharField(max_length=8, choices=Store.choices)
    epoch = models.BigIntegerField(default=1)
    effective_at = models.DateTimeField()
    is_open = models.BooleanField(default=False)
    reason = models.CharField(max_length=200, blank=True)
