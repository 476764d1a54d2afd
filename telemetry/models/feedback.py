"""What somebody thought of an answer."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from spendhub.tenants.models import Tenant
from spendhub.tenants.scoping import TenantManager
from telemetry.models.span import CostSpan

SCORES = ("overall", "relevance", "correctness", "completeness", "clarity")


class Feedback(models.Model):
    """Thumbs or scores for one recorded call; one row per call and source, a later one replaces it.

    Scores go from 0 (useless) to 5 (perfect), None where nothing was said. Model, provider, feature and task are
    the call's own, kept here so that quality is summed without reading calls.
    """

    class Source(models.TextChoices):
        CALLER = "caller", "Caller: a person or program that used the answer"
        JUDGE = "judge", "Judge: a model that rates answers"

    class Thumbs(models.TextChoices):
        UP = "up", "Up"
        DOWN = "down", "Down"

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    # An opinion on a call has no life without it.
    span = models.ForeignKey(CostSpan, on_delete=models.CASCADE, related_name="feedback")
    source = models.CharField(max_length=6, choices=Source.choices, default=Source.CALLER)
    at = models.DateTimeField()
    model = models.CharField(max_length=120, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    feature = models.CharField(max_length=200, blank=True)
    task = models.CharField(max_length=200, blank=True)
    thumbs = models.CharField(max_length=4, choices=Thumbs.choices, blank=True)
    overall = models.FloatField(null=True, blank=True)
    relevance = models.FloatField(null=True, blank=True)
    correctness = models.FloatField(null=True, blank=True)
    completeness = models.FloatField(null=True, blank=True)
    clarity = models.FloatField(null=True, blank=True)
    comment = models.CharField(max_length=500, blank=True)

    unscoped = models.Manager()
    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "feedback"
        base_manager_name = "unscoped"
        default_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["span", "source"], name="one_feedback_per_span_and_source"),
            models.CheckConstraint(
                condition=~Q(thumbs="") | Q(overall__isnull=False), name="feedback_has_thumbs_or_scores"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-at"], name="feedback_by_time")]

    def __str__(self) -> str:
        return f"{self.thumbs or self.overall} for {self.model or 'a call'} by {self.source}"
