"""From a plan to an answer that has begun: each candidate in turn, each attempt held and booked on its own.

    for each candidate:  breaker -> hold at its own price -> the policy's rules -> the vendor
        no room in a budget      -> the next one, where the caller left the choice to us; else refused
        degrade, disable-tools   -> the policy's other model, or the request without those tools
        failed, safe to repeat   -> booked at 0, a pause, the same model again, unless the client has left by then
        failed otherwise         -> booked at 0, the next one
        refuses what was asked   -> booked as it says, the next one, where the route says so

The whole takes no longer than the plan's timeout. docs/routing.md, "When a call fails".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from msgspec.structs import replace

from budgets.counters.drive import drive_async
from budgets.decisions import DEGRADE
from budgets.errors import BudgetExceeded
from budgets.reservations import refuse
from routing.asking import execute
from routing.breakers import Trial
from routing.candidates import Candidate
from routing.conversation import NotTranslatable
from routing.errors import (
    CredentialMissing,
    UpstreamError,
    UpstreamTimeout,
)
from routing.execution import Execution
from routing.key_choice import NONE_AVOIDED, ChosenKey, keys_to_avoid
from routing.plans import Plan
from routing.retries import is_failure, may_fall_back, may_repeat, pause_seconds
from routing.upstreams.transport import Transport, was_unsent
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import pause_while_wanted
from spendhub.gateway.looking_ahead import ear_of, look_ahead
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.gateway.opening import PASSED_OVER, Opening
from spendhub.gateway.sent_request import asked_as, shaped_for
from spendhub.gateway.waiting import patience_for

logger = logging.getLogger(__name__)

# A budget that refuses so many candidates which seemed to fit is being spent by others meanwhile.
MAX_REFUSALS = 5
# A request that so many models have failed at is not tried at all others as well, unless a route names more of them.
MAX_FAILURES = 3
# How long a client that has left during a whole answer, which was a refusal, has to be noticed before the next model.
A_MOMENT_SECONDS = 0.01


class Attempts:
    """All attempts at answering one request. `failed_nano_usd` is what those have cost that failed or refused: a vendor
    that had said 200 before it broke off is thought to bill what it had done. `may_step_down`: whether a budget's
    policy may put a cheaper model in the place of the plan's."""

    def __init__(
        self, origin: Origin, request: CallRequest, plan: Plan, dialect: ClientDialect, transport: Transport,
        input_tokens: int, *, may_step_down: bool = True,
    ) -> None:  # fmt: skip
        self._origin, self._request, self._plan = origin, request, plan
        self._dialect, self._transport = dialect, transport
        self.failed_nano_usd = 0
        self._is_failed_estimated = False
        # The last answer that was nothing but a refusal, booked: it goes out where no other one begins.
        self._refusal: Begun | None = None
        timeout = plan.timeout_ms
        self._deadline = time.monotonic() + timeout / 1000 if timeout is not None else None
        self._opening = Opening(
            origin, request, plan, dialect, input_tokens, may_step_down=may_step_down, deadline=self._deadline
        )
        # The candidates that stand behind the one that is tried.
        self._behind: Sequence[Candidate] = ()

    async def begin(self) -> Begun:
        """The first answer that begins.

        Raises CallFailed when the last attempt failed at its vendor, ClientLeft when nobody waits for another one after
        it, BudgetExceeded when no budget has room for any candidate, and else what stood in the way of the candidates
        before anything was sent: NotTranslatable, where that was it, else of the last one. Where an answer was set
        aside for being a refusal, it takes the place of these errors and of every other SpendHubError; a client that
        has left, and a defect of ours, stay what they are.
        """
        try:
            return await self._first()
        except (CallFailed, SpendHubError) as error:
            if self._refusal is None:
                raise
            logger.info("no other answer has begun, the refusal goes out (%s); trace %s", error, self._origin.trace_id)
            return self._handed_on(self._refusal)

    async def begin_for_client(self) -> Begun:
        """As `begin`, for the client's own answer: a budget's refusal is stored, since it goes out."""
        try:
            return await self.begin()
        except BudgetExceeded as refusal:
            raise await drive_async(refuse(refusal)) from None

    async def _first(self) -> Begun:
        refused: BudgetExceeded | None = None
        passed_over: SpendHubError | None = None
        failed: CallFailed | None = None
        refusals = failures = 0
        chain = len(self._plan.candidates)
        candidates = (*self._plan.candidates, *self._plan.cheaper)
        for position, candidate in enumerate(candidates):
            if position >= chain and failed is not None and refused is None:
                break  # cheaper ones stand by for budgets without room, not for outages
            self._behind = candidates[position + 1 : chain if refused is None else len(candidates)]
            if refused is not None and (refusals >= MAX_REFUSALS or not self._opening.may_fit(candidate, refused)):
                continue
            try:
                return await self._try(candidate)
            except BudgetExceeded as error:
                if not self._plan.may_choose_cheaper and failed is None:
                    raise
                refused, refusals = refused or error, refusals + 1
            except PASSED_OVER as error:
                passed_over = passed_over if isinstance(passed_over, NotTranslatable) else error
            except CallFailed as error:
                failed, failures = error, failures + 1
                if failures >= max(chain, MAX_FAILURES) or not self._may_go_on(error):
                    raise
                if self._is_refusal(error.call):
                    await pause_while_wanted(A_MOMENT_SECONDS, self._origin.client_left)
        # The vendor's own words say most, then what is left of the money.
        if failed is not None:
            raise failed
        if refused is not None:
            if not patience_for(refused.decision, self._origin.wait_seconds):
                raise refused
            # Nothing cheaper fits either: now what is merely held is worth waiting for.
            self._opening.may_wait = True
            return await self._try(self._plan.candidates[0])
        assert passed_over is not None, "a plan is never empty"
        raise passed_over

    def _handed_on(self, refusal: Begun) -> Begun:
        """A refusal that was set aside, with what all others have cost, those after it too."""
        call = refusal.call
        self.failed_nano_usd -= call.cost_nano_usd
        # Its decision knows of what was spent before its money was held, and of nothing since.
        call.beside_nano_usd = self.failed_nano_usd - call.earlier_nano_usd
        call.is_earlier_estimated = self._is_failed_estimated
        return replace(refusal, is_handed_on=True)

    def _is_refusal(self, call: OpenCall) -> bool:
        return self._refusal is not None and self._refusal.call is call

    def _may_go_on(self, failed: CallFailed) -> bool:
        error = failed.error
        if not isinstance(error, UpstreamError) or self._seconds_left() == 0:
            return False
        return may_fall_back(error, on_content_refusal=self._plan.falls_back_on_refusal)

    async def _try(self, candidate: Candidate) -> Begun:
        """One candidate, asked again as often as is safe, allowed, and wanted by a client that is still there."""
        retries = settings.UPSTREAM_RETRIES if self._plan.retries is None else self._plan.retries
        attempt, avoided = 1, NONE_AVOIDED
        while True:
            try:
                return await self._attempt(candidate, avoided)
            except CallFailed as failed:
                error = failed.error
                self._count_failed(failed)
                other = keys_to_avoid(failed.call.model, error, avoided) if isinstance(error, UpstreamError) else None
                if other is not None:
                    # It was this key that was refused, or had its fill: another one is asked with at once.
                    avoided = other
                    continue
                is_safe = isinstance(error, UpstreamError) and may_repeat(error) and not failed.had_begun
                if attempt > retries or not isinstance(error, UpstreamError) or not is_safe:
                    raise
                pause = pause_seconds(error, attempt)
                left = self._seconds_left()
                if pause > settings.LONGEST_RETRY_PAUSE_SECONDS or (left is not None and pause >= left):
                    raise
                await pause_while_wanted(pause, self._origin.client_left)
                attempt += 1

    def _count_failed(self, failed: CallFailed) -> None:
        call = failed.call
        self.failed_nano_usd += call.cost_nano_usd
        # Nobody knows whether a vendor bills what it broke off. A refusal is an answer, and bills what it says.
        if call.cost_nano_usd and (call.is_estimated or not self._is_refusal(call)):
            self._is_failed_estimated = True

    async def _attempt(self, candidate: Candidate, avoided: frozenset[UUID]) -> Begun:
        opened = await self._opening.open(candidate, avoided)
        call = opened.call
        call.earlier_nano_usd, call.is_earlier_estimated = self.failed_nano_usd, self._is_failed_estimated
        # A policy may have put its own model in the place of the one that the client named.
        is_choice_ours = bool(self._plan.route) or call.decision.action == DEGRADE
        request = shaped_for(call, self._request, self._dialect, is_choice_ours=is_choice_ours)
        return await self._ask(call, request, opened.key, opened.trial)

    async def _ask(self, call: OpenCall, request: CallRequest, key: ChosenKey, trial: Trial) -> Begun:
        """Asks the vendor. `trial` is told of what goes wrong; once the answer has begun, its execution tells."""
        asked = asked_as(request, self._dialect, self._origin, call.pins)
        try:
            execution = await self._in_time(execute(call.model, asked, key, transport=self._transport), request)
        except (Invalid, CredentialMissing):
            trial.tells_nothing()
            await call.give_back()
            raise
        except TimeoutError as late:
            # Ours, not the transport's: the caller's own limit is no failure of the vendor's.
            time_it_had = "its share of the time" if self._seconds_left() else "the time"
            who = call.model.provider.name
            error = UpstreamTimeout(f"{who} did not answer within {time_it_had} that the call may take")
            error.was_asked = not was_unsent(late.__cause__)
            trial.tells_nothing()
            await call.settle_unanswered(error)
            raise CallFailed(call, error) from None
        except SpendHubError as error:
            _tell(trial, error)
            await call.settle_unanswered(error)
            raise CallFailed(call, error) from error
        except BaseException as error:
            trial.tells_nothing()
            await call.settle_unanswered(error)
            raise
        execution.deadline, execution.trial = self._deadline, trial
        begun = Begun(call, execution, request)
        if self._behind or self._refusal is not None:
            await self._look_ahead(begun)
        return begun

    async def _look_ahead(self, begun: Begun) -> None:
        """Where another model could be asked, or a refusal is kept: whether the vendor that has said 200 has an answer
        at all, and where a refusal is none and could be bettered, that too."""
        call, listens = begun.call, self._plan.falls_back_on_refusal and bool(self._behind)
        try:
            has_refused = await look_ahead(begun, ear_of(begun) if listens else None, self._origin.client_left)
        except UpstreamError as error:
            raise CallFailed(call, error, had_begun=True) from error
        if has_refused:
            self._refusal = begun
            refused = UpstreamError(f"{call.model.provider.name} refused what was asked for reasons of content")
            refused.refuses_content = True
            raise CallFailed(call, refused, had_begun=True)

    async def _in_time(self, asking: Coroutine[Any, Any, Execution], request: CallRequest) -> Execution:
        """The answer as it begins. Raises TimeoutError where it does not in time: where another model may be asked, a
        stream that is silent for half of the time is given up while that one has time to answer. A whole answer begins
        when it is done: it has all of the time."""
        left = self._seconds_left()
        if left is None:
            return await asking
        async with asyncio.timeout(left) as limit:
            if not (request.is_stream and self._behind):
                return await asking
            # Only then: whether another one may be asked takes a translation of the whole request.
            half_time = asyncio.get_running_loop().call_later(left / 2, self._give_way, limit)
            try:
                return await asking
            finally:
                half_time.cancel()

    def _give_way(self, limit: asyncio.Timeout) -> None:
        if any(self._opening.may_be_asked(each.model) for each in self._behind):
            limit.reschedule(asyncio.get_running_loop().time())

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def _tell(trial: Trial, error: SpendHubError) -> None:
    if isinstance(error, UpstreamError) and is_failure(error):
        trial.failed(time.time())
    else:
        trial.tells_nothing()
