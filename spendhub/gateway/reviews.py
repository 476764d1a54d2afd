"""Answers that other models look over before they go out, and a judge's answer where they doubt them.

    the answer is booked -> each reviewer scores it, all at once -> the consensus is the confidence, kept as feedback
        not below `escalate_below` -> the answer goes out
        below it                   -> a judge answers anew; where none can, or no budget has room, the first goes out,
                                      and with `falls_back_on_refusal` also where the judge refuses

Each review, and the judge's answer, is a call of its own: held at its own price in the budgets of the call, and booked
under its trace. Whatever becomes of them, the client gets an answer. docs/routing.md, "Reviews of answers".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from budgets.counters.drive import drive_async
from routing.errors import UpstreamError
from routing.plans import Plan
from routing.review_plans import ReviewPlan
from routing.reviewing import Score, confidence_of, words_of, words_of_response
from routing.upstreams.base import RESPONSES
from routing.upstreams.transport import Transport
from spendhub.errors import SpendHubError, code_of
from spendhub.gateway.answer_headers import review_headers
from spendhub.gateway.attempts import Attempts
from spendhub.gateway.begun import Begun
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import ClientLeft, Headers
from spendhub.gateway.looking_ahead import is_refusal
from spendhub.gateway.open_call import NEVER_WAITS, Origin
from spendhub.gateway.scoring import UNREADABLE, Scoring, begin_beside, in_milliseconds
from spendhub.gateway.whole_answers import take_whole
from telemetry.feedback import keep_judgment

logger = logging.getLogger(__name__)

# In place of an error's code: the judge has answered, and said nothing but that it refuses.
REFUSED = "refused"
# However long the call itself may take: nobody waits longer than this for reviewers.
MAX_REVIEW_SECONDS = 10.0

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Reviewed(Generic[Answer]):
    """What goes out, and what the reviews say. `begun` gave `answer`: the first model, or the judge.

    `confidence` is that in the first answer, None where no review could be had. `left_out`: reviewers without a
    score, and why. `not_escalated_because` is set where a judge should have answered and could not.
    """

    begun: Begun
    answer: Answer
    confidence: float | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    is_escalated: bool = False
    not_escalated_because: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether the answer goes out although the reviewers doubt it."""
        return bool(self.not_escalated_because)

    def headers(self) -> Headers:
        """What the client is told of the reviews."""
        return review_headers(
            self.confidence, len(self.scores), self.left_out, self.is_escalated, self.not_escalated_because
        )


