"""Who looks over an answer before it goes out, and who scores it afterwards: chosen with the plan of its call."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from routing.candidates import Candidate, find_option, find_options
from routing.extras import NO_EXTRAS
from routing.requirements import FellOut, Requirements
from routing.reviewing import MAX_REVIEW_TOKENS, Review, Reviewing
from routing.route_options import RouteOptions
from routing.snapshot import Catalog
from routing.unusual import NOTHING_UNUSUAL
from routing.upstreams.base import CHAT
from routing.wanted import NOTHING_NEEDED, nothing_packed


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """Who looks over a whole answer, and who answers anew where they doubt it. `left_out`: reviewers that the call may
    not be shown to, or that cannot be asked."""

    reviewing: Reviewing
    reviewers: tuple[Candidate, ...]
    judges: tuple[Candidate, ...]
    left_out: tuple[FellOut, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """Who scores the answer once it has gone out, or why the call may not be shown to it."""

    scorer: Candidate | FellOut


def plan_review(catalog: Catalog, demanded: Requirements, review: Review | None) -> ReviewPlan | None:
    if review is None or random.random() >= review.reviewing.share:
        return None
    reviewers, left_out = find_options(catalog, _of_reviewers(demanded), review.reviewing.reviewers)
    return ReviewPlan(
        review.reviewing,
        tuple(map(Candidate.of, reviewers)),
        tuple(map(Candidate.of, review.judges)),
        tuple(left_out),
    )


def plan_scoring(catalog: Catalog, demanded: Requirements, own: RouteOptions) -> ScoringPlan | None:
    if random.random() >= own.scored_share:
        return None
    found = find_option(catalog, _of_reviewers(demanded), own.scored_by)
    return ScoringPlan(found if isinstance(found, FellOut) else Candidate.of(found))


def _of_reviewers(demanded: Requirements) -> Requirements:
    """Reviewers read question and answer: where it may run, and who may and may not see it, holds for them too."""
    size = replace(
        demanded.wanted, wire=CHAT, input_tokens=0, packed_tokens=nothing_packed, max_output_tokens=MAX_REVIEW_TOKENS,
        choices=1, expected_output_of=None, extras=NO_EXTRAS, untranslatable="",
    )  # fmt: skip
    return replace(
        demanded, wanted=size, capabilities=NOTHING_NEEDED, min_quality=None, max_cost_nano_usd=None,
        max_latency_ms=None, unusual=NOTHING_UNUSUAL,
    )  # fmt: skip
