"""Tenants, the people in them, and the keys of their agents."""

from __future__ import annotations

import zoneinfo
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import TextChoices  # in Tenant the type checker takes `models` for its reverse relation

from spendhub.snapshots import SnapshotRow
from spendhub.tenants.attribution import Attribution, InvalidAttribution
from spendhub.tenants.scoping import TenantManager

ACCESS_SNAPSHOT = "access"


def validate_timezone(name: str) -> None:
    """Raises ValidationError unless `name` is in the IANA time zone database."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"{name!r} is no time zone; write it like Europe/Berlin") from None


def validate_attribution(value: Any) -> None:
    """Raises ValidationError unless `value` is a mapping of known dimensions to plain keys."""
    try:
        Attribution.parse(value)
    except InvalidAttribution as error:
        raise ValidationError(error.message) from None


class AccessRow(SnapshotRow):
    """A row behind the access snapshot: saving or deleting it moves the snapshot's version."""

    snapshot_name = ACCESS_SNAPSHOT

    class Meta:
        abstract = True


class Tenant(AccessRow):
    """A customer account. Nothing is ever visible across tenants."""

    class Status(TextChoices):
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended (its keys are refused)"

    class UnpricedModels(TextChoices):
        REFUSE = "refuse", "Refuse the call"
        DEFAULT_PRICE = "default", "Use the default price and mark the record as estimated"

    name = models.CharField(max_length=120, help_text="Your company or team.")
    slug = models.SlugField(max_length=60, unique=True, help_text="Short name used in web addresses.")
    timezone = models.CharField(
        max_length=60,
        default="UTC",
        validators=[validate_timezone],
        help_text="Days, weeks and months of your budgets begin at midnight here, e.g. Europe/Berlin.",
    )
    currency = models.CharField(
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"^[A-Z]{3}\Z", "Write three capital letters, such as USD.")],
        help_text="Shown beside amounts. Vendors bill, and we count, in US dollars.",
    )
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.ACTIVE)
    unpriced_models = models.CharField(
        max_length=10,
        choices=UnpricedModels.choices,
        default=UnpricedModels.REFUSE,
        help_text="What to do when an agent asks for a model whose price we do not know.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "account"

    def __str__(self) -> str:
        return self.name


class Membership(AccessRow):
    """A person's role in a tenant."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner: everything, people and keys included"
        ADMIN = "admin", "Admin: budgets, models, prices and keys"
        ANALYST = "analyst", "Analyst: sees everything, changes nothing but notes and corrections"
        VIEWER = "viewer", "Viewer: sees budgets and spend"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_role_per_person_and_tenant")]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.tenant}"


class ApiKey(AccessRow):
    """An agent's key. Only its hash is stored; the readable prefix tells keys apart."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120, help_text="Which agent or program uses it, e.g. Support bot.")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    secret_sha256 = models.CharField(max_length=64, editable=False)
    can_spend = models.BooleanField("may spend", default=True, help_text="Check, reserve, record, and call models.")
    can_read = models.BooleanField("may read", default=True, help_text="Read usage, budgets and decisions.")
    can_manage = models.BooleanField("may manage", default=False, help_text="Edit budgets, models, prices and keys.")
    attribution = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_attribution],
        help_text='What calls with this key are for when they do not say, e.g. {"agent": "support-bot"}.',
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaces = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replaced_by", editable=False
    )

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        indexes = [models.Index(fields=["tenant", "-created_at"], name="apikey_by_tenant")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Change(models.Model):
    """Who changed what, when: one row per edit of a setting, kept for ever."""

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="changes")
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200, help_text="user:NAME, key:PREFIX or system")
    action = models.CharField(max_length=40)
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=60)
    subject = models.CharField(max_length=200)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-at"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        indexes = [
            models.Index(fields=["tenant", "-at"], name="change_by_tenant"),
            models.Index(fields=["subject_type", "subject_id"], name="change_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"
