"""What counts how much when the quality of answers is summed up."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager

MOST_WEIGHT = 10.0
MOST_POINTS = 5.0


def _weight(default: float, most: float, help_text: str) -> models.FloatField[float, float]:
    limits = [MinValueValidator(0.0), MaxValueValidator(most)]
    return models.FloatField(default=default, validators=limits, help_text=help_text)


class QualityWeights(models.Model):
    """One account's weights; where it has no row, the defaults here hold. docs/feedback-and-savings.md, "Rules"."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="+")
    caller_weight = _weight(1, MOST_WEIGHT, "How much a caller's rating counts, 0 to 10; 0 is not at all.")
    judge_weight = _weight(1, MOST_WEIGHT, "How much a judge's rating counts, 0 to 10; 0 is not at all.")
    rules_weight = _weight(0.5, 1, "How much of what the rules find is taken off, 0 (nothing) to 1 (all of it).")
    cut_off_points = _weight(2, MOST_POINTS, "Points of 5 that an answer loses for being cut off at its longest.")
    refused_points = _weight(5, MOST_POINTS, "Points of 5 for an answer that is refused or filtered.")
    malformed_points = _weight(4, MOST_POINTS, "Points of 5 for a tool called in a way that cannot be read.")
    empty_points = _weight(5, MOST_POINTS, "Points of 5 for an answer without a word or a tool's call.")
    broken_off_points = _weight(4, MOST_POINTS, "Points of 5 for an answer that the vendor broke off.")

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        verbose_name = "set of quality weights"
        verbose_name_plural = "quality weights"
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"

    def __str__(self) -> str:
        return "Weights of quality"


WEIGHTS = tuple(f.name for f in QualityWeights._meta.fields if f.name.endswith(("_weight", "_points")))
