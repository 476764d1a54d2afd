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
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from msgspec.structs import replace

from budgets.decisions import ALLOW, DEGRADE, Decision
from budgets.errors import BudgetExceeded
from budgets.strictness import room_for_any_model
from routing.breakers import BREAKERS, Trial, breaker_key_of
from routing.candidates import Candidate, find_candidates
from routing.conversation import NotTranslatable
from routing.errors import (
    CircuitOpen,
    CredentialMissing,
    CredentialUnreadable,
    DialectNotSpoken,
    ModelNotAvailable,
    UnknownModel,
    UnpricedModel,
    UpstreamError,
    UpstreamTimeout,
)
from routing.execution import NO_PINS, Asked, check_can_be_said, execute
from routing.extras import estimate_asked, price_asked
from routing.key_choice import NONE_AVOIDED, ChosenKey, choose_key, keys_to_avoid
from routing.plans import Plan
from routing.probe_claims import PROBE_CLAIMS
from routing.retries import is_failure, may_fall_back, may_repeat, pause_seconds
from routing.snapshot import CATALOG, ModelFacts
from routing.upstreams.registry import dialect_of
from routing.upstreams.transport import Transport, was_unsent
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import pause_while_wanted
from spendhub.gateway.extras_asked import extras_at, extras_of
from spendhub.gateway.foreign_fields import own_name
from spendhub.gateway.holding import Need, UnboundedCall, need_of
from spendhub.gateway.looking_ahead import ear_of, look_ahead
from spendhub.gateway.open_call import OpenCall, Origin, open_call
from spendhub.gateway.waiting import patience_for

logger = logging.getLogger(__name__)

# A policy may name a cheaper model whose own budgets name a cheaper one still; nobody writes longer chains.
MAX_DOWNGRADES = 4
# Of what a strategy has found, for whoever asks later why this model: without the arm no experiment could be evaluated.
KEPT_FACTS = (
    "experiment", "arm", "complexity", "score", "estimate_nano_usd", "alternatives", "review_of", "is_sample",
    "escalated_from", "answer_confidence",
)  # fmt: skip
# A budget that refuses so many candidates which seemed to fit is being spent by others meanwhile.
MAX_REFUSALS = 5
# A request that so many models have failed at is not tried at all others as well, unless a route names more of them.
MAX_FAILURES = 3
# How long a client that has left during a whole answer, which was a refusal, has to be noticed before the next model.
A_MOMENT_SECONDS = 0.01
# What stands in the way of one candidate, before anything is sent, and may not stand in the way of the next.
_PASSED_OVER = (CredentialMissing, CredentialUnreadable, DialectNotSpoken, NotTranslatable, CircuitOpen, UnboundedCall)
# What keeps a policy's cheaper model from stepping in once the first model's money has been given back for it.
_CANNOT_STEP_IN = (BudgetExceeded, *_PASSED_OVER)


