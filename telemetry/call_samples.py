"""The latest calls of a period, no more than so many, and what some of them come to: success, speed, cost, quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from routing.performance import Observed, summarize, weighted_mean
from spendhub.money import format_usd, round_nano_usd
from telemetry.feedback import Rating, quality_of_calls
from telemetry.models import CostSpan
from telemetry.quality_rules import Verdicts, weights_of

# Enough for steady figures, and a bounded read however busy a tenant is.
MAX_CALLS = 20_000
_COLUMNS = (
    "id", "model", "provider", "feature", "task", "status", "cost_nano_usd", "output_tokens", "reasoning_tokens",
    "duration_ms", "metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """One tenant's time: `starts_at` is included, `ends_at` is not. `filters` narrow its calls."""

    tenant_id: int
    starts_at: datetime
    ends_at: datetime
    filters: Mapping[str, str] = field(default_factory=dict)


class CallSample:
    """The latest `MAX_CALLS` calls of a period."""

    def __init__(self, period: Period) -> None:
        self._all = CostSpan.objects.for_tenant(period.tenant_id).filter(
            occurred_at__gte=period.starts_at, occurred_at__lt=period.ends_at, **period.filters
        )
        self._tenant_id = period.tenant_id
        self._weights = weights_of(period.tenant_id)

    def tally(self) -> Tally:
        """One to add calls to, in which the tenant's weights hold."""
        return Tally(Verdicts(self._weights))

    @property
    def calls(self) -> QuerySet[CostSpan]:
        """Those looked at; to be filtered further, which never makes the read longer."""
        latest = self._all.order_by("-occurred_at", "-id").values("pk")[:MAX_CALLS]
        return CostSpan.objects.for_tenant(self._tenant_id).filter(pk__in=latest).order_by()

    def rows(self, calls: QuerySet[CostSpan]) -> Iterator[tuple[dict[str, Any], Rating | None]]:
        """Each of some calls of the sample, with what was thought of it. Answers from memory are left out: they say
        nothing of a model."""
        qualities = quality_of_calls(self._tenant_id, calls, self._weights)
        for row in calls.values(*_COLUMNS).iterator():
            if row["metadata"].get("cache") != "hit":
                yield row, qualities.get(row["id"])

    def told(self) -> dict[str, int]:
        """How many are looked at, of how many, as the API tells it."""
        recorded = self._all.order_by().count()
        return {"calls": min(recorded, MAX_CALLS), "recorded": recorded, "at_most": MAX_CALLS}


@dataclass(slots=True)
class Tally:
    """What some calls come to. Latencies are those of successes; `calls` are all, those that somebody broke off too."""

    rules: Verdicts
    calls: int = 0
    succeeded: int = 0
    errors: int = 0
    nano_usd: int = 0
    output_tokens: int = 0
    timed_output_tokens: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)

    def add(self, call: Mapping[str, Any], rating: Rating | None) -> None:
        """Counts one call, a row of `CallSample.rows`."""
        self.calls += 1
        self.nano_usd += call["cost_nano_usd"]
        self.output_tokens += call["output_tokens"]
        self.errors += call["status"] == CostSpan.Status.ERROR
        if call["status"] == CostSpan.Status.OK:
            self.succeeded += 1
            if call["duration_ms"] is not None:
                self.latencies_ms.append(float(call["duration_ms"]))
                self.timed_output_tokens += call["output_tokens"]
        if rating is not None:
            self.ratings.append(rating)
        if "review_of" not in call["metadata"]:
            # A review is short by the gateway's own wish, so being cut off is no fault of its model's.
            self.rules.add(call)

    @property
    def ended(self) -> int:
        """How many ended by themselves, well or not."""
        return self.succeeded + self.errors

    @property
    def qualities(self) -> list[float]:
        """What was thought of each rated call, 0 to 5."""
        return [rating.score for rating in self.ratings]

    @property
    def observed(self) -> Observed:
        """Latency percentiles and quality, as strategies see them."""
        weights = [rating.weight for rating in self.ratings]
        lost, looked_at = self.rules.share_lost, self.rules.calls
        return summarize(self.latencies_ms, self.errors, self.qualities, weights, lost, looked_at)

    @property
    def blended_quality(self) -> float | None:
        """What was thought of its answers, less the share that goes off for faults of all of them; None: not rated."""
        scores = self.qualities
        if not scores:
            return None
        return weighted_mean(scores, [rating.weight for rating in self.ratings]) * (1 - self.rules.share_lost)

    def told(self) -> dict[str, Any]:
        """As the API tells it."""
        seen = self.observed
        return {
            "calls": self.calls,
            "errors": self.errors,
            "success_rate": round(self.succeeded / self.ended, 4) if self.ended else None,
            "cost": format_usd(self.nano_usd),
            "cost_per_call": format_usd(round_nano_usd(self.nano_usd, self.calls)) if self.calls else None,
            "p50_ms": _rounded(seen.p50_ms, 1),
            "p95_ms": _rounded(seen.p95_ms, 1),
            "p99_ms": _rounded(seen.p99_ms, 1),
            "quality": _rounded(seen.quality, 3),
            "ratings": seen.scores,
            "rules": self.rules.told(),
            "blended_quality": _rounded(self.blended_quality, 3),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
