"""The catalog: providers, their models, and what a token costs from which day on.

A row without a tenant is shared by the whole installation (loaded by `catalog update`); a row with
one is that tenant's own and stands before the shared row of the same name.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import TextChoices  # in Provider the type checker takes `models` for its reverse relation

from spendhub.snapshots import bump
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

CATALOG_SNAPSHOT = "catalog"

CAPABILITIES = (
    # What a vendor's interface can do.
    "tools", "vision", "json", "streaming", "reasoning", "audio", "files", "embeddings", "caching",
    # The recipe's words for what a model is good at.
    "code", "long-context", "analysis", "general", "chinese", "evaluation", "complex-reasoning",
    "creative", "math", "summarization", "translation",
)  # fmt: skip


def validate_base_url(value: str) -> None:
    """Raises ValidationError unless `value` is an http(s) address without user, query or fragment.

    Not Django's URLField: that refuses plain host names, as in http://ollama:11434/v1.
    """
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if (
        not is_usable
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not value.isprintable()
        or " " in value
    ):
        raise ValidationError(f"{value[:80]!r} is no address like https://api.openai.com/v1")


class CatalogRow(models.Model):
    """A row behind the catalog snapshot: saving or deleting it moves the snapshot's version."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            super().save(*args, **kwargs)
            bump(CATALOG_SNAPSHOT)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            deleted = super().delete(*args, **kwargs)
            bump(CATALOG_SNAPSHOT)
        return deleted


class Provider(CatalogRow):
    """A vendor, or any server that speaks a vendor's dialect."""

    class Dialect(TextChoices):
        OPENAI = "openai", "OpenAI and compatible"
        ANTHROPIC = "anthropic", "Anthropic"
        GEMINI = "gemini", "Google Gemini"
        SANDBOX = "sandbox", "Sandbox (built in, no vendor needed)"

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="providers")
    name = models.SlugField(max_length=60)
    dialect = models.CharField(max_length=12, choices=Dialect.choices, default=Dialect.OPENAI)
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
    timeout_seconds = models.PositiveIntegerField(default=600, validators=[MinValueValidator(1)])
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


class Price(CatalogRow):
    """What a million tokens of each kind cost, from a moment on, above a context size, at a time of day.

    A price is never overwritten: a new one is a new row, and the old one gets `valid_until`.
    Units: nano_usd per million tokens. Empty means "no rate of its own": cached and reasoning tokens
    then cost what plain input and output do. Source of the rules: docs/pricing.md.
    """

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="prices")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="prices")
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True)
    min_context_tokens = models.PositiveIntegerField(
        default=0, help_text="This price holds for calls whose input is larger than this many tokens; 0 for all."
    )
    daily_from_minute = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(1439)], help_text="First minute of the day (UTC) at which it holds."
    )
    daily_until_minute = models.PositiveSmallIntegerField(
        default=1440,
        validators=[MinValueValidator(1), MaxValueValidator(1440)],
        help_text="Minute of the day (UTC) at which it ends; 0 to 1440 is the whole day.",
    )
    input_nano_usd_per_mtok = models.BigIntegerField(validators=[MinValueValidator(0)])
    output_nano_usd_per_mtok = models.BigIntegerField(validators=[MinValueValidator(0)])
    cache_read_nano_usd_per_mtok = models.BigIntegerField(null=True, blank=True, validators=[MinValueValidator(0)])
    cache_write_nano_usd_per_mtok = models.BigIntegerField(null=True, blank=True, validators=[MinValueValidator(0)])
    cache_write_1h_nano_usd_per_mtok = models.BigIntegerField(null=True, blank=True, validators=[MinValueValidator(0)])
    reasoning_nano_usd_per_mtok = models.BigIntegerField(null=True, blank=True, validators=[MinValueValidator(0)])
    currency = models.CharField(max_length=3, default="USD", editable=False)
    source = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField(null=True, blank=True)
    is_custom = models.BooleanField("set by an admin", default=False, help_text="A catalog refresh leaves it alone.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["model", "-valid_from", "min_context_tokens"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "model", "valid_from", "min_context_tokens", "daily_from_minute"],
                name="one_price_per_moment_and_size",
            ),
            models.UniqueConstraint(
                fields=["model", "valid_from", "min_context_tokens", "daily_from_minute"],
                condition=models.Q(tenant__isnull=True),
                name="one_shared_price_per_moment_and_size",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"
