"""How much is held for a call, and what happens when that does not fit: wait for what is merely held, or, under
a strict budget, ask for less output.

docs/gateway.md, "What is held".
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from budgets.reservations import HeldCall, try_to_reserve
from budgets.strictness import is_strict, least_room
from routing.candidates import Candidate
from routing.extras import NO_EXTRAS, Extras, affordable_asked, estimate_asked, price_asked
from routing.model_facts import ModelFacts
from routing.pricing import CompiledPrice
from routing.tokens import at_most, packed_tokens_in
from routing.told_costs import price_ceiling
from routing.upstreams.registry import passes_untouched
from spendhub.errors import Refused
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.extras_asked import worst_case
from spendhub.gateway.unseen_input import Unseen, context_asked_for, unseen_in
from spendhub.gateway.waiting import Hold, hold_as_newcomer, hold_in_turn, patience_for
from telemetry.expected_outputs import expected_output_tokens

# No tokenizer that vendors use makes more tokens than a text has bytes; roles, separators and the words in which
# a vendor tells its model about tools come on top. The usual estimate is at least a third of the bytes.
STRICT_INPUT_FACTOR = 3
STRICT_INPUT_EXTRA_TOKENS = 1_024
# More than any vendor bills for one picture. The dearest is OpenAI's gpt-4o-mini: 2,833 tokens and 5,667 for each of at
# most 8 tiles; others stop at 16,384 (Qwen) and below. Source: the vendors' guides to images.
STRICT_TOKENS_PER_PICTURE = 50_000
# OpenAI bills each token of a picture as 33 1/3 at this model, and fits it into the context as one.
BILLED_ABOVE_ITS_CONTEXT = "gpt-4o-mini"
BILLED_PER_CONTEXT_TOKEN = 34
# An answer cut shorter than this helps nobody.
LEAST_CLAMPED_TOKENS = 16
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# What is assumed of a model whose own limit nobody knows, where the worst case must be held.
UNKNOWN_OUTPUT_TOKENS = 128_000


class UnboundedCall(Refused):
    """The vendor may do, read or bill more for this call than a strict budget could hold for; `field` lets it."""

    code = "unbounded_call"

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: a strict budget cannot pay for {why}", field=field)


class Need(msgspec.Struct, frozen=True):
    """The size of a call at one model. `output_tokens` is what is held for, over all choices; `worst_output_tokens`
    the most that the request as it stands can make the model say. `has_own_limit`: the client set it. `extras` may be
    billed beside. `uncut_input_tokens` is the whole estimate of the input where what is packed into the request takes
    no more than the model's context leaves; None where it takes all of its estimate."""

    input_tokens: int
    output_tokens: int
    worst_output_tokens: int
    has_own_limit: bool
    extras: Extras = NO_EXTRAS
    uncut_input_tokens: int | None = None


class Worst(msgspec.Struct, frozen=True):
    """What a strict budget holds for: sizes that the vendor's bill cannot pass, at the dearest price they can have.
    `pins` are fields that are written into the request to keep them so."""

    price: CompiledPrice
    input_tokens: int
    output_tokens: int
    extras: Extras
    pins: Mapping[str, Any]


class MoneyHeld(msgspec.Struct, frozen=True):
    """A held call; `output_limit` (over all choices) is what must now be written into the request, None for nothing,
    and `pins` are other fields that must. `clamp_to` is that limit where it is not the client's own."""

    held: HeldCall
    output_limit: int | None = None
    clamp_to: int | None = None
    pins: Mapping[str, Any] = msgspec.field(default_factory=dict)


async def never() -> None:
    """Never returns."""
    await asyncio.Event().wait()


class Patience(msgspec.Struct, frozen=True):
    """How long the caller waits for money that is merely held; `may_wait` False: not now, nor as policies grant.
    However patient its budgets are, the whole call's time is over at `deadline` (monotonic seconds; None: never), and
    once `client_left` returns nobody waits any more."""

    wait_seconds: float = 0.0
    may_wait: bool = True
    deadline: float | None = None
    client_left: Callable[[], Coroutine[Any, Any, None]] = never

    def seconds_for(self, refused: Decision) -> float:
        """How long the refused call waits; 0 where it does not."""
        seconds = patience_for(refused, self.wait_seconds) if self.may_wait else 0.0
        return seconds if self.deadline is None else max(0.0, min(seconds, self.deadline - time.monotonic()))


def need_of(
    request: CallRequest,
    model: ModelFacts,
    input_tokens: int,
    tenant_id: int,
    feature: str | None,
    extras: Extras = NO_EXTRAS,
) -> Need:
    """What the call needs at `model`: the client's own limit, else what answers usually are; never more than the
    model can say. What is packed into the request takes no more than the model's context leaves."""
    if request.kind == "embedding":
        return Need(input_tokens, 0, 0, True, extras)
    estimated, input_tokens = input_tokens, at_most(input_tokens, request.body, model.context_tokens)
    uncut = None if input_tokens == estimated else estimated
    limit, choices = request.max_output_tokens, request.choices
    most = model.max_output_tokens * choices if model.max_output_tokens is not None else None
    if limit is not None:
        held = limit if most is None else min(limit, most)
        return Need(input_tokens, held, held, True, extras, uncut)
    usual = expected_output_tokens(tenant_id, feature, model.name) * choices
    worst = most if most is not None else UNKNOWN_OUTPUT_TOKENS * choices
    return Need(input_tokens, min(usual, worst), worst, False, extras, uncut)


