"""Names that stand for a choice of models, and rules that choose for calls of a kind."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator
from django.db import models

from routing.models.rows import CatalogRow
from spendhub.ids import new_id
from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager


class Route(CatalogRow):
    """A name that agents may put in `model`, standing for candidate models, a strategy and a fallback order.

    One with `match` is a rule: it is used for calls whose attribution it names, when they ask for `auto`
    or for one of the names in `match["model"]` ("*" is any). Of several that apply the highest
    `priority` wins, then the name. A tenant's own route stands before the shared one of the same name.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="routes")
    name = models.SlugField(max_length=60, help_text="What agents write in `model`, e.g. auto, fast, support.")
    candidate_models = models.JSONField(
        default=list, blank=True, help_text="Candidate models, one a line. Empty: every model that can do it."
    )
    strategy = models.CharField(max_length=40, default="cost-optimized", help_text="How one of them is chosen.")
    fallback = models.JSONField(
        default=list, blank=True, help_text="Models that are tried next, in this order, when the chosen one fails."
    )
    match = models.JSONField(
        default=dict, blank=True, help_text='For which calls it is a rule, e.g. {"feature": "support"}. Empty: by name.'
    )
    options = models.JSONField(
        default=dict, blank=True, help_text="What the strategy needs to know; see docs/routing.md."
    )
    priority = models.PositiveSmallIntegerField(default=100, validators=[MaxValueValidator(1000)])
    is_enabled = models.BooleanField("enabled", default=True)
    edited_fields = models.JSONField(default=list, blank=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-priority", "name"]
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="route_name_per_tenant"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(tenant__isnull=True), name="route_name_when_shared"
            ),
        ]

    def __str__(self) -> str:
        return self.name
