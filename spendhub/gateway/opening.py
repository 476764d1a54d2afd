"""A candidate is opened before its vendor is asked: it has a key, its breaker lets the call through, its money is held.

Where a budget's policy names a cheaper model above its soft cap, that one is opened in its place, if it can be.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from budgets.decisions import DEGRADE, Decision
from budgets.errors import BudgetExceeded
from budgets.strictness import room_for_any_model
from routing.asking import check_can_be_said
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
)
from routing.extras import estimate_asked, price_asked
from routing.key_choice import ChosenKey, choose_key
from routing.model_facts import ModelFacts, ModelIdentity
from routing.plans import Plan
from routing.probe_claims import PROBE_CLAIMS
from routing.snapshot import CATALOG
from routing.upstreams.registry import dialect_of
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import pause_while_wanted
from spendhub.gateway.extras_asked import extras_at, extras_of
from spendhub.gateway.holding import Need, UnboundedCall, need_of
from spendhub.gateway.open_call import OpenCall, Origin, open_call
from spendhub.gateway.sent_request import asked_as

# A policy may name a cheaper model whose own budgets name a cheaper one still; nobody writes longer chains.
MAX_DOWNGRADES = 4
# Of what a strategy has found, for whoever asks later why this model: without the arm no experiment could be evaluated.
KEPT_FACTS = (
    "experiment", "arm", "complexity", "score", "estimate_nano_usd", "alternatives", "review_of", "is_sample",
    "escalated_from", "answer_confidence",
)  # fmt: skip
# What stands in the way of one candidate, before anything is sent, and may not stand in the way of the next.
PASSED_OVER = (CredentialMissing, CredentialUnreadable, DialectNotSpoken, NotTranslatable, CircuitOpen, UnboundedCall)
# What keeps a policy's cheaper model from stepping in once the first model's money has been given back for it.
_CANNOT_STEP_IN = (BudgetExceeded, *PASSED_OVER)
# What was found of the model that was chosen: it says nothing of one that is asked in its place.
_OF_THE_CHOSEN = frozenset({"reason", "confidence", "score", "estimate_nano_usd", "alternatives"})


class Opened(NamedTuple):
    """A model that may be asked: its money is held, its breaker has let the call through. `trial` must be told what
    becomes of the call. `in_place_of_chosen` says why it is asked in place of the plan's first; "" for that one.
    `steps_in`: a budget's policy has put it in the place of another."""

    candidate: Candidate
    call: OpenCall
    key: ChosenKey
    trial: Trial
    in_place_of_chosen: str = ""
    steps_in: bool = False


