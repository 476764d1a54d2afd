"""A sample of a route's answers, each scored by another model once it has gone out.

    the answer is booked and sent -> the route's scorer scores it -> its score is kept as a judge's feedback

The client waits for none of it and is told nothing of it: whatever stands in the way, a budget without room, a brake, a
vendor that fails, this process's end, there is no score, and that is all. What the scorer is asked is a call of its own
(scoring.py). docs/routing.md, "Samples of answers".
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings

from budgets.counters.drive import drive_async
from routing.candidates import Candidate
from routing.plans import Plan
from routing.requirements import FellOut
from routing.reviewing import Score
from routing.upstreams.transport import Transport
from spendhub.errors import SpendHubError
from spendhub.gateway.begun import Begun
from spendhub.gateway.brake import is_held_up
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.heard_exchange import HeardExchange
from spendhub.gateway.holding import never
from spendhub.gateway.open_call import NEVER_WAITS, OpenCall, Origin
from spendhub.gateway.scoring import UNREADABLE, Scoring
from spendhub.gateway.words_sent import words_sent
from telemetry.feedback import keep_judgment

logger = logging.getLogger(__name__)

# Nobody waits for it: longer than a review before the answer may take.
MAX_SCORING_SECONDS = 30.0
# Under way at once in one process, and of one tenant among them, from where their answers begin; more are not sampled.
# It bounds what is remembered of answers as well (heard_exchange.py).
MOST_SAMPLES = 32
MOST_PER_TENANT = 8
# How long scores that are under way may still take when the process is told to stop: no longer than this part of what
# it has for that (SPENDHUB_DRAIN_SECONDS). So long again may then take what must be booked of them.
ENDING_SECONDS = 3.0
ENDING_SHARE = 0.25


def ending_seconds() -> float:
    """How long scores under way have to end when the process is told to stop."""
    return min(ENDING_SECONDS, settings.DRAIN_SECONDS * ENDING_SHARE)


class Samples:
    """The samples that are under way in this process."""

    def __init__(self, most: int = MOST_SAMPLES, most_per_tenant: int = MOST_PER_TENANT) -> None:
        self._most, self._most_per_tenant = most, most_per_tenant
        self._counts: Counter[int] = Counter()
        self._scores: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        # Whoever reads an answer's words: one at a time, for a long one's keep the whole process busy.
        self.reading = asyncio.Lock()

    def begin(
        self, origin: Origin, request: CallRequest, plan: Plan, dialect: ClientDialect, transport: Transport,
        answering: OpenCall,
    ) -> Sample | None:  # fmt: skip
        """A sample of the answer that `answering` gives; None where it is not taken. Only asked where the plan has
        somebody to score it. `end` or `score` must follow."""
        assert plan.scoring is not None, "nobody asked for a score"
        scorer, tenant_id = plan.scoring.scorer, origin.principal.tenant_id
        if isinstance(scorer, FellOut):
            logger.info("no score by %s: %s", scorer.model, scorer.reason)
            return None
        if scorer.model.name == answering.model.name:
            return None  # who has answered thinks well of it
        if self._is_stopping or not self._has_room(tenant_id):
            logger.info("no score by %s: too many are under way, or this process ends", scorer.model.name)
            return None
        self._counts[tenant_id] += 1
        return Sample(self, origin, request, plan, scorer, dialect, transport)

    def _has_room(self, tenant_id: int) -> bool:
        return self._counts.total() < self._most and self._counts[tenant_id] < self._most_per_tenant

    def start(self) -> None:
        """Samples are taken from now on."""
        self._is_stopping = False

    async def stop(self, seconds: float | None = None) -> None:
        """Takes no more. Those under way have so long to end, `ending_seconds()` unless said otherwise; what is then
        still asked of a vendor is booked at its estimate, as with every call that is broken off. That is waited for
        as long again: where a ledger takes longer, the worker finds what is held."""
        self._is_stopping = True
        if not self._scores:
            return
        seconds = ending_seconds() if seconds is None else seconds
        _, late = await asyncio.wait(self._scores, timeout=seconds)
        for score in late:
            score.cancel()
        if late:
            _, unbooked = await asyncio.wait(late, timeout=seconds)
            if unbooked:
                logger.warning("%d scores were still being booked when this process ended", len(unbooked))

    def let_go(self, tenant_id: int) -> None:
        """One less of the tenant's is under way."""
        self._counts[tenant_id] -= 1
        if not self._counts[tenant_id]:
            del self._counts[tenant_id]

    def run(self, scoring: Coroutine[Any, Any, None], tenant_id: int) -> None:
        """Runs what scores one of them, which is then under way no more. A process that stops begins no more."""
        if self._is_stopping:
            scoring.close()
            self.let_go(tenant_id)
            return
        score = asyncio.ensure_future(scoring)
        self._scores.add(score)  # the loop itself keeps only weak references
        score.add_done_callback(functools.partial(self._ended, tenant_id))

    def _ended(self, tenant_id: int, score: asyncio.Task[None]) -> None:
        self._scores.discard(score)
        self.let_go(tenant_id)


