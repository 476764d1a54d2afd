"""How much is held for a call, and what happens when that does not fit: wait for what is merely held, or, under
a strict budget, ask for less output.

docs/gateway.md, "What is held".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.errors import BudgetExceeded
from budgets.reservations import HeldCall, reserve
from budgets.strictness import is_strict, least_room
from routing.candidates import Candidate
from routing.pricing import CompiledPrice, estimate_nano_usd
from routing.snapshot import ModelFacts
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.waiting import patience_for, wait_for_room
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


class Need(msgspec.Struct, frozen=True):
    """The size of a call at one model. `output_tokens` is what is held for, over all choices; `worst_output_tokens`
    the most that the request as it stands can make the model say. `has_own_limit`: the client set it."""

    input_tokens: int
    output_tokens: int
    worst_output_tokens: int
    has_own_limit: bool


class MoneyHeld(msgspec.Struct, frozen=True):
    """A held call; `clamp_to` is the output limit that must now be written into the request, None for none."""

    held: HeldCall
    clamp_to: int | None = None


class Patience(msgspec.Struct, frozen=True):
    """How long the caller waits for money that is merely held; `may_wait` False: not now, nor as policies grant."""

    wait_seconds: float = 0.0
    may_wait: bool = True


def need_of(request: CallRequest, model: ModelFacts, input_tokens: int, tenant_id: int, feature: str | None) -> Need:
    """What the call needs at `model`: the client's own limit, else what answers usually are; never more than the
    model can say."""
    if request.kind == "embedding":
        return Need(input_tokens, 0, 0, True)
    limit, choices = request.max_output_tokens, request.choices
    most = model.max_output_tokens * choices if model.max_output_tokens is not None else None
    if limit is not None:
        held = limit if most is None else min(limit, most)
        return Need(input_tokens, held, held, True)
    usual = expected_output_tokens(tenant_id, feature, model.name) * choices
    worst = most if most is not None else UNKNOWN_OUTPUT_TOKENS * choices
    return Need(input_tokens, min(usual, worst), worst, False)


async def hold_money(
    call: Call, hold_id: uuid.UUID, payload: Mapping[str, Any], candidate: Candidate, need: Need, patience: Patience
) -> MoneyHeld:
    """Holds the call's money, waiting and clamping as the budgets' policies say. Raises BudgetExceeded."""
    if is_strict(call):
        return await _hold_worst_case(call, hold_id, payload, candidate.quote.price, need, patience)
    return MoneyHeld(await _hold_patiently(call, hold_id, payload, patience))


async def _hold_patiently(call: Call, hold_id: uuid.UUID, payload: Mapping[str, Any], patience: Patience) -> HeldCall:
    deadline = 0.0
    while True:
        try:
            return await drive_async(reserve(call, hold_id=hold_id, payload=payload))
        except BudgetExceeded as refusal:
            if not patience.may_wait:
                raise
            if not deadline:
                deadline = time.monotonic() + patience_for(refusal.decision, patience.wait_seconds)
            if not await wait_for_room(call, refusal.decision, deadline):
                raise
            # Its windows are those of the moment at which it is let through.
            call = replace(call, now=datetime.now(UTC))


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
    wanted = _sized(call, price, tokens_in, tokens_out)
    try:
        held = await drive_async(reserve(wanted, hold_id=hold_id, payload=payload))
        return MoneyHeld(held, None if need.has_own_limit else tokens_out)
    except BudgetExceeded as refusal:
        affordable = _affordable_output(least_room(refusal.decision), price, tokens_in)
        if affordable < min(LEAST_CLAMPED_TOKENS, tokens_out):
            if not (patience.may_wait and patience.wait_seconds):
                raise
            affordable = tokens_out
    clamped = _sized(call, price, tokens_in, min(affordable, tokens_out))
    held = await _hold_patiently(clamped, hold_id, payload, patience)
    return MoneyHeld(held, clamped.max_output_tokens)


def _sized(call: Call, price: CompiledPrice, tokens_in: int, tokens_out: int) -> Call:
    return replace(
        call,
        estimated_nano_usd=estimate_nano_usd(price, tokens_in, tokens_out),
        input_tokens=tokens_in,
        max_output_tokens=tokens_out,
    )


def _affordable_output(room_nano_usd: int, price: CompiledPrice, tokens_in: int) -> int:
    """How many tokens of output the room pays for once the input is paid."""
    left = room_nano_usd - estimate_nano_usd(price, tokens_in, 0)
    rates = price.rates_for(tokens_in)
    rate = max(rates.output, rates.reasoning or 0)
    return max(0, left * TOKENS_PER_MTOK // rate) if rate else UNKNOWN_OUTPUT_TOKENS
