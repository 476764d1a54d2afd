"""Other models' scores of an answer: each is a call of its own, held at its own price in the budgets of the call, and
booked under its trace. Who asks, and what comes of a score: reviews.py before an answer goes out, sampling.py after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from routing.candidates import Candidate
from routing.errors import UpstreamRefused, UpstreamTimeout
from routing.model_facts import ModelFacts
from routing.plans import Plan
from routing.reviewing import MAX_REVIEW_TOKENS, SCHEMA, Score, read_score, review_messages, words_of
from routing.tokens import estimate_input_tokens
from routing.upstreams.base import CHAT
from routing.upstreams.openai.compatible import limit_name
from routing.upstreams.transport import Transport
from spendhub.errors import SpendHubError
from spendhub.gateway.attempts import Attempts
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.open_call import Origin
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.whole_answers import take_whole

logger = logging.getLogger(__name__)

# Vendors of compatible servers know JSON, but not always schemas; they say so with one of these.
_NOT_UNDERSTOOD = (400, 422)
# In place of an error's code: there was an answer, or a score, and nothing could be made of it.
UNREADABLE = "unreadable"


class Scored(Protocol):
    """A booked call whose answer is scored, and what has been spent beside it."""

    request_id: str
    beside_nano_usd: int


class Scoring:
    """Has models score the answer that `scored` has given. What that costs counts beside it.

    Nobody scores in another model's place, whatever a budget's policy names: that would be another opinion, and may be
    the answering model's own."""

    def __init__(
        self, origin: Origin, scored: Scored, transport: Transport, *,
        strategy: str, route: str, reason: str, facts: Mapping[str, Any],
    ) -> None:  # fmt: skip
        # What the client says to its vendor beside the body is not meant for the scorer's.
        self._origin = msgspec.structs.replace(origin, passed_headers={}, notices=[])
        self._scored, self._transport = scored, transport
        self._strategy, self._route = strategy, route
        self._reason, self._facts = reason, {"review_of": scored.request_id, **facts}

    async def ask(self, scorer: Candidate, question: str, answer: str, seconds: float) -> Score | str:
        """A score, or the code of what stands in its way. Raises nothing but a cancellation."""
        until = time.monotonic() + seconds
        has_schema = "json" in scorer.model.capabilities
        while True:
            request = _score_request(scorer.model, question, answer, has_schema=has_schema)
            try:
                told = await self._one_score(scorer, request, until)
            except SpendHubError as error:
                refused = isinstance(error, UpstreamRefused) and error.status in _NOT_UNDERSTOOD
                if not (refused and has_schema):
                    return error.code
                has_schema = False
            except Exception:
                logger.exception("a score failed on our side")
                return "defect"
            else:
                return told or UNREADABLE

    async def _one_score(self, scorer: Candidate, request: CallRequest, until: float) -> Score | None:
        seconds = until - time.monotonic()
        if seconds <= 0:
            raise UpstreamTimeout("no time is left for a score")
        plan = Plan(
            (scorer,),
            strategy=self._strategy,
            route=self._route,
            reason=self._reason,
            timeout_ms=in_milliseconds(seconds),
            retries=0,
            facts=self._facts,
        )
        attempts = Attempts(
            self._origin, request, plan, CHAT_DIALECT, self._transport, estimate_input_tokens(request.body),
            may_step_down=False,
        )  # fmt: skip
        begun = await begin_beside(self._scored, attempts)
        try:
            said = await take_whole(begun, _reply_words, seconds=max(0.0, until - time.monotonic()))
        finally:
            self._scored.beside_nano_usd += begun.call.cost_nano_usd
        return read_score(said)


async def begin_beside(first: Scored, attempts: Attempts) -> Begun:
    """Begins another answer beside the `first` one, which is booked; what its failed attempts cost counts beside it.
    Raises what stands in its way."""
    try:
        return await attempts.begin()
    except CallFailed as failed:
        raise failed.error from failed
    finally:
        first.beside_nano_usd += attempts.failed_nano_usd


def in_milliseconds(seconds: float) -> int:
    """A timeout as plans have it; at least 1."""
    return max(1, int(seconds * 1000))


def _score_request(model: ModelFacts, question: str, answer: str, *, has_schema: bool) -> CallRequest:
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