class _Opened(NamedTuple):
    """A model that may be asked: its money is held, its breaker has let the call through."""

    candidate: Candidate
    call: OpenCall
    key: ChosenKey
    trial: Trial


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
        self._input_tokens, self._may_step_down = input_tokens, may_step_down
        self._extras = extras_of(request)
        self._count = 0
        self.failed_nano_usd = 0
        self._is_failed_estimated = False
        # The last answer that was nothing but a refusal, booked: it goes out where no other one begins.
        self._refusal: Begun | None = None
        # Where there is a choice, what fits is looked for first, and waited for only when nothing does.
        self._may_wait = not plan.may_choose_cheaper
        self._facts = _facts_of(plan, dialect.needs(request))
        timeout = plan.timeout_ms
        self._deadline = time.monotonic() + timeout / 1000 if timeout is not None else None
        self._is_last = False

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
            self._is_last = position + 1 >= (chain if refused is None else len(candidates))
            if refused is not None and (refusals >= MAX_REFUSALS or not self._may_fit(candidate, refused)):
                continue
            try:
                return await self._try(candidate)
            except BudgetExceeded as error:
                if not self._plan.may_choose_cheaper and failed is None:
                    raise
                refused, refusals = refused or error, refusals + 1
            except _PASSED_OVER as error:
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
            self._may_wait = True
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

    def _may_fit(self, candidate: Candidate, refused: BudgetExceeded) -> bool:
        """Whether a candidate is worth asking the budgets for, after they have refused another one."""
        room = room_for_any_model(refused.decision)
        if room is None:
            return True
        need = self._need(candidate.model, self._request)
        # Where nothing is left even a free call is stopped.
        price = price_asked(need.extras, candidate.model, candidate.quote.price, datetime.now(UTC))
        return 0 < room >= estimate_asked(need.extras, price, need.input_tokens, need.output_tokens)

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
        opened = await self._step_down(await self._open(candidate, avoided), avoided)
        return await self._ask(opened.call, self._shaped(opened.call), opened.key, opened.trial)

    async def _ask(self, call: OpenCall, request: CallRequest, key: ChosenKey, trial: Trial) -> Begun:
        """Asks the vendor. `trial` is told of what goes wrong; once the answer has begun, its execution tells."""
        asked = self._asked(request, call.pins)
        try:
            left = self._seconds_left()
            async with nullcontext() if left is None else asyncio.timeout(left):
                execution = await execute(call.model, asked, key, transport=self._transport)
        except (Invalid, CredentialMissing):
            trial.tells_nothing()
            await call.give_back()
            raise
        except TimeoutError as late:
            # Ours, not the transport's: the caller's own limit is no failure of the vendor's.
            error = UpstreamTimeout(f"{call.model.provider.name} did not answer within the time that the call may take")
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
        if not self._is_last or self._refusal is not None:
            await self._look_ahead(begun)
        return begun

    async def _look_ahead(self, begun: Begun) -> None:
        """Where another model could be asked, or a refusal is kept: whether the vendor that has said 200 has an answer
        at all, and where a refusal is none and could be bettered, that too."""
        call, listens = begun.call, self._plan.falls_back_on_refusal and not self._is_last
        try:
            has_refused = await look_ahead(begun, ear_of(begun) if listens else None, self._origin.client_left)
        except UpstreamError as error:
            raise CallFailed(call, error, had_begun=True) from error
        if has_refused:
            self._refusal = begun
            refused = UpstreamError(f"{call.model.provider.name} refused what was asked for reasons of content")
            refused.refuses_content = True
            raise CallFailed(call, refused, had_begun=True)

    async def _open(self, candidate: Candidate, avoided: frozenset[UUID]) -> _Opened:
        dialect_of(candidate.model)
        key = choose_key(candidate.model, avoided)
        trial = await _admit(candidate.model)
        try:
            return _Opened(candidate, await self._hold(candidate), key, trial)
        except BaseException:
            trial.tells_nothing()
            raise

    async def _step_down(self, opened: _Opened, avoided: frozenset[UUID]) -> _Opened:
        """To the cheaper model that a budget's policy names above its soft cap. Where that cannot be asked after all,
        or has no room in budgets of its own, the call stays what it was."""
        first, tried = None, {opened.candidate.model.name}
        while (cheaper := self._cheaper(opened.call.decision, tried)) is not None:
            tried.add(cheaper.model.name)
            try:
                await opened.call.give_back()
                try:
                    other = await self._open(cheaper, avoided)
                except _CANNOT_STEP_IN:
                    opened = opened._replace(call=await self._hold(opened.candidate))
                    break
            except BaseException:
                opened.trial.tells_nothing()
                raise
            # That model's breaker counts now, and the first one's call is off.
            opened.trial.tells_nothing()
            first, opened = first or opened.call.decision, other
        if first is not None:
            call = opened.call
            call.decision = replace(
                call.decision, action=first.action, reason=first.reason, bound=first.bound,
                suggested_model=call.model.name,
                disabled_tools=tuple(dict.fromkeys((*first.disabled_tools, *call.decision.disabled_tools))),
            )  # fmt: skip
        return opened

    def _cheaper(self, decision: Decision, tried: set[str]) -> Candidate | None:
        """The model that the policy names, where it can do the call and may be asked."""
        name = decision.suggested_model if self._may_step_down and decision.action == DEGRADE else None
        if not name or name in tried or len(tried) >= MAX_DOWNGRADES:
            return None
        tenant = self._origin.principal.tenant
        try:
            found = find_candidates(
                CATALOG.current(), tenant.id, name, datetime.now(UTC), unpriced_models=tenant.unpriced_models
            )[0]
            is_able = found.model.kind == self._request.kind and self._plan.may_be_answered_by(found.model)
            if not is_able or BREAKERS.keeps_away(breaker_key_of(found.model), time.time()):
                return None
            check_can_be_said(found.model, self._asked(self._request), choose_key(found.model))
        except (UnknownModel, ModelNotAvailable, UnpricedModel, *_PASSED_OVER):
            return None  # the policy names a model that cannot be asked: the call is made as it is, and warned
        return found

    async def _hold(self, candidate: Candidate) -> OpenCall:
        need = self._need(candidate.model, self._request)
        self._count += 1
        facts: dict[str, Any] = dict(self._facts)
        if self._count > 1:
            facts["attempt"] = self._count
        if candidate.model.owner_id is not None:
            facts["own_model_id"] = candidate.model.id  # its name may be another one's later
        call = await open_call(
            self._origin, self._request, candidate, need, facts, may_wait=self._may_wait, deadline=self._deadline
        )
        call.earlier_nano_usd, call.is_earlier_estimated = self.failed_nano_usd, self._is_failed_estimated
        return call

    def _need(self, model: ModelFacts, request: CallRequest) -> Need:
        who, extras = self._origin, extras_at(self._extras, request, model)
        return need_of(request, model, self._input_tokens, who.principal.tenant_id, who.attribution.feature, extras)

    def _shaped(self, call: OpenCall) -> CallRequest:
        """The request as it may be sent: without tools that are disabled, and with a strict budget's limit."""
        request, decision = self._request, call.decision
        if decision.action != ALLOW and decision.disabled_tools:
            disabled = frozenset(decision.disabled_tools) & frozenset(request.tools)
            if disabled:
                request = self._dialect.without_tools(request, disabled)
        limit = request.max_output_tokens if request.is_limit_ours else None
        if call.output_limit is not None:
            limit = call.output_limit
        return request if limit is None else self._dialect.with_max_output(request, limit, call.model)

    def _asked(self, request: CallRequest, pins: Mapping[str, Any] = NO_PINS) -> Asked:
        return Asked(
            request.wire, request.body, request.is_stream, lambda: self._dialect.conversation(request),
            self._origin.passed_headers, pins,
            lambda word: own_name(word, self._dialect.own_names, request.body),
        )  # fmt: skip

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def _facts_of(plan: Plan, needs: frozenset[str]) -> dict[str, Any]:
    """What every attempt's span keeps of how its model was chosen."""
    facts: dict[str, Any] = {"needs": sorted(needs)} if needs else {}
    if plan.route:
        facts |= {"route": plan.route, "strategy": plan.strategy, "reason": plan.reason, "confidence": plan.confidence}
        facts |= {name: plan.facts[name] for name in KEPT_FACTS if name in plan.facts}
    return facts


async def _admit(model: ModelFacts) -> Trial:
    """Raises CircuitOpen where the vendor is left alone; else what becomes of the call must be told to the Trial."""
    breaker, now = breaker_key_of(model), time.time()
    is_anothers = BREAKERS.would_probe(breaker, now) and not await PROBE_CLAIMS.may_probe(breaker, now)
    if is_anothers or not BREAKERS.admit(breaker, now):
        raise CircuitOpen(model.name, BREAKERS.seconds_until_probe(breaker, now))
    return Trial(BREAKERS, breaker)


def _tell(trial: Trial, error: SpendHubError) -> None:
    if isinstance(error, UpstreamError) and is_failure(error):
        trial.failed(time.time())
    else:
        trial.tells_nothing()
