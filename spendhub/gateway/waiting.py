"""Calls that wait for money which is merely held: bounded, and in the order in which they came.

One line per budget window and process. Who is first in line looks again and again; the others wait for their turn.
Whoever comes new lets the first look before it tries itself, and gives back what came free after that look, so that it
takes nothing that the first was waiting for (docs/decisions/0056). Lines of several processes do not know of each other
(0036).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.base import has_room
from budgets.counters.drive import drive_async
from budgets.decisions import Decision
from budgets.errors import BudgetExceeded
from budgets.matching import Matched, match_budgets
from budgets.patience import Room, patience_of, room_for
from budgets.reservations import HeldCall, release
from budgets.snapshot import tenant_budgets

LOOK_SECONDS = 0.05
# A newcomer waits no longer than this for what the first in line sees.
STAND_BACK_SECONDS = 1.0
# Nor does it give back more often than this: the first may be short of something that the newcomer does not need.
GIVES_WAY_AT_MOST = 2

Hold = Callable[[Call], Awaitable[HeldCall]]


class _Line:
    """The calls that wait for one window's money. Whoever has the `turn` is its first."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # asyncio's locks are fair: first come, first served
        self.calls: list[Call] = []  # that wait, in the order in which they came
        self._newcomers: list[asyncio.Future[None]] = []
        self._is_asked = asyncio.Event()

    async def stand_back(self) -> None:
        """For a newcomer: has the first look at once, and returns when there was no room for it, or nobody waits."""
        may_try: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._newcomers.append(may_try)
        self._is_asked.set()
        await may_try

    async def first_looks(self, call: Call) -> Room:
        """One look of the first. Where there is no room, newcomers who were there before it may try."""
        newcomers, self._newcomers = self._newcomers, []
        self._is_asked.clear()
        room: Room = "held"
        try:
            room = await drive_async(room_for(call))
        finally:
            if room == "free":
                self._newcomers = newcomers + self._newcomers
            else:
                _let_try(newcomers)
        return room

    async def pause(self) -> None:
        """Until the first looks again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._is_asked.wait()

    def leave(self, call: Call) -> None:
        """The call no longer waits."""
        self.calls.remove(call)
        if not self.calls:
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


async def hold_as_newcomer(call: Call, hold: Hold, deadline: float | None = None) -> HeldCall:
    """Holds the money of a call that has not waited. Where others wait for that of one of its windows, the first of
    them is let through before, if it fits; what the first has no use for yet the new call may take.

    That takes STAND_BACK_SECONDS at most each time, and no longer than until `deadline` (monotonic seconds).
    Raises BudgetExceeded.
    """
    for _ in range(GIVES_WAY_AT_MOST):
        await _let_the_first_look(call, deadline)
        held = await hold(call)
        if not _first_could_have_had(held):
            return held
        await drive_async(release(held, datetime.now(UTC)))
    return await hold(call)


async def hold_in_turn(
    call: Call, refusal: BudgetExceeded, until: float, hold: Hold, is_wanted: Callable[[], bool] = lambda: True
) -> HeldCall:
    """Holds the refused call once it is the first in line and would fit. A call of another process, or one that wants
    less, may be quicker then: the place in line stays.

    Raises the last refusal when `until` (monotonic seconds) came first, or what was held has been spent, or the call
    is wanted no more.
    """
    bound = refusal.decision.bound
    assert bound is not None, "a refusal names its budget"
    async with _place_in_line(_key_of(bound.matched), call, until) as line:
        while line is not None and await _should_try(line, call, until, is_wanted):
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


async def _let_the_first_look(call: Call, deadline: float | None) -> None:
    if not _lines:
        return
    seconds = STAND_BACK_SECONDS if deadline is None else min(STAND_BACK_SECONDS, deadline - time.monotonic())
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            for matched in match_budgets(tenant_budgets(call.tenant_id), call.scopes(), call.now):
                line = _lines.get(_key_of(matched))
                if line is not None:
                    await line.stand_back()


def _first_could_have_had(held: HeldCall) -> bool:
    """Whether there was room for the first in one of the lines when the money was held: it came free after its look."""
    if not _lines:
        return False
    for matched, count in zip(held.matched, held.decision.counts, strict=True):
        line = _lines.get(_key_of(matched))
        if line is not None and has_room(matched.line, count, line.calls[0].estimated_nano_usd):
            return True
    return False


async def _should_try(line: _Line, call: Call, until: float, is_wanted: Callable[[], bool]) -> bool:
    """Looks until the call would fit, or what was held for others has been spent, so that it is refused at once; False
    when `until` came first, or nobody wants it any more."""
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            while is_wanted():
                if await line.first_looks(replace(call, now=datetime.now(UTC))) != "held":
                    return is_wanted()
                await line.pause()
            return False
    except TimeoutError:
        return False


@asynccontextmanager
async def _place_in_line(key: _LineKey, call: Call, until: float) -> AsyncIterator[_Line | None]:
    """The line once it is this call's turn, None where `until` came before; the next turn comes when the block ends."""
    line = _lines.setdefault(key, _Line())
    line.calls.append(call)
    is_first = False
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                is_first = await line.turn.acquire()
        yield line if is_first else None
    finally:
        if is_first:
            line.turn.release()
        line.leave(call)
        if not line.calls:
            del _lines[key]
