"""How much is held for a call, and what happens when that does not fit: wait for what is merely held, or, under
a strict budget, ask for less output.

docs/gateway.md, "What is held".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.errors import BudgetExceeded
from budgets.reservations import HeldCall, reserve
from budgets.strictness import is_strict, least_room
from routing.candidates import Candidate
from routing.extras import NO_EXTRAS, Extras, estimate_asked, price_asked
from routing.pricing import CompiledPrice
from routing.snapshot import ModelFacts
from spendhub.errors import Refused
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.extras_asked import worst_case
from spendhub.gateway.waiting import hold_in_turn, patience_for
from spendhub.money import TOKENS_PER_MTOK
from telemetry.expected_outputs import expected_output_tokens

# No tokenizer that vendors use makes more tokens than a text has bytes; roles, separators and the words in which
# a vendor tells its model about tools come on top. The usual estimate is at least a third of the bytes.
STRICT_INPUT_FACTOR = 3
STRICT_INPUT_EXTRA_TOKENS = 1_024
# An answer cut shorter than this helps nobody.
LEAST_CLAMPED_TOKENS = 16
# What is assumed of a model whose own limit nobody knows, where the worst case must be held.
UNKNOWN_OUTPUT_TOKENS = 128_000


class UnboundedCall(Refused):
    """The vendor may do more for this call than a strict budget could hold for; `field` lets it."""

    code = "unbounded_call"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field}: a strict budget cannot pay for tools that run at the vendor: what they do and read has no bound",
            field=field,
        )


class Need(msgspec.Struct, frozen=True):
    """The size of a call at one model. `output_tokens` is what is held for, over all choices; `worst_output_tokens`
    the most that the request as it stands can make the model say. `has_own_limit`: the client set it. `extras` may be
    billed beside."""

    input_tokens: int
    output_tokens: int
    worst_output_tokens: int
    has_own_limit: bool
    extras: Extras = NO_EXTRAS


class MoneyHeld(msgspec.Struct, frozen=True):
    """A held call; `clamp_to` is the output limit that must now be written into the request, None for none, and `pins`
    are other fields that must."""

    held: HeldCall
    clamp_to: int | None = None
    pins: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Patience(msgspec.Struct, frozen=True):
    """How long the caller waits for money that is merely held; `may_wait` False: not now, nor as policies grant."""

    wait_seconds: float = 0.0
    may_wait: bool = True


def need_of(
    request: CallRequest,
    model: ModelFacts,
    input_tokens: int,
    tenant_id: int,
    feature: str | None,
    extras: Extras = NO_EXTRAS,
) -> Need:
    """What the call needs at `model`: the client's own limit, else what answers usually are; never more than the
    model can say."""
    if request.kind == "embedding":
        return Need(input_tokens, 0, 0, True, extras)
    limit, choices = request.max_output_tokens, request.choices
    most = model.max_output_tokens * choices if model.max_output_tokens is not None else None
    if limit is not None:
        held = limit if most is None else min(limit, most)
        return Need(input_tokens, held, held, True, extras)
    usual = expected_output_tokens(tenant_id, feature, model.name) * choices
    worst = most if most is not None else UNKNOWN_OUTPUT_TOKENS * choices
    return Need(input_tokens, min(usual, worst), worst, False, extras)


async def hold_money(
    call: Call,
    hold_id: uuid.UUID,
    payload: Mapping[str, Any],
    candidate: Candidate,
    need: Need,
    patience: Patience,
    request: CallRequest,
) -> MoneyHeld:
    """Holds the call's money, waiting and clamping as the budgets' policies say.

    Raises BudgetExceeded; under a strict budget UnboundedCall."""
    if is_strict(call):
        if need.extras.vendor_tools:
            raise UnboundedCall(need.extras.vendor_tools)
        extras, pins = worst_case(need.extras, request, candidate.model)
        # A vendor that has no room in a cheaper tier may answer in the standard one.
        standard = candidate.quote.price
        price = max(
            (standard, price_asked(extras, candidate.model, standard, call.now)),
            key=lambda price: estimate_asked(extras, price, need.input_tokens, need.worst_output_tokens),
        )
        money = await _hold_worst_case(call, hold_id, payload, price, replace(need, extras=extras), patience)
        return replace(money, pins=pins) if pins else money
    return MoneyHeld(await _hold_patiently(call, hold_id, payload, patience))


async def _hold_patiently(call: Call, hold_id: uuid.UUID, payload: Mapping[str, Any], patience: Patience) -> HeldCall:
    async def hold(at_its_time: Call) -> HeldCall:
        return await drive_async(reserve(at_its_time, hold_id=hold_id, payload=payload))

    try:
        return await hold(call)
    except BudgetExceeded as refusal:
        seconds = patience_for(refusal.decision, patience.wait_seconds) if patience.may_wait else 0.0
        if not seconds:
            raise
        return await hold_in_turn(call, refusal, time.monotonic() + seconds, hold)


async def _hold_worst_case(
    call: Call,
    hold_id: uuid.UUID,
    payload: Mapping[str, Any],
    price: CompiledPrice,
    need: Need,
    patience: Patience,
) -> MoneyHeld:
    tokens_in = need.input_tokens * STRICT_INPUT_FACTOR + STRICT_INPUT_EXTRA_TOKENS
    tokens_out = need.worst_output_tokens
    extras = need.extras
    wanted = _sized(call, price, tokens_in, tokens_out, extras)
    try:
        held = await drive_async(reserve(wanted, hold_id=hold_id, payload=payload))
        return MoneyHeld(held, None if need.has_own_limit else tokens_out)
    except BudgetExceeded as refusal:
        affordable = _affordable_output(least_room(refusal.decision), price, tokens_in, extras)
        if affordable < min(LEAST_CLAMPED_TOKENS, tokens_out):
            if not (patience.may_wait and patience.wait_seconds):
                raise
            affordable = tokens_out
    clamped = _sized(call, price, tokens_in, min(affordable, tokens_out), extras)
    held = await _hold_patiently(clamped, hold_id, payload, patience)
    return MoneyHeld(held, clamped.max_output_tokens)


def _sized(call: Call, price: CompiledPrice, tokens_in: int, tokens_out: int, extras: Extras) -> Call:
    return replace(
        call,
        estimated_nano_usd=estimate_asked(extras, price, tokens_in, tokens_out),
        input_tokens=tokens_in,
        max_output_tokens=tokens_out,
    )


def _affordable_output(room_nano_usd: int, price: CompiledPrice, tokens_in: int, extras: Extras) -> int:
    """How many tokens of output the room pays for once the input is paid."""
    left = room_nano_usd - estimate_asked(extras, price, tokens_in, 0)
    rates = price.rates_for(tokens_in)
    rate = max(rates.output, rates.reasoning or 0)
    return max(0, left * TOKENS_PER_MTOK // rate) if rate else UNKNOWN_OUTPUT_TOKENS