class Sample:
    """One answer that is to be scored, as long as it goes out."""

    def __init__(
        self, samples: Samples, origin: Origin, request: CallRequest, plan: Plan, scorer: Candidate,
        dialect: ClientDialect, transport: Transport,
    ) -> None:  # fmt: skip
        self._samples, self._request, self._plan, self._scorer = samples, request, plan, scorer
        self._origin, self._dialect, self._transport = origin, dialect, transport
        self._heard: HeardExchange | None = None

    def listen(self, exchange: Exchange) -> Exchange:
        """The exchange that the answer is to be given to in place of `exchange`."""
        self._heard = HeardExchange(exchange)
        return self._heard

    def end(self, begun: Begun) -> None:
        """Says that the answer has ended in whichever way: it is scored where all of it has gone out."""
        assert self._heard is not None, "nobody has listened"
        heard, wire, is_stream = self._heard.heard, self._request.wire, self._request.is_stream
        # A stream that a strict budget has ended early has gone out to an end that is not its own.
        is_cut = is_stream and not begun.execution.reader.is_complete
        if heard is None or is_cut:
            self._samples.let_go(self._origin.principal.tenant_id)
        else:
            self.score(begun.call, lambda: words_sent(wire, heard, is_stream=is_stream))

    def score(self, call: OpenCall, words: Callable[[], str]) -> None:
        """Has the answer of `call` scored from now on; `words` reads what it says, "" for nothing to score."""
        tenant_id = self._origin.principal.tenant_id
        try:
            # Requests are long, and none of this one is needed any more but its words.
            question = self._dialect.text(self._request)
        except Exception:  # the client has its answer, which must not fail after all for a defect of ours
            logger.exception("the answer of call %s is not scored", call.request_id)
            self._samples.let_go(tenant_id)
            return
        wanted = _WantedScore(
            # The client has gone its way, and a score is not worth waiting for money.
            msgspec.structs.replace(self._origin, wait_seconds=NEVER_WAITS, client_left=never),
            self._plan.strategy, self._plan.route, self._transport, self._scorer,
            call.model.name, call.request_id, question,
        )  # fmt: skip
        self._samples.run(wanted.give(words, self._samples.reading), tenant_id)


@dataclass(slots=True)
class _WantedScore:
    """What is kept of a call and its answer until the answer is scored."""

    origin: Origin
    strategy: str
    route: str
    transport: Transport
    scorer: Candidate
    answered_by: str
    request_id: str
    question: str
    beside_nano_usd: int = 0

    async def give(self, words: Callable[[], str], reading: asyncio.Lock) -> None:
        """Has the score given, and keeps it."""
        try:
            told = await self._ask(words, reading)
            if isinstance(told, Score):
                await self._keep(told)
            elif told:
                logger.info("no score by %s (%s); trace %s", self.scorer.model.name, told, self.origin.trace_id)
        except Exception:  # nobody waits for this task: a defect of ours would be heard of nowhere else
            logger.exception("the answer of call %s is not scored", self.request_id)

    async def _ask(self, words: Callable[[], str], reading: asyncio.Lock) -> Score | str:
        """A score, or why there is none; "" where there is nothing to score."""
        if is_held_up(self.origin.principal, self.origin.attribution):
            return "call_paused"
        try:
            # A long stream's many events are read beside the loop, which has others to serve.
            async with reading:
                answer = await asyncio.to_thread(words)
        except (SpendHubError, ValueError):
            return UNREADABLE
        if not answer:
            return ""
        asking = Scoring(
            self.origin, self, self.transport, strategy=self.strategy, route=self.route,
            reason=f"it scores an answer of {self.answered_by}, as a sample", facts={"is_sample": True},
        )  # fmt: skip
        return await asking.ask(self.scorer, self.question, answer, MAX_SCORING_SECONDS)

    async def _keep(self, score: Score) -> None:
        """The score becomes a judge's feedback on the answer, where routing and the admin look for quality. A judge who
        was quicker keeps the word."""
        comment = f"a sample: {self.scorer.model.name} {score.value:.2f} {score.why}".strip()
        tenant_id, now = self.origin.principal.tenant_id, datetime.now(UTC)
        await drive_async(keep_judgment(tenant_id, self.request_id, score.value, comment, now, replaces=False))


SAMPLES = Samples()