class Reviewer:
    """Reviews the answer to one request. Only made where the request's plan asks for it."""

    def __init__(
        self, origin: Origin, request: CallRequest, plan: Plan, dialect: ClientDialect, transport: Transport,
        input_tokens: int,
    ) -> None:  # fmt: skip
        assert plan.review is not None, "nobody asked for reviews"
        self._review: ReviewPlan = plan.review
        self._request, self._plan, self._dialect = request, plan, dialect
        self._transport, self._input_tokens = transport, input_tokens
        # A call that has its answer does not wait for money: not for an opinion on it, nor for a better one.
        self._origin = msgspec.structs.replace(origin, wait_seconds=NEVER_WAITS)
        self._deadline = None if plan.timeout_ms is None else time.monotonic() + plan.timeout_ms / 1000

    async def look_over(
        self, begun: Begun, answer: Answer, say: Callable[[Begun, bytes], Answer]
    ) -> Reviewed[Answer] | None:
        """The answer that goes out: `answer` of `begun`, which is booked, or a judge's, said by `say`.

        None where a judge has answered already, because no workhorse could.
        """
        if any(begun.call.model.name == judge.model.name for judge in self._review.judges):
            return None
        found = Reviewed(begun, answer)
        found.left_out.update({each.model: each.reason for each in self._review.left_out})
        await self._collect(found)
        if not found.scores:
            return found
        reviewing = self._review.reviewing
        scores = [score.value for score in found.scores.values()]
        found.confidence = confidence_of(scores, reviewing.consensus)
        await self._keep(found)
        if found.confidence < reviewing.escalate_below:
            await self._escalate(found, say)
        return found

    async def _collect(self, found: Reviewed[Any]) -> None:
        seconds = self._seconds_left(MAX_REVIEW_SECONDS)
        try:
            words = _words(found.begun, found.answer)
        except (UpstreamError, ValueError):
            found.left_out.update({each.model.name: UNREADABLE for each in self._review.reviewers})
            return
        question = self._dialect.text(self._request)
        reviewed = found.begun.call
        scoring = Scoring(
            self._origin, reviewed, self._transport, strategy=self._plan.strategy, route=self._plan.route,
            reason=f"it reviews an answer of {reviewed.model.name}", facts={},
        )  # fmt: skip
        asking = [scoring.ask(each, question, words, seconds) for each in self._review.reviewers]
        for candidate, told in zip(self._review.reviewers, await asyncio.gather(*asking), strict=True):
            name = candidate.model.name
            if isinstance(told, Score):
                found.scores[name] = told
            else:
                found.left_out[name] = told
                logger.warning("a review by %s is left out (%s); trace %s", name, told, self._origin.trace_id)

    async def _escalate(self, found: Reviewed[Answer], say: Callable[[Begun, bytes], Answer]) -> None:
        review, first = self._review, found.begun.call
        seconds = None if self._deadline is None else self._seconds_left()
        if not review.judges or seconds == 0:
            found.not_escalated_because = "upstream_timeout" if review.judges else "no_model_fits"
            return
        plan = replace(
            self._plan,
            candidates=review.judges,
            cheaper=(),
            reason=f"the answer of {first.model.name} has a confidence of {found.confidence:.2f}, "
            f"below {review.reviewing.escalate_below:.2f}: a judge",
            timeout_ms=None if seconds is None else in_milliseconds(seconds),
            facts={"escalated_from": first.request_id, "answer_confidence": found.confidence},
        )
        begun = None
        try:
            attempts = Attempts(self._origin, self._request, plan, self._dialect, self._transport, self._input_tokens)
            begun = await begin_beside(first, attempts)
            left = None if self._deadline is None else self._seconds_left()
            answer, has_refused = await take_whole(begun, self._hearing(say), seconds=left)
        except ClientLeft:
            raise  # nobody waits for either answer; the first one is booked
        except Exception as error:
            # The first answer is there and paid for: whatever happened here, it is better than none.
            found.not_escalated_because = code_of(error)
            first.beside_nano_usd += 0 if begun is None else begun.call.cost_nano_usd
            is_ours = not isinstance(error, SpendHubError)
            logger.warning("no judge answers in place of %s: %s", first.request_id, error, exc_info=is_ours)
            return
        if has_refused:
            found.not_escalated_because = REFUSED
            first.beside_nano_usd += begun.call.cost_nano_usd
            logger.info("the judge %s refuses; trace %s", begun.call.model.name, self._origin.trace_id)
            return
        begun.call.earlier_nano_usd = first.all_nano_usd
        found.begun, found.answer, found.is_escalated = begun, answer, True

    def _hearing(self, say: Callable[[Begun, bytes], Answer]) -> Callable[[Begun, bytes], tuple[Answer, bool]]:
        """Says an answer, and whether it is a refusal that does not take the place of another one."""

        def hear(begun: Begun, body: bytes) -> tuple[Answer, bool]:
            has_refused = self._plan.falls_back_on_refusal and is_refusal(begun, body)
            return say(begun, body), has_refused

        return hear

    async def _keep(self, found: Reviewed[Any]) -> None:
        """The confidence becomes a judge's feedback on the answer, where routing and the admin look for quality."""
        assert found.confidence is not None, "only what was reviewed is kept"
        call = found.begun.call
        told = "; ".join(f"{name} {score.value:.2f} {score.why}".strip() for name, score in found.scores.items())
        comment = f"{self._review.reviewing.consensus} of {len(found.scores)}: {told}"
        tenant_id = self._origin.principal.tenant_id
        try:
            await drive_async(keep_judgment(tenant_id, call.request_id, found.confidence, comment, datetime.now(UTC)))
        except Exception:
            logger.exception("the score of %s is not kept", call.request_id)

    def _seconds_left(self, most: float = float("inf")) -> float:
        return most if self._deadline is None else max(0.0, min(most, self._deadline - time.monotonic()))


def _words(begun: Begun, answer: Any) -> str:
    """What was answered, in words. Raises UpstreamError, or ValueError, for an answer of no known shape."""
    try:
        return words_of(begun.execution.reader.reply())
    except UpstreamError:
        if begun.request.wire != RESPONSES or not isinstance(answer, bytes):
            raise
        return words_of_response(msgspec.json.decode(answer, type=dict))
