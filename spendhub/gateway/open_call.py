"""One attempt at one model: its money is held when it is opened, and settled exactly once whatever happens.

- the vendor refused, or gave no answer at all: a span with status `error` and cost 0, the hold ends; under a strict
  budget a vendor that was given up before it had answered counts at what was held;
- the vendor said 200: what it reported is billed; where it broke off or never reported, what
  went in and what came out as far as we saw it, counted by us and marked as estimated; under a strict budget what may
  have come out unseen, where that is more;
- the client left a stream: the vendor's connection is closed, and what it had produced is billed;
- this process was told to stop before the vendor had said anything: booked at the estimate, `interrupted`.

Should the process die instead, the worker finds the hold and books it (telemetry.interrupted).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from budgets.calls import Call
from budgets.counters.drive import drive_async, drive_until_asked
from budgets.errors import BudgetExceeded
from budgets.reservations import HeldCall, abandon, release, try_to_reserve
from budgets.strictness import has_strict, tightest_strict
from routing import hooks
from routing.candidates import Candidate
from routing.errors import UpstreamError, UpstreamRefused
from routing.extras import estimate_asked, price_asked
from routing.pricing import CompiledPrice, estimate_nano_usd
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from spendhub.errors import Unavailable, code_of
from spendhub.gateway.bills import bill_for, seen_usage, told_usage, unseen_nano_usd, was_given_up
from spendhub.gateway.booking_later import settle_later
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Headers
from spendhub.gateway.holding import MoneyHeld, Need, Patience, hold_money, never
from spendhub.ids import new_call_id, new_id
from spendhub.money import format_usd
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal
from telemetry.drafts import WORST_CASE_COST, SpanDraft
from telemetry.interrupted import payload_for
from telemetry.recording import settle_call

logger = logging.getLogger(__name__)

# For Origin.wait_seconds: not even as long as a budget grants.
NEVER_WAITS = -1.0


class Origin(msgspec.Struct, frozen=True):
    """What all attempts of one client's request share."""

    principal: Principal
    attribution: Attribution
    trace_id: str
    wait_seconds: float = 0.0
    client_request_id: str | None = None
    passed_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    notices: Headers = msgspec.field(default_factory=list)  # what the brakes have to say
    client_left: Callable[[], Coroutine[Any, Any, None]] = never


