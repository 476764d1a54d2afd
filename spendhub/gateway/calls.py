"""A gateway call's journey: candidates -> estimate -> reserve -> vendor -> span on disk -> settle.

Whatever happens on the way, a call that was reserved is settled exactly once:

- the vendor refused, or gave no answer at all: a span with status `error` and cost 0, the hold ends;
- the vendor said 200: what it reported is billed; where it broke off or never reported, what
  went in and what came out as far as we saw it, counted by us and marked as estimated;
- the client left a stream: the vendor's connection is closed, and what it had produced is billed;
- this process was told to stop before the vendor had said anything: booked at the estimate, `interrupted`.

Should the process die instead, the worker finds the hold and books it (telemetry.interrupted).
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.reservations import HeldCall, reserve
from routing.candidates import Candidate, find_candidates
from routing.errors import ModelNotAvailable, UpstreamRefused
from routing.execution import credential_of
from routing.pricing import TokenUsage, estimate_nano_usd, price_usage
from routing.snapshot import CATALOG, ModelFacts
from routing.tokens import count_chat_tokens, estimate_input_tokens
from routing.upstreams.base import UsageReader
from routing.upstreams.registry import dialect_of
from spendhub.errors import SpendHubError, Unavailable
from spendhub.gateway.openai.chat import ChatRequest
from spendhub.ids import new_id
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal
from telemetry.drafts import SpanDraft
from telemetry.interrupted import payload_for
from telemetry.recording import settle_call

logger = logging.getLogger(__name__)

RETRY_PAUSE_SECONDS = 5.0

_settling: set[asyncio.Task[None]] = set()


class OpenCall:
    """A call whose money is held. `cost_nano_usd` and `usage` are set once it is settled."""

    def __init__(self, request: ChatRequest, candidate: Candidate, held: HeldCall, request_id: str) -> None:
        self.request = request
        self.model = candidate.model
        self.decision = held.decision
        self.request_id = request_id
        self.cost_nano_usd = 0
        self.usage = TokenUsage()
        self.is_estimated = candidate.quote.is_estimated
        self.first_token_ms: int | None = None
        self.client_request_id: str | None = None
        self._quote = candidate.quote
        self._held = held
        self._began = time.monotonic()

    def note_first_token(self) -> None:
        """Remembers when the answer began."""
        if self.first_token_ms is None:
            self.first_token_ms = self._elapsed_ms()

    async def settle(self, reader: UsageReader, *, status: str = "ok", error_code: str = "") -> None:
        """Books what the vendor reported, or what we have seen of it; on disk when this returns."""
        usage = reader.usage
        if usage is None:
            # Counted as the sandbox counts: nearer to what vendors bill than the upper bound that was held.
            usage = TokenUsage(input_tokens=count_chat_tokens(self.request.body), output_tokens=_seen_output(reader))
            self.is_estimated = True
        priced = price_usage(usage, self._quote.price)
        self.usage, self.cost_nano_usd = usage, priced.total_nano_usd
        await self._book(status, error_code, priced.by_kind(), reader)

    async def settle_unanswered(self, error: BaseException) -> None:
        """Books a call to which the vendor gave no answer: cost 0, so that error rates can be seen.

        When we were cancelled while the vendor was being asked, nobody knows: it is booked at the estimate.
        """
        if isinstance(error, Exception):
            code = getattr(error, "code", "defect")
            if isinstance(error, UpstreamRefused):
                code = f"upstream_{error.status}"
            await self._book("error", code, {}, None)
        else:
            self.cost_nano_usd, self.is_estimated = self._held.call.estimated_nano_usd, True
            await asyncio.shield(self._book("interrupted", "cancelled", {}, None))

    async def _book(self, status: str, error_code: str, breakdown: dict[str, int], reader: UsageReader | None) -> None:
        draft = self._draft(status, error_code, breakdown, reader)
        try:
            await drive_async(settle_call(self._held, draft, datetime.now(UTC)))
        except Unavailable:
            # The vendor has answered, so this must not be lost: its hold stays until the ledger takes it.
            _keep_settling(self._held, draft)
            raise

    def _draft(self, status: str, error_code: str, breakdown: dict[str, int], reader: UsageReader | None) -> SpanDraft:
        call = self._held.call
        metadata: dict[str, Any] = {"stream": self.request.is_stream}
        if reader is not None:
            if reader.finish_reason:
                metadata["finish_reason"] = reader.finish_reason[:40]
            if reader.response_id:
                metadata["response_id"] = str(reader.response_id)[:200]
        if self.client_request_id:
            metadata["client_request_id"] = self.client_request_id
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
            reserved_nano_usd=call.estimated_nano_usd,
            metadata=metadata,
        )

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)


async def open_call(principal: Principal, request: ChatRequest, attribution: Attribution, now: datetime) -> OpenCall:
    """Finds the model, estimates the most the call can cost, and holds that in every budget it falls under.

    Raises UnknownModel, ModelNotAvailable, UnpricedModel, DialectNotSpoken or CredentialMissing, and
    BudgetExceeded; then nothing is held.
    """
    tenant = principal.tenant
    candidate = find_candidates(
        CATALOG.current(), tenant.id, request.model, now, unpriced_models=tenant.unpriced_models
    )[0]
    model = candidate.model
    if model.kind != "chat":
        raise ModelNotAvailable(request.model, f"it is a model for {model.kind}, not for chat")
    dialect_of(model)
    credential_of(model)
    tokens_in, tokens_out = estimate_input_tokens(request.body), _most_output(request, model)
    call = Call(
        tenant_id=tenant.id,
        now=now,
        estimated_nano_usd=estimate_nano_usd(candidate.quote.price, tokens_in, tokens_out),
        attribution=attribution,
        api_key=principal.key_prefix,
        provider=model.provider.name,
        model=model.name,
        model_names=frozenset((request.model, model.name)),
        tools=request.tools,
        input_tokens=tokens_in,
        max_output_tokens=tokens_out,
    )
    hold_id = new_id()
    request_id = str(hold_id)
    payload = payload_for(call, request_id, request.model[:120])
    held = await drive_async(reserve(call, hold_id=hold_id, payload=payload))
    return OpenCall(request, candidate, held, request_id)


def _seen_output(reader: UsageReader) -> int:
    try:
        return reader.produced_tokens()
    except (AttributeError, TypeError):
        return 0  # an answer of no known shape: there is nothing in it to count


def _most_output(request: ChatRequest, model: ModelFacts) -> int:
    """The client's own limit, else what is assumed for those who set none; never more than the model can say."""
    limit = request.max_output_tokens
    if limit is None:
        limit = settings.DEFAULT_OUTPUT_TOKENS * request.choices
    return limit if model.max_output_tokens is None else min(limit, model.max_output_tokens * request.choices)


def _keep_settling(held: HeldCall, draft: SpanDraft) -> None:
    async def settle_later() -> None:
        while True:
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            try:
                await drive_async(settle_call(held, draft, datetime.now(UTC)))
            except SpendHubError as error:
                logger.error("call %s is still not booked: %s", draft.request_id, error)
            else:
                return

    task = asyncio.ensure_future(settle_later())
    _settling.add(task)  # the loop itself keeps only weak references
    task.add_done_callback(_settling.discard)
