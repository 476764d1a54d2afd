"""Which features' answers may be given again."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from spendhub.snapshots import SnapshotRow
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

CACHE_RULES_SNAPSHOT = "cache_rules"
MAX_CACHE_SECONDS = 7 * 86_400


class ResponseCacheRule(SnapshotRow):
    """Exactly the same request of this feature is answered again from memory for a while, at no cost."""

    snapshot_name = CACHE_RULES_SNAPSHOT

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    feature = models.CharField(max_length=200, help_text="The feature whose answers are kept, e.g. faq.")
    ttl_seconds = models.PositiveIntegerField(
        "kept for (seconds)",
        default=3600,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_CACHE_SECONDS)],
        help_text="How old an answer may be when it is given again; at most 604800 (7 days).",
    )
    is_enabled = models.BooleanField("enabled", default=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["feature"]
        verbose_name = "rule for kept answers"
        verbose_name_plural = "rules for kept answers"
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "feature"],
                name="one_cache_rule_per_feature",
                violation_error_message="This feature has a rule already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.feature}: {self.ttl_seconds} s"
