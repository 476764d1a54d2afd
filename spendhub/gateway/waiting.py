"""Calls that wait for money which is merely held: bounded, and in the order in which they came.

One line per budget window and process. Who is first in line looks again and again; the others wait for
their turn. Lines of several processes do not know of each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive_async
from budgets.decisions import Decision
from budgets.patience import has_room_now, patience_of

LOOK_SECONDS = 0.05

_lines: dict[tuple[asyncio.AbstractEventLoop, str], tuple[asyncio.Lock, int]] = {}


def patience_for(decision: Decision, wait_seconds: float) -> float:
    """How long the refused call may wait: what its caller or the budget's policy grants, 0 where waiting is in vain.

    A negative `wait_seconds` is a call's that waits for nothing, whatever is granted."""
    if wait_seconds < 0:
        return 0.0
    patience = max(wait_seconds, float(patience_of(decision)))
    return patience if patience and decision.is_merely_held else 0.0


async def wait_for_room(call: Call, decision: Decision, until: float) -> bool:
    """Waits until the call would fit; False when `until` (monotonic seconds) came first."""
    bound = decision.bound
    assert bound is not None, "a refusal names its budget"
    name = f"{bound.matched.budget.id}:{bound.matched.scope_key}:{bound.matched.window.starts_at}"
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())), _place_in_line(name):
            while True:
                if await drive_async(has_room_now(replace(call, now=datetime.now(UTC)))):
                    return True
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return False


@asynccontextmanager
async def _place_in_line(name: str) -> AsyncIterator[None]:
    key = (asyncio.get_running_loop(), name)
    lock, waiting = _lines.get(key, (asyncio.Lock(), 0))
    _lines[key] = (lock, waiting + 1)
    try:
        async with lock:  # asyncio's locks are fair: first come, first served
            yield
    finally:
        lock, waiting = _lines[key]
        if waiting > 1:
            _lines[key] = (lock, waiting - 1)
        else:
            del _lines[key]
