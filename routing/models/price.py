"""What a token costs from which day on."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from routing.models.model import Model
from routing.models.rows import CatalogRow
from routing.service_tiers import MAX_TIER_LENGTH, STANDARD, TIER_PATTERN
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class Price(CatalogRow):
    """What a million tokens of each kind cost, and a thousand searches of the web: from a moment on, above a
    context size, at a time of day, in a service tier.

    A price is never overwritten: a new one is a new row, and the old one gets `valid_until`.
    Units: nano_usd per million tokens, of `web_search` per thousand. Empty means "no rate of its own": cached and
    reasoning tokens then cost what plain input and output do; searches are not counted, and the span says so.
    Source of the rules: docs/pricing.md.
    """

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="prices")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="prices")
    service_tier = models.CharField(
        max_length=MAX_TIER_LENGTH,
        blank=True,
        default=STANDARD,
        validators=[RegexValidator(TIER_PATTERN, "A tier is a word such as priority; of several: fast+us.")],
        help_text="Only for calls that the vendor answers in this tier, as it calls it: flex, priority, fast, us, "
        "batch; several as fast+us. Empty is the standard tier.",
    )
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True)
    # Where it ends unless a later price ends it sooner: until then it holds again when that one is taken back.
    stated_until = models.DateTimeField(null=True, blank=True, editable=False)
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
    web_search_nano_usd_per_thousand = models.BigIntegerField(
        "web searches, per thousand", null=True, blank=True, validators=[MinValueValidator(0)]
    )
    currency = models.CharField(max_length=3, default="USD", editable=False)
    source = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField(null=True, blank=True)
    is_custom = models.BooleanField("set by an admin", default=False, help_text="A catalog refresh leaves it alone.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["model", "service_tier", "-valid_from", "min_context_tokens"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "model", "service_tier", "valid_from", "min_context_tokens", "daily_from_minute"],
                name="one_price_per_moment_and_size",
            ),
            models.UniqueConstraint(
                fields=["model", "service_tier", "valid_from", "min_context_tokens", "daily_from_minute"],
                condition=models.Q(tenant__isnull=True),
                name="one_shared_price_per_moment_and_size",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {timezone.localtime(self.valid_from):%Y-%m-%d}"