async def hold_money(
    call: Call,
    hold_id: uuid.UUID,
    payload: Mapping[str, Any],
    candidate: Candidate,
    need: Need,
    patience: Patience,
    request: CallRequest,
    passed_headers: Mapping[str, str],
) -> MoneyHeld:
    """Holds the call's money, waiting and clamping as the budgets' policies say. `passed_headers` go to a vendor that
    gets the request as it is.

    Raises BudgetExceeded, not stored, since another model may still be tried; under a strict budget UnboundedCall."""
    if is_strict(call):
        worst = worst_of(need, request, candidate, call.now, passed_headers)
        held = await _hold_worst_case(call, hold_id, payload, worst, patience, request.choices)
        limit, own = held.call.max_output_tokens, request.max_output_tokens
        return MoneyHeld(held, limit, None if limit == own else limit, worst.pins)
    return MoneyHeld(await _hold_patiently(call, hold_id, payload, patience))


def worst_of(
    need: Need,
    request: CallRequest,
    candidate: Candidate,
    now: datetime,
    passed_headers: Mapping[str, str] = NO_HEADERS,
) -> Worst:
    """The most that the call can come to, whatever the vendor does. Raises UnboundedCall where nobody can say."""
    if need.extras.vendor_tools:
        raise UnboundedCall(
            need.extras.vendor_tools,
            "what has no bound: tools of the vendor's and what they read, models and hosts of its choice, a prediction",
        )
    model, standard = candidate.model, candidate.quote.price
    longer = context_asked_for(request, passed_headers) if passes_untouched(model, request.wire) else 0
    unseen, seen_tokens = unseen_in(request), need.input_tokens
    if unseen.field or unseen.sound_bytes:
        # What is packed has bounds of its own; its estimate is none.
        estimated = need.input_tokens if need.uncut_input_tokens is None else need.uncut_input_tokens
        seen_tokens = estimated - packed_tokens_in(request.body)
    input_tokens = most_input_tokens(seen_tokens, unseen, model, longer)
    extras, pins = worst_case(need.extras, request, model)
    # A vendor that has no room in a cheaper tier may answer in the standard one.
    price = max(
        (standard, price_asked(extras, model, standard, now)),
        key=lambda price: estimate_asked(extras, price, input_tokens, need.worst_output_tokens),
    )
    pins = {**pins, **price_ceiling(model, price.rates_for(input_tokens))}
    return Worst(price, input_tokens, need.worst_output_tokens, extras, pins)


def most_input_tokens(estimated_tokens: int, unseen: Unseen, model: ModelFacts, context_asked: int = 0) -> int:
    """More input tokens than the call can be billed for, whose texts are estimated at so many.

    All that the model can take, or is asked to take, where some of it only the vendor sees: its output is not taken
    off, since the catalog has for some models what they take beside their output. Raises UnboundedCall where it does
    not say."""
    seen = estimated_tokens * STRICT_INPUT_FACTOR + STRICT_INPUT_EXTRA_TOKENS
    beside = unseen.pictures * STRICT_TOKENS_PER_PICTURE + unseen.sound_bytes
    if not unseen.field and not beside:
        return seen
    # An embedding's context is that of one input out of many.
    context = None if model.kind == "embedding" else model.context_tokens
    if context is not None:
        context = max(context, context_asked)
    if context is not None and BILLED_ABOVE_ITS_CONTEXT in model.upstream_name:
        context *= BILLED_PER_CONTEXT_TOKEN
    if unseen.field:
        if context is None:
            raise UnboundedCall(
                unseen.field, f"input that only the vendor sees: nobody has said how much of it {model.name} takes"
            )
        return max(seen, context)
    return seen + beside if context is None else max(seen, min(seen + beside, context))


async def _hold_patiently(call: Call, hold_id: uuid.UUID, payload: Mapping[str, Any], patience: Patience) -> HeldCall:
    hold = _reserving(hold_id, payload)
    try:
        return await hold_as_newcomer(call, hold, patience.deadline)
    except BudgetExceeded as refusal:
        seconds = patience.seconds_for(refusal.decision)
        if not seconds:
            raise
        leaving = asyncio.ensure_future(patience.client_left())
        try:
            return await hold_in_turn(call, refusal, time.monotonic() + seconds, hold, lambda: not leaving.done())
        finally:
            leaving.cancel()


def _reserving(hold_id: uuid.UUID, payload: Mapping[str, Any]) -> Hold:
    return lambda call: drive_async(try_to_reserve(call, hold_id=hold_id, payload=payload))


async def _hold_worst_case(
    call: Call,
    hold_id: uuid.UUID,
    payload: Mapping[str, Any],
    worst: Worst,
    patience: Patience,
    choices: int,
) -> HeldCall:
    price, extras = worst.price, worst.extras
    tokens_in, tokens_out = worst.input_tokens, worst.output_tokens
    wanted = _sized(call, price, tokens_in, tokens_out, extras)
    try:
        return await hold_as_newcomer(wanted, _reserving(hold_id, payload), patience.deadline)
    except BudgetExceeded as refusal:
        affordable = affordable_asked(extras, price, tokens_in, least_room(refusal.decision))
        # Each choice gets the same.
        wanted_each = tokens_out // choices
        each = wanted_each if affordable is None else affordable // choices
        if each < min(LEAST_CLAMPED_TOKENS, wanted_each):
            if not patience.seconds_for(refusal.decision):
                raise
            each = wanted_each
    clamped = _sized(call, price, tokens_in, min(each, wanted_each) * choices, extras)
    return await _hold_patiently(clamped, hold_id, payload, patience)


def _sized(call: Call, price: CompiledPrice, tokens_in: int, tokens_out: int, extras: Extras) -> Call:
    return replace(
        call,
        estimated_nano_usd=estimate_asked(extras, price, tokens_in, tokens_out),
        input_tokens=tokens_in,
        max_output_tokens=tokens_out,
    )
