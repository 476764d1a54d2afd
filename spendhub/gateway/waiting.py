"""Calls that wait for money which is merely held: bounded, and in the order in which they came.

One line per budget window and process. Who is first in line looks again and again; the others wait for
their turn. Lines of several processes do not know of each other (docs/decisions/0036).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from budgets.patience import has_room_now, patience_of
from budgets.reservations import HeldCall

LOOK_SECONDS = 0.05

_lines: dict[tuple[asyncio.AbstractEventLoop, str], tuple[asyncio.Lock, int]] = {}


def patience_for(decision: Decision, wait_seconds: float) -> float:
    """How long the refused call may wait: what its caller or the budget's policy grants, 0 where waiting is in vain.

    A negative `wait_seconds` is a call's that waits for nothing, whatever is granted."""
    if wait_seconds < 0:
        return 0.0
    patience = max(wait_seconds, float(patience_of(decision)))
    return patience if patience and decision.is_merely_held else 0.0


async def hold_in_turn(
    call: Call, refusal: BudgetExceeded, until: float, hold: Callable[[Call], Awaitable[HeldCall]]
) -> HeldCall:
    """Holds the refused call once it is the first in line and would fit. A call that had not waited may be quicker
    then: the place in line stays.

    Raises the last refusal when `until` (monotonic seconds) came first, or what was held has been spent.
    """
    bound = refusal.decision.bound
    assert bound is not None, "a refusal names its budget"
    name = f"{bound.matched.budget.id}:{bound.matched.scope_key}:{bound.matched.window.starts_at}"
    async with _place_in_line(name, until) as is_first:
        while is_first and await _sees_room(call, until):
            # Its windows are those of the moment at which it is let through.
            call = replace(call, now=datetime.now(UTC))
            try:
                return await hold(call)
            except BudgetExceeded as error:
                refusal = error
            if not refusal.decision.is_merely_held:
                break
            await asyncio.sleep(LOOK_SECONDS)
    raise refusal


async def _sees_room(call: Call, until: float) -> bool:
    """Looks until the call would fit; False when `until` came first."""
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            while True:
                if await drive_async(has_room_now(replace(call, now=datetime.now(UTC)))):
                    return True
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return False


@asynccontextmanager
async def _place_in_line(name: str, until: float) -> AsyncIterator[bool]:
    """Whether it was this call's turn before `until`; the next one's comes when the block ends."""
    key = (asyncio.get_running_loop(), name)
    lock, waiting = _lines.get(key, (asyncio.Lock(), 0))
    _lines[key] = (lock, waiting + 1)
    is_first = False
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                is_first = await lock.acquire()  # asyncio's locks are fair: first come, first served
        yield is_first
    finally:
        if is_first:
            lock.release()
        lock, waiting = _lines[key]
        if waiting > 1:
            _lines[key] = (lock, waiting - 1)
        else:
            del _lines[key]