class Opening:
    """Opens candidates for one request. `may_step_down`: whether a budget's policy may put a cheaper model in the place
    of the plan's. `deadline` is in monotonic seconds (None: no limit). `may_wait`: whether a call may wait for money
    that is merely held."""

    def __init__(
        self, origin: Origin, request: CallRequest, plan: Plan, dialect: ClientDialect, input_tokens: int, *,
        may_step_down: bool, deadline: float | None,
    ) -> None:  # fmt: skip
        self._origin, self._request, self._plan, self._dialect = origin, request, plan, dialect
        self._input_tokens, self._may_step_down, self._deadline = input_tokens, may_step_down, deadline
        self._extras = extras_of(request)
        self._facts = _facts_of(plan, dialect.needs(request))
        self._count = 0
        # The candidate that was opened last, why it was, and what became of it, should there be another one.
        self._last, self._why, self._became = plan.candidates[0], "", ""
        # Where there is a choice, what fits is looked for first, and waited for only when nothing does.
        self.may_wait = not plan.may_choose_cheaper

    async def open(self, candidate: Candidate, avoided: frozenset[UUID]) -> Opened:
        """The candidate, or the model that steps in for it. `avoided` are keys that the vendor has refused.

        Raises BudgetExceeded, and any of PASSED_OVER; then nothing is held.
        """
        name = candidate.model.name
        if candidate is not self._last:
            self._last, self._why = candidate, self._in_place_of_chosen(candidate)
        try:
            first = await self._open(candidate, avoided, self._why)
            opened = await self._step_down(first, avoided)
        except BudgetExceeded:
            self._became = f"a budget has no room for {name}"
            raise
        except PASSED_OVER:
            self._became = f"{name} could not be asked"
            raise
        # Should another one be opened, this one will have failed, or refused what was asked.
        self._became = f"{opened.candidate.model.name} gave no answer"
        return opened

    def _in_place_of_chosen(self, candidate: Candidate) -> str:
        if candidate.model.id == self._plan.candidates[0].model.id:
            return ""
        is_fallback = any(candidate is each for each in self._plan.candidates)
        return f"{'a fallback' if is_fallback else 'a cheaper one'}: {self._became}"

    def may_fit(self, candidate: Candidate, refused: BudgetExceeded) -> bool:
        """Whether a candidate is worth asking the budgets for, after they have refused another one."""
        room = room_for_any_model(refused.decision)
        if room is None:
            return True
        need = self._need(candidate.model)
        # Where nothing is left even a free call is stopped.
        price = price_asked(need.extras, candidate.model, candidate.quote.price, datetime.now(UTC))
        return 0 < room >= estimate_asked(need.extras, price, need.input_tokens, need.output_tokens)

    def may_be_asked(self, model: ModelFacts) -> bool:
        """Whether nothing stands in its way that is known beforehand; what its budgets have room for is not."""
        if BREAKERS.keeps_away(breaker_key_of(model), time.time()):
            return False
        try:
            check_can_be_said(model, asked_as(self._request, self._dialect, self._origin), choose_key(model))
        except PASSED_OVER:
            return False
        return True

    async def _open(
        self, candidate: Candidate, avoided: frozenset[UUID], in_place_of_chosen: str, *, steps_in: bool = False
    ) -> Opened:
        dialect_of(candidate.model)
        key = choose_key(candidate.model, avoided)
        trial = await _admit(candidate.model)
        try:
            call = await self._hold(candidate, in_place_of_chosen, steps_in=steps_in)
            return Opened(candidate, call, key, trial, in_place_of_chosen, steps_in)
        except BaseException:
            trial.tells_nothing()
            raise

    async def _step_down(self, opened: Opened, avoided: frozenset[UUID]) -> Opened:
        """To the cheaper model that a budget's policy names above its soft cap. Where that cannot be asked after all,
        or has no room in budgets of its own, or the call's time is over, the call stays what it was.

        Raises ClientLeft, where nobody waits for an answer any more; then nothing is held."""
        first, tried = None, {opened.candidate.model.identity}
        while self._has_time() and (cheaper := self._cheaper(opened.call.decision, tried)) is not None:
            tried.add(cheaper.model.identity)
            why = f"a budget's policy names it in place of {opened.candidate.model.name}"
            try:
                await opened.call.give_back()
                await self._check_is_wanted()
                try:
                    other = await self._open(cheaper, avoided, why, steps_in=True)
                except _CANNOT_STEP_IN:
                    # It may have waited for money of that model's.
                    await self._check_is_wanted()
                    call = await self._hold(opened.candidate, opened.in_place_of_chosen, steps_in=opened.steps_in)
                    opened = opened._replace(call=call)
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

    def _has_time(self) -> bool:
        return self._deadline is None or time.monotonic() < self._deadline

    async def _check_is_wanted(self) -> None:
        await pause_while_wanted(0, self._origin.client_left)

    def _cheaper(self, decision: Decision, tried: set[ModelIdentity]) -> Candidate | None:
        """The model that the policy names, by whichever of its names, where it can do the call and may be asked."""
        name = decision.suggested_model if self._may_step_down and decision.action == DEGRADE else None
        if not name or len(tried) >= MAX_DOWNGRADES:
            return None
        tenant = self._origin.principal.tenant
        try:
            found = find_candidates(
                CATALOG.current(), tenant.id, name, datetime.now(UTC), unpriced_models=tenant.unpriced_models
            )[0]
            if found.model.identity in tried:
                return None
            is_able = found.model.kind == self._request.kind and self._plan.may_be_answered_by(found.model)
        except (UnknownModel, ModelNotAvailable, UnpricedModel):
            return None  # the policy names a model that cannot be asked: the call is made as it is, and warned
        return found if is_able and self.may_be_asked(found.model) else None

    async def _hold(self, candidate: Candidate, in_place_of_chosen: str, *, steps_in: bool) -> OpenCall:
        need = self._need(candidate.model)
        self._count += 1
        facts: dict[str, Any] = dict(self._facts)
        if in_place_of_chosen and self._plan.route:
            facts = {name: value for name, value in facts.items() if name not in _OF_THE_CHOSEN}
            facts["reason"] = in_place_of_chosen
        if self._count > 1:
            facts["attempt"] = self._count
        if candidate.model.owner_id is not None:
            facts["own_model_id"] = candidate.model.id  # its name may be another one's later
        return await open_call(
            self._origin, self._request, candidate, need, facts, may_wait=self.may_wait, deadline=self._deadline,
            steps_in=steps_in,
        )  # fmt: skip

    def _need(self, model: ModelFacts) -> Need:
        who, extras = self._origin, extras_at(self._extras, self._request, model)
        return need_of(
            self._request, model, self._input_tokens, who.principal.tenant_id, who.attribution.feature, extras
        )


def _facts_of(plan: Plan, needs: frozenset[str]) -> dict[str, Any]:
    """What a span keeps of how the plan's first model was chosen."""
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
