"""What callers and judges thought of answers: kept per call, summed per model, feature or task beside the cost."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Avg, Count, F, Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform

from routing.performance import BEST_QUALITY, QualityScore, weighted_mean
from spendhub import group_commit
from spendhub.errors import Invalid
from spendhub.money import format_usd, round_nano_usd
from spendhub.steps import AwaitFuture, Journey
from telemetry.corrections import SpanMissing
from telemetry.models import CostSpan, Feedback, QualityWeights
from telemetry.models.feedback import SCORES

QUALITY_GROUPS = ("model", "feature", "task")
QUALITY_FILTERS = ("model", "provider", "feature", "task", "source")
MAX_GROUPS = 1_000
COMMENT_CHARACTERS = 500
# Enough for steady figures, and a bounded read however much is rated.
LATEST_RATINGS = 5_000


class FeedbackSaysNothing(Invalid):
    """Feedback came with neither thumbs nor a score."""

    code = "feedback_says_nothing"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody says of one answer. `task` stands in for the call's own where it is given."""

    thumbs: str
    score: QualityScore
    source: str = Feedback.Source.CALLER
    comment: str = ""
    task: str | None = None


def find_span(tenant_id: int, request_id: str | None, span_id: uuid.UUID | None) -> CostSpan:
    """The tenant's recorded call of that id. Raises SpanMissing, and Invalid unless exactly one id is given."""
    if (request_id is None) == (span_id is None):
        raise Invalid("say which call: request_id or span_id, and not both", field="request_id")
    named = {"request_id": request_id} if span_id is None else {"id": span_id}
    span = CostSpan.objects.for_tenant(tenant_id).filter(**named).first()
    if span is None:
        raise SpanMissing(str(span_id or request_id))
    return span


def keep_feedback(
    span: CostSpan, opinion: Opinion, now: datetime, *, replaces: bool = True
) -> tuple[Feedback, bool]:  # fmt: skip
    """Keeps an opinion on a call; says whether it is the first of its source. A repeat replaces the earlier one whole,
    or, unless it `replaces`, leaves it as it is.

    Raises FeedbackSaysNothing.
    """
    if not opinion.thumbs and opinion.score.overall is None:
        raise FeedbackSaysNothing("send thumbs (up or down), or scores from 0 to 5", field="thumbs")
    facts = {
        "tenant_id": span.tenant_id,
        "at": now,
        "model": span.model,
        "provider": span.provider,
        "feature": span.feature,
        "task": span.task if opinion.task is None else opinion.task,
        "thumbs": opinion.thumbs,
        "comment": opinion.comment,
        **asdict(opinion.score),
    }
    rows = Feedback.objects.for_tenant(span.tenant_id)
    keep = rows.update_or_create if replaces else rows.get_or_create
    return keep(span=span, source=opinion.source, defaults=facts)


def keep_judgment(
    tenant_id: int, request_id: str, confidence: float, comment: str, now: datetime, *, replaces: bool = True
) -> Journey[Feedback]:
    """Keeps what other models thought of a recorded call, 0..1, as feedback of a judge; on disk when it returns. What
    it returns is an earlier judge's, left as it is, where there is one and this does not take its place (`replaces`).

    Raises SpanMissing, and LedgerUnavailable."""
    score = QualityScore(overall=round(confidence * BEST_QUALITY, 3))
    opinion = Opinion("", score, Feedback.Source.JUDGE, comment[:COMMENT_CHARACTERS])
    kept: Feedback = yield AwaitFuture(group_commit.submit(_keep_all, (tenant_id, request_id, opinion, now, replaces)))
    return kept


def _keep_all(judgments: Sequence[tuple[int, str, Opinion, datetime, bool]]) -> list[Feedback | SpanMissing]:
    kept: list[Feedback | SpanMissing] = []
    for tenant_id, request_id, opinion, now, replaces in judgments:
        try:
            kept.append(keep_feedback(find_span(tenant_id, request_id, None), opinion, now, replaces=replaces)[0])
        except SpanMissing as missing:
            kept.append(missing)
    return kept


class Rating(NamedTuple):
    """An overall score, 0 to 5, and how much it counts, above 0."""

    score: float
    weight: float


@dataclass(frozen=True, slots=True)
class QualityQuestion:
    """Which feedback to sum. `starts_at` is included, `ends_at` is not; both are moments of the feedback."""

    tenant_id: int
    starts_at: datetime
    ends_at: datetime
    filters: Mapping[str, str]
    group_by: str | None = None