class OpenCall:
    """A call whose money is held. `cost_nano_usd` and `usage` are set once it is settled (`is_booked`);
    `earlier_nano_usd` was spent for the same answer before the money was held: on attempts that broke off or refused,
    on an answer that a judge replaced; `beside_nano_usd` after it: on reviews, on judges who failed or refused, on
    attempts that were to better a refusal. `is_earlier_estimated`: nobody knows whether all that the other attempts
    cost is billed."""

    def __init__(
        self,
        origin: Origin,
        request: CallRequest,
        candidate: Candidate,
        money: MoneyHeld,
        facts: dict[str, Any],
        *,
        need: Need,
        price: CompiledPrice,
    ) -> None:
        held = money.held
        assert held.hold is not None, "a call is always held"
        self.request = request
        self.model = candidate.model
        self.decision = held.decision
        self.request_id = str(held.hold.hold_id)
        self.cost_nano_usd = self.earlier_nano_usd = self.beside_nano_usd = 0
        self.usage = TokenUsage()
        self._counted: TokenUsage | None = None
        self.is_estimated = candidate.quote.is_estimated
        self.is_earlier_estimated = False
        self.first_token_ms: int | None = None
        self.clamp_to, self.output_limit = money.clamp_to, money.output_limit
        # Whether the request as it is sent limits the output: all of it is held for then.
        self.has_limit = need.has_own_limit or money.output_limit is not None
        self.pins = money.pins
        self.notices = origin.notices
        self._origin = origin
        self._facts = facts
        self._candidate = candidate
        self._price_asked = price
        self._need = need
        self._held = held
        self._held_nano_usd = held.call.estimated_nano_usd  # with what is held on the way
        self._more_held: list[HeldCall] = []
        self.is_booked = False
        self._began = time.monotonic()

    @property
    def all_nano_usd(self) -> int:
        """What the client's request has cost once this call is settled: it, and what was spent earlier and beside."""
        return self.cost_nano_usd + self.earlier_nano_usd + self.beside_nano_usd

    @property
    def over_hold_nano_usd(self) -> int:
        """By how much it has cost more than was held for it, once it is settled."""
        return max(0, self.cost_nano_usd - self._held_nano_usd)

    @property
    def held_output_tokens(self) -> int:
        """How much output the held money pays for."""
        return self._held.call.max_output_tokens or 0

    @property
    def worst_output_tokens(self) -> int:
        """How much output the model can give at most, over all choices."""
        return self._need.worst_output_tokens

    @property
    def is_strict(self) -> bool:
        """Whether one of its enforced budgets may never be exceeded."""
        return has_strict(self.decision.matched)

    def note_first_token(self) -> None:
        """Remembers when the answer began."""
        if self.first_token_ms is None:
            self.first_token_ms = self._elapsed_ms()

    @property
    def strictest_budget(self) -> str:
        """The name of the strict budget with the least room, "" without one."""
        found = tightest_strict(self.decision)
        return "" if found is None else found.matched.budget.name

    def note_ended(self, reason: str) -> None:
        """Keeps in the span that its strict budget has ended the answer early, and why."""
        self._facts |= {"ended": reason, "ended_by": self.strictest_budget}

    async def hold_more(self, output_tokens: int) -> bool:
        """Holds money for that much more output of a running call; False where no budget has room for it, or the call
        is booked already."""
        if self.is_booked:
            return False
        call = self._held.call
        more = msgspec.structs.replace(
            call,
            now=datetime.now(UTC),
            estimated_nano_usd=estimate_nano_usd(self._price_asked, 0, output_tokens),
            max_output_tokens=output_tokens,
        )
        # Should this process die, its holds are found together or one after the other: each knows of those before it.
        held_nano_usd = self._held_nano_usd + more.estimated_nano_usd
        payload = payload_for(
            call, self.request_id, self.request.model[:120], self._origin.trace_id, self._facts,
            held_nano_usd=held_nano_usd,
        )  # fmt: skip
        try:
            self._more_held.append(await drive_async(try_to_reserve(more, hold_id=new_id(), payload=payload)))
        except BudgetExceeded:
            return False
        self._held_nano_usd = held_nano_usd
        return True

    async def give_back(self) -> None:
        """Ends the hold of a call that was never sent: no span, nothing spent."""
        await drive_async(release(self._held, datetime.now(UTC)))

    def usage_of(self, reader: UsageReader) -> TokenUsage:
        """What the vendor reported, or what we have seen of it: asked for at the answer's end, and counted once."""
        if self._counted is None:
            told = told_usage(self.request, reader)
            if told is not None:
                return told
            self._counted = seen_usage(self.request, reader, self.model.context_tokens)
        return self._counted

    async def settle(self, reader: UsageReader, *, status: str = "ok", error_code: str = "") -> None:
        """Books what the vendor reported, or what we have seen of it; on disk when this returns. An answer that was
        booked, and set aside, may go out after all: it counts once."""
        if self.is_booked:
            return
        usage = self.usage_of(reader)
        is_untold = usage is not reader.usage
        bill = bill_for(reader, usage, self.request, self._candidate, self._need.extras, self._held.call.now)
        self.usage, self.cost_nano_usd, self.is_estimated = bill.usage, bill.cost_nano_usd, bill.is_estimated
        self._facts |= bill.facts
        breakdown = bill.breakdown
        if is_untold and status != "ok" and self.is_strict:
            at_most = self._unseen_nano_usd(was_given_up(status, error_code))
            if at_most > self.cost_nano_usd:
                self.cost_nano_usd, breakdown = at_most, {}
        await self._book(status, error_code, breakdown, reader)

    def _unseen_nano_usd(self, is_given_up: bool) -> int:
        call = self._held.call
        return unseen_nano_usd(
            self.request, self.model, self._price_asked, call.estimated_nano_usd, call.input_tokens or 0,
            is_given_up=is_given_up, elapsed_ms=self._elapsed_ms(),
        )  # fmt: skip

    async def settle_unanswered(self, error: BaseException) -> None:
        """Books a call to which the vendor gave no answer: cost 0, so that error rates can be seen.

        When we were cancelled while the vendor was being asked, nobody knows: it is booked at the estimate. So it is
        under a strict budget where the vendor was given up: callers choose when.
        """
        if isinstance(error, Exception):
            code = code_of(error)
            if isinstance(error, UpstreamRefused):
                code = f"upstream_{error.status}"
            if isinstance(error, UpstreamError) and error.was_asked and self.is_strict:
                self.cost_nano_usd, self.is_estimated = self._held.call.estimated_nano_usd, True
            await self._book("error", code, {}, None)
        else:
            self.cost_nano_usd, self.is_estimated = self._held.call.estimated_nano_usd, True
            await asyncio.shield(self._book("interrupted", "cancelled", {}, None))

    async def _book(
        self, status: str, error_code: str, breakdown: Mapping[str, int], reader: UsageReader | None
    ) -> None:
        self.is_booked = True
        try:
            draft = self._draft(status, error_code, breakdown, reader)
        except BaseException:
            # A defect. The worker finds the holds, as those of a process that died.
            abandon([self._held, *self._more_held])
            raise
        try:
            # Redis is told, not waited for: whoever reserves after the answer is behind it.
            await drive_until_asked(settle_call(self._held, draft, datetime.now(UTC), self._more_held))
        except Unavailable:
            # The vendor has answered, so this must not be lost: all its holds stay until the ledger takes it.
            more_held, self._more_held = self._more_held, []
            settle_later(self._held, draft, more_held)
            raise
        finally:
            while self._more_held:
                await drive_async(release(self._more_held.pop(), datetime.now(UTC)))
            if hooks.AFTER_EXECUTION:
                hooks.run_after_execution(_told_to_hooks(draft))

    def _draft(
        self, status: str, error_code: str, breakdown: Mapping[str, int], reader: UsageReader | None
    ) -> SpanDraft:
        call = self._held.call
        metadata: dict[str, Any] = {"stream": self.request.is_stream, **self._facts}
        if reader is not None:
            if reader.finish_reason:
                metadata["finish_reason"] = str(reader.finish_reason)[:40]
            if reader.response_id:
                metadata["response_id"] = str(reader.response_id)[:200]
        if self._origin.client_request_id:
            metadata["client_request_id"] = self._origin.client_request_id
        if self.clamp_to is not None:
            metadata["clamped_to"] = self.clamp_to
        if not self.has_limit:
            worst = estimate_asked(
                self._need.extras, self._price_asked, self._need.input_tokens, self._need.worst_output_tokens
            )
            if worst > self._held_nano_usd:
                metadata[WORST_CASE_COST] = format_usd(worst)
        return SpanDraft(
            request_id=self.request_id,
            occurred_at=call.now,
            source="gateway",
            cost_nano_usd=self.cost_nano_usd,
            attribution=call.attribution,
            api_key=call.api_key,
            provider=call.provider,
            model=call.model,
            requested_model=self.request.model[:120],
            usage=self.usage,
            breakdown=breakdown,
            is_estimated=self.is_estimated,
            status=status,
            error_code=error_code[:60],
            duration_ms=self._elapsed_ms(),
            first_token_ms=self.first_token_ms,
            reserved_nano_usd=self._held_nano_usd,
            trace_id=self._origin.trace_id,
            metadata=metadata,
        )

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)


