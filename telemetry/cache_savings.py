"""What answers that were given again have saved."""

from __future__ import annotations

from django.db.models import BigIntegerField, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from telemetry.models import CostSpan


def saved_nano_usd(spans: QuerySet[CostSpan]) -> int:
    """What those of `spans` that came from memory would have cost. Only calls at cost 0 have their metadata read."""
    hits = spans.order_by().filter(cost_nano_usd=0, metadata__cache="hit")
    saved = Cast(KeyTextTransform("saved_nano_usd", "metadata"), BigIntegerField())
    found: int | None = hits.aggregate(total=Sum(saved))["total"]
    return int(found or 0)
