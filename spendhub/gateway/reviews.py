"""Answers that other models look over before they go out, and a judge's answer where they doubt them.

    the answer is booked -> each reviewer scores it, all at once -> the consensus is the confidence, kept as feedback
        not below `escalate_below` -> the answer goes out
        below it                   -> a judge answers anew; where none can, or no budget has room, the first goes out

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
from routing.candidates import Candidate
from routing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from routing.plans import Plan, ReviewPlan
from routing.reviewing import (
    MAX_REVIEW_TOKENS,
    SCHEMA,
    Score,
    confidence_of,
    read_score,
    review_messages,
    words_of,
    words_of_response,
)
from routing.snapshot import ModelFacts
from routing.tokens import estimate_input_tokens
from routing.upstreams.base import CHAT, RESPONSES
from routing.upstreams.openai.compatible import limit_name
from routing.upstreams.transport import Transport
from spendhub.errors import SpendHubError
from spendhub.gateway.answer_headers import review_headers
from spendhub.gateway.attempts import Attempts, Begun, CallFailed
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import ClientLeft, Headers
from spendhub.gateway.open_call import NEVER_WAITS, Origin
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.whole_answers import take_whole
from telemetry.feedback import keep_judgment

logger = logging.getLogger(__name__)

# However long the call itself may take: nobody waits longer than this for reviewers.
MAX_REVIEW_SECONDS = 10.0
# Vendors of compatible servers know JSON, but not always schemas; they say so with one of these.
_NOT_UNDERSTOOD = (400, 422)
# In place of an error's code: there was an answer, or a review, and nothing could be made of it.
UNREADABLE = "unreadable"

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
        asking = [self._ask(each, found, question, words, seconds) for each in self._review.reviewers]
        for candidate, told in zip(self._review.reviewers, await asyncio.gather(*asking), strict=True):
            name = candidate.model.name
            if isinstance(told, Score):
                found.scores[name] = told
            else:
                found.left_out[name] = told
                logger.warning("a review by %s is left out (%s); trace %s", name, told, self._origin.trace_id)

    async def _ask(
        self, reviewer: Candidate, found: Reviewed[Any], question: str, words: str, seconds: float
    ) -> Score | str:
        """A score, or the code of what stands in its way. Raises nothing but a cancellation."""
        until = time.monotonic() + seconds
        has_schema = "json" in reviewer.model.capabilities
        while True:
            request = _review_request(reviewer.model, question, words, has_schema=has_schema)
            try:
                told = await self._one_review(reviewer, found, request, until)
            except SpendHubError as error:
                refused = isinstance(error, UpstreamRefused) and error.status in _NOT_UNDERSTOOD
                if not (refused and has_schema):
                    return error.code
                has_schema = False
            except Exception:
                logger.exception("a review failed on our side")
                return "defect"
            else:
                return told or UNREADABLE

    async def _one_review(
        self, reviewer: Candidate, found: Reviewed[Any], request: CallRequest, until: float
    ) -> Score | None:
        seconds = until - time.monotonic()
        if seconds <= 0:
            raise UpstreamTimeout("no time is left for a review")
        reviewed = found.begun.call
        plan = Plan(
            (reviewer,),
            strategy=self._plan.strategy,
            route=self._plan.route,
            reason=f"it reviews an answer of {reviewed.model.name}",
            timeout_ms=_milliseconds(seconds),
            retries=0,
            facts={"review_of": reviewed.request_id},
            demanded=self._review.demanded,
        )
        # What the client says to its vendor beside the body is not meant for the reviewer's.
        origin = msgspec.structs.replace(self._origin, passed_headers={}, notices=[])
        begun = await self._begin(found, origin, request, plan, CHAT_DIALECT, estimate_input_tokens(request.body))
        try:
            said = await take_whole(begun, _reply_words, seconds=max(0.0, until - time.monotonic()))
        finally:
            found.begun.call.beside_nano_usd += begun.call.cost_nano_usd
        return read_score(said)

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
            timeout_ms=None if seconds is None else _milliseconds(seconds),
            facts={"escalated_from": first.request_id, "answer_confidence": found.confidence},
        )
        begun = None
        try:
            begun = await self._begin(found, self._origin, self._request, plan, self._dialect, self._input_tokens)
            left = None if self._deadline is None else self._seconds_left()
            answer = await take_whole(begun, say, seconds=left)
        except ClientLeft:
            raise  # nobody waits for either answer; the first one is booked
        except Exception as error:
            # The first answer is there and paid for: whatever happened here, it is better than none.
            found.not_escalated_because = getattr(error, "code", "defect")
            first.beside_nano_usd += 0 if begun is None else begun.call.cost_nano_usd
            is_ours = not isinstance(error, SpendHubError)
            logger.warning("no judge answers in place of %s: %s", first.request_id, error, exc_info=is_ours)
            return
        begun.call.earlier_nano_usd = first.all_nano_usd
        found.begun, found.answer, found.is_escalated = begun, answer, True

    async def _begin(
        self, found: Reviewed[Any], origin: Origin, request: CallRequest, plan: Plan, dialect: ClientDialect,
        input_tokens: int,
    ) -> Begun:  # fmt: skip
        attempts = Attempts(origin, request, plan, dialect, self._transport, input_tokens)
        try:
            return await attempts.begin()
        except CallFailed as failed:
            raise failed.error from failed
        finally:
            found.begun.call.beside_nano_usd += attempts.failed_nano_usd

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


def _review_request(model: ModelFacts, question: str, answer: str, *, has_schema: bool) -> CallRequest:
    body: dict[str, Any] = {
        "model": model.name,
        "messages": review_messages(question, answer),
        limit_name(model): MAX_REVIEW_TOKENS,
    }
    if has_schema:
        schema = {"name": "review", "strict": True, "schema": dict(SCHEMA)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return CallRequest(wire=CHAT, body=body, model=model.name, max_output_tokens=MAX_REVIEW_TOKENS)


def _reply_words(begun: Begun, body: bytes) -> str:
    return words_of(begun.execution.reader.reply())


def _words(begun: Begun, answer: Any) -> str:
    """What was answered, in words. Raises UpstreamError, or ValueError, for an answer of no known shape."""
    try:
        return words_of(begun.execution.reader.reply())
    except UpstreamError:
        if begun.request.wire != RESPONSES or not isinstance(answer, bytes):
            raise
        return words_of_response(msgspec.json.decode(answer, type=dict))


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