async def open_call(
    origin: Origin,
    request: CallRequest,
    candidate: Candidate,
    need: Need,
    facts: dict[str, Any],
    *,
    may_wait: bool,
    deadline: float | None = None,
    steps_in: bool = False,
) -> OpenCall:
    """Holds what the call may cost with this candidate in every budget it falls under. Nobody, and no budget, lets it
    wait longer than until its `deadline` in monotonic seconds (None: no limit). A model that `steps_in` for the one
    that was asked for gives way by its own names alone.

    Raises BudgetExceeded or UnboundedCall; then nothing is held.
    """
    model = candidate.model
    hold_id = new_call_id()
    principal = origin.principal
    now = datetime.now(UTC)
    price = price_asked(need.extras, model, candidate.quote.price, now)
    call = Call(
        tenant_id=principal.tenant_id,
        now=now,
        estimated_nano_usd=estimate_asked(need.extras, price, need.input_tokens, need.output_tokens),
        attribution=origin.attribution,
        api_key=principal.key_prefix,
        provider=model.provider.name,
        model=model.name,
        model_names=frozenset((model.name,) if steps_in else (request.model, model.name)),
        tools=request.tools,
        input_tokens=need.input_tokens,
        max_output_tokens=need.output_tokens,
    )
    payload = payload_for(call, str(hold_id), request.model[:120], origin.trace_id, facts)
    is_patient = may_wait and origin.wait_seconds != NEVER_WAITS
    patience = Patience(origin.wait_seconds, is_patient, deadline, origin.client_left)
    money = await hold_money(call, hold_id, payload, candidate, need, patience, request, origin.passed_headers)
    return OpenCall(origin, request, candidate, money, facts, need=need, price=price)


def _told_to_hooks(draft: SpanDraft) -> dict[str, Any]:
    return {
        "request_id": draft.request_id,
        "trace_id": draft.trace_id,
        "model": draft.model,
        "requested_model": draft.requested_model,
        "provider": draft.provider,
        "status": draft.status,
        "error_code": draft.error_code,
        "cost_nano_usd": draft.cost_nano_usd,
        "duration_ms": draft.duration_ms,
        "first_token_ms": draft.first_token_ms,
        "attribution": draft.attribution.as_dict(),
    }
