"""Models that agents may ask for."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models

from routing.models.provider import Provider
from routing.models.rows import CatalogRow, validate_base_url
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


def problem_of_sizes(context_tokens: int | None, max_output_tokens: int | None) -> str:
    """What is wrong with a model's longest answer beside its context, as a sentence's words; "" for nothing."""
    if context_tokens is None or max_output_tokens is None or max_output_tokens <= context_tokens:
        return ""
    return f"must not be more than its context holds, which is {context_tokens} tokens"


class Model(CatalogRow):
    """A model an agent may ask for, by `name` or one of its `aliases`."""

    class Kind(models.TextChoices):
        CHAT = "chat", "Chat"
        EMBEDDING = "embedding", "Embedding"

    class Quality(models.TextChoices):
        ECONOMY = "economy", "Economy"
        STANDARD = "standard", "Standard"
        PREMIUM = "premium", "Premium"

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="models")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="models")
    name = models.CharField(max_length=120, help_text="What agents write in `model`.")
    aliases = models.JSONField(default=list, blank=True, help_text="Other names for the same model.")
    upstream_name = models.CharField(max_length=160, blank=True, help_text="What the vendor calls it, if different.")
    base_url = models.CharField(
        max_length=300,
        blank=True,
        validators=[validate_base_url],
        help_text="Only if this model lives elsewhere than its provider.",
    )
    api_key_env = models.CharField(
        max_length=80,
        blank=True,
        validators=[RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*$", "Letters, digits and _ only.")],
        help_text="Only if this model needs another key than its provider's: the variable's name.",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.CHAT)
    quality = models.CharField("quality tier", max_length=10, choices=Quality.choices, default=Quality.STANDARD)
    context_tokens = models.PositiveIntegerField(null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    capabilities = models.JSONField(default=list, blank=True)
    region = models.CharField(
        max_length=40,
        blank=True,
        validators=[RegexValidator(r"^[a-z0-9]+(-[a-z0-9]+)*$", "Small letters, digits and -, e.g. eu or us-east-1.")],
        help_text="Where it runs, e.g. eu or eu-west-1. Empty: not known; calls that demand a region pass it by.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    retires_at = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where these facts are from.")
    checked_on = models.DateField(null=True, blank=True)
    edited_fields = models.JSONField(
        default=list, blank=True, editable=False, help_text="Fields an admin has set; a refresh leaves them alone."
    )

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["provider__name", "name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="model_name_per_tenant"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(tenant__isnull=True), name="model_name_when_shared"
            ),
        ]

    def __str__(self) -> str:
        return self.name
