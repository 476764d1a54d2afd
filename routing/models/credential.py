"""Vendors' keys that are entered in the admin or over the API, encrypted at rest."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.models.provider import Provider
from routing.models.rows import CatalogRow
from spendhub.ids import new_id
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class Credential(CatalogRow):
    """One key at one provider. Several share the calls by weight; without any, the provider's variable is used.

    `sealed` is encrypted (see routing/credentials.py) and never shown; `hint` is its last four characters.
    The installation's (without a tenant) serve every tenant that has none of its own for the provider.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="credentials")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=60, help_text="To tell keys apart, e.g. main or backup.")
    sealed = models.BinaryField(editable=False)
    hint = models.CharField(max_length=8, editable=False)
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="How much of the calls it gets, beside the others.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField(null=True, blank=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        verbose_name = "vendor key"
        ordering = ["provider__name", "name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider", "name"], name="credential_name_per_provider"),
            models.UniqueConstraint(
                fields=["provider", "name"],
                condition=models.Q(tenant__isnull=True),
                name="credential_name_when_shared",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.name}" + (f" (…{self.hint})" if self.hint else "")
