"""Calls that wait for money which is merely held: bounded, and in the order in which they came.

One line per budget window and process. Who is first in line looks again and again; the others wait for their turn, and
whoever comes new lets the first look before it tries itself, so that it takes nothing that the first was waiting for
(docs/decisions/0056). Lines of several processes do not know of each other (0036).
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
from budgets.matching import Matched, match_budgets
from budgets.patience import has_room_now, patience_of
from budgets.reservations import HeldCall
from budgets.snapshot import tenant_budgets

LOOK_SECONDS = 0.05
# A newcomer waits no longer than this for what the first in line sees.
STAND_BACK_SECONDS = 1.0


class _Line:
    """The calls that wait for one window's money. Whoever has the `turn` is its first."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # asyncio's locks are fair: first come, first served
        self.waiting = 0
        self._newcomers: list[asyncio.Future[None]] = []
        self._is_asked = asyncio.Event()

    async def stand_back(self) -> None:
        """For a newcomer: has the first look at once, and returns when there was no room for it, or nobody waits."""
        may_try: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._newcomers.append(may_try)
        self._is_asked.set()
        await may_try

    async def first_sees_room(self, call: Call) -> bool:
        """One look of the first. Where there is no room, newcomers who were there before it may try."""
        newcomers, self._newcomers = self._newcomers, []
        self._is_asked.clear()
        has_room = False
        try:
            has_room = await drive_async(has_room_now(call))
        finally:
            if has_room:
                self._newcomers = newcomers + self._newcomers
            else:
                _let_try(newcomers)
        return has_room

    async def pause(self) -> None:
        """Until the first looks again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._is_asked.wait()

    def leave(self) -> None:
        """One call less waits."""
        self.waiting -= 1
        if not self.waiting:
            _let_try(self._newcomers)


def _let_try(newcomers: list[asyncio.Future[None]]) -> None:
    for may_try in newcomers:
        if not may_try.done():
            may_try.set_result(None)


# By event loop, and budget, scope key and start of the window.
_LineKey = tuple[asyncio.AbstractEventLoop, str]
_lines: dict[_LineKey, _Line] = {}


def _key_of(matched: Matched) -> _LineKey:
    name = f"{matched.budget.id}:{matched.scope_key}:{matched.window.starts_at}"
    return asyncio.get_running_loop(), name


def patience_for(decision: Decision, wait_seconds: float) -> float:
    """How long the refused call may wait: what its caller or the budget's policy grants, 0 where waiting is in vain.

    A negative `wait_seconds` is a call's that waits for nothing, whatever is granted."""
    if wait_seconds < 0:
        return 0.0
    patience = max(wait_seconds, float(patience_of(decision)))
    return patience if patience and decision.is_merely_held else 0.0


async def let_the_first_in_line_try(call: Call, seconds_left: float | None = None) -> float:
    """Before a new call tries to hold its money: where others wait for that of one of its windows, the first of them
    is let through, if it fits now. What the first has no use for yet the new call may take.

    Says how many seconds that took: STAND_BACK_SECONDS at most, and no more than the call has left.
    """
    if not _lines:
        return 0.0
    began = time.monotonic()
    at_most = STAND_BACK_SECONDS if seconds_left is None else min(STAND_BACK_SECONDS, seconds_left)
    with suppress(TimeoutError):
        async with asyncio.timeout(at_most):
            for matched in match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now):
                line = _lines.get(_key_of(matched))
                if line is not None:
                    await line.stand_back()
    return time.monotonic() - began


async def hold_in_turn(
    call: Call, refusal: BudgetExceeded, until: float, hold: Callable[[Call], Awaitable[HeldCall]]
) -> HeldCall:
    """Holds the refused call once it is the first in line and would fit. A call of another process, or one that wants
    less, may be quicker then: the place in line stays.

    Raises the last refusal when `until` (monotonic seconds) came first, or what was held has been spent.
    """
    bound = refusal.decision.bound
    assert bound is not None, "a refusal names its budget"
    async with _place_in_line(_key_of(bound.matched), until) as line:
        while line is not None and await _sees_room(line, call, until):
            # Its windows are those of the moment at which it is let through.
            call = replace(call, now=datetime.now(UTC))
            try:
                return await hold(call)
            except BudgetExceeded as error:
                refusal = error
            if not refusal.decision.is_merely_held:
                break
            await line.pause()
    raise refusal


async def _sees_room(line: _Line, call: Call, until: float) -> bool:
    """Looks until the call would fit; False when `until` came first."""
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            while not await line.first_sees_room(replace(call, now=datetime.now(UTC))):
                await line.pause()
            return True
    except TimeoutError:
        return False


@asynccontextmanager
async def _place_in_line(key: _LineKey, until: float) -> AsyncIterator[_Line | None]:
    """The line once it is this call's turn, None where `until` came before; the next turn comes when the block ends."""
    line = _lines.setdefault(key, _Line())
    line.waiting += 1
    is_first = False
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                is_first = await line.turn.acquire()
        yield line if is_first else None
    finally:
        if is_first:
            line.turn.release()
        line.leave()
        if not line.waiting:
            del _lines[key]
