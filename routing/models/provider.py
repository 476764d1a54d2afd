"""Vendors, and other servers that speak a vendor's dialect."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import TextChoices  # in Provider the type checker takes `models` for its reverse relation

from routing.models.rows import CatalogRow, validate_base_url
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

MOST_DIALECT_CHARACTERS = 12
# A header that carries a key, and none that a server inside a network takes for the word of its proxy.
AUTH_HEADER = r"^(?!proxy-|x-forwarded-)(?:[a-z0-9]+-)*(?:authorization|auth|apikey|key|token|secret)\Z"
# Dialects of an installation's own, by name, with how each is called: routing/own_dialects.py adds to them.
OWN_DIALECTS: dict[str, str] = {}


def dialect_choices() -> list[tuple[str, str]]:
    """Every dialect that a provider may speak, with how it is called."""
    return [*Provider.Dialect.choices, *OWN_DIALECTS.items()]


class Provider(CatalogRow):
    """A vendor, or any server that speaks a vendor's dialect."""

    class Dialect(TextChoices):
        OPENAI = "openai", "OpenAI and compatible"
        ANTHROPIC = "anthropic", "Anthropic"
        GEMINI = "gemini", "Google Gemini"
        BEDROCK = "bedrock", "Amazon Bedrock (Converse)"
        SANDBOX = "sandbox", "Sandbox (built in, no vendor needed)"

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="providers")
    name = models.SlugField(max_length=60)
    dialect = models.CharField(max_length=MOST_DIALECT_CHARACTERS, choices=dialect_choices, default=Dialect.OPENAI)
    base_url = models.CharField(
        max_length=300,
        blank=True,
        validators=[validate_base_url],
        help_text="Where calls are sent, e.g. https://api.openai.com/v1",
    )
    api_key_env = models.CharField(
        max_length=80,
        blank=True,
        validators=[RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*$", "Letters, digits and _ only.")],
        help_text="Name of the environment variable that holds the vendor's key, e.g. OPENAI_API_KEY.",
    )
    auth_header = models.CharField(
        max_length=40,
        default="authorization",
        validators=[
            RegexValidator(AUTH_HEADER, "A header for keys, in lower case: authorization, api-key, x-api-key ...")
        ],
        help_text="How the key is sent: authorization (as Bearer), or e.g. api-key for Azure. Dialect openai only.",
    )
    has_responses = models.BooleanField(
        "speaks the Responses API",
        default=False,
        help_text="Dialect openai only: calls to /v1/responses then pass untouched; else they become chat completions.",
    )
    timeout_seconds = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(1), MaxValueValidator(3600)]
    )
    is_enabled = models.BooleanField("enabled", default=True)
    edited_fields = models.JSONField(default=list, blank=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="provider_name_per_tenant"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(tenant__isnull=True), name="provider_name_when_shared"
            ),
        ]

    def __str__(self) -> str:
        return self.name