def quality_report(question: QualityQuestion) -> dict[str, Any]:
    """Totals, and groups (the most rated first, at most 1,000) where asked for."""
    rows = Feedback.objects.for_tenant(question.tenant_id).order_by()
    rows = rows.filter(at__gte=question.starts_at, at__lt=question.ends_at, **question.filters)
    groups: list[dict[str, Any]] = []
    if question.group_by is not None:
        summed = rows.values(key=F(question.group_by)).annotate(**_sums()).order_by(F("count").desc(), "key")
        groups = [{"key": row["key"], **_told(row)} for row in summed[:MAX_GROUPS]]
    return {
        "from": question.starts_at,
        "to": question.ends_at,
        "totals": _told(rows.aggregate(**_sums())),
        "group_by": question.group_by,
        "groups": groups,
    }


class RatedModel(NamedTuple):
    """Whose answers were rated: `own_model_id` as the call's span has it (see telemetry/observing.py)."""

    name: str
    own_model_id: str | int | None


def qualities_of(tenant_id: int, since: datetime, weights: QualityWeights) -> dict[RatedModel, list[Rating]]:
    """Ratings by model, of the latest `LATEST_RATINGS` since then. Thumbs without a score count as 5 and 0."""
    rows = _counted(tenant_id, weights).filter(at__gte=since).exclude(model="").order_by("-at")
    rows = rows.annotate(own_model_id=KeyTextTransform("own_model_id", "span__metadata"))
    found: dict[RatedModel, list[Rating]] = defaultdict(list)
    for model, own_model_id, source, overall, thumbs in rows.values_list(
        "model", "own_model_id", "source", "overall", "thumbs"
    )[:LATEST_RATINGS]:
        rated = RatedModel(model, own_model_id)
        found[rated].append(Rating(_score(overall, thumbs), _weight_of(source, weights)))
    return dict(found)


def quality_of_calls(tenant_id: int, calls: QuerySet[CostSpan], weights: QualityWeights) -> dict[uuid.UUID, Rating]:
    """What was thought of each rated one of the tenant's calls, by its id. Where caller and judge spoke it is their
    mean, each by its weight, and counts as much as the weightier of them."""
    ratings: dict[uuid.UUID, list[Rating]] = defaultdict(list)
    rows = _counted(tenant_id, weights).filter(span__in=calls.values("pk")).order_by()
    for span_id, source, overall, thumbs in rows.values_list("span_id", "source", "overall", "thumbs"):
        ratings[span_id].append(Rating(_score(overall, thumbs), _weight_of(source, weights)))
    return {span_id: _together(given) for span_id, given in ratings.items()}


def _together(ratings: Sequence[Rating]) -> Rating:
    given = [each.weight for each in ratings]
    return Rating(weighted_mean([each.score for each in ratings], given), max(given))


def _counted(tenant_id: int, weights: QualityWeights) -> QuerySet[Feedback]:
    """Feedback of the sources that count at all."""
    silent = [source for source in Feedback.Source.values if not _weight_of(source, weights)]
    return Feedback.objects.for_tenant(tenant_id).exclude(source__in=silent)


def _weight_of(source: str, weights: QualityWeights) -> float:
    return float(getattr(weights, f"{source}_weight"))


def _score(overall: float | None, thumbs: str) -> float:
    if overall is not None:
        return overall
    return BEST_QUALITY if thumbs == Feedback.Thumbs.UP else 0.0


def _sums() -> dict[str, Any]:
    # Named apart from the columns, which the sums must not shadow.
    return {
        "count": Count("id"),
        "calls": Count("span", distinct=True),
        "ups": Count("id", filter=Q(thumbs=Feedback.Thumbs.UP)),
        "downs": Count("id", filter=Q(thumbs=Feedback.Thumbs.DOWN)),
        "nano_usd": Sum("span__cost_nano_usd"),
        **{f"mean_{name}": Avg(name) for name in SCORES},
    }


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    count, rated = row["count"], row["ups"] + row["downs"]
    means = {name: row[f"mean_{name}"] for name in SCORES}
    return {
        "count": count,
        "calls": row["calls"],
        "thumbs": {"up": row["ups"], "down": row["downs"], "share": round(row["ups"] / rated, 4) if rated else None},
        "scores": {name: None if mean is None else round(mean, 3) for name, mean in means.items()},
        # Of the calls that were rated; one rated by caller and judge counts twice in this mean.
        "cost_per_call": format_usd(round_nano_usd(int(row["nano_usd"]), count)) if count else None,
    }
