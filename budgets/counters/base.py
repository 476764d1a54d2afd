"""The contract of a counter store: what is spent and what is held, per window, in one atomic step.

Two stores keep it: Redis (`redis.py`) and the database (`database.py`). Both pass the same tests.
Every method is a journey (see spendhub.steps), so that the data plane, Django views and the worker
share one body. All methods are idempotent: repeating one changes nothing more.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from spendhub.errors import Unavailable
from spendhub.steps import Journey

HoldKind = Literal["call", "reservation"]


class CounterStoreDown(Unavailable):
    """The counter store does not answer; another one takes over within seconds."""

    code = "counter_store_down"


class CountersChangingHands(Unavailable):
    """Counters are moving from one store to another, or coming back from lost memory: try again shortly."""

    code = "counters_changing_hands"


class MemoryLost(Exception):
    """Redis answers, but its memory is not the one this epoch was opened in (flushed, restarted, failed over)."""


class NotInCharge(Exception):
    """Another store or epoch is in charge by now; look who, and try there."""


class CounterLine(NamedTuple):
    """One window a call counts in, with the limit it came with.

    `starts_at` and `ends_at` are epoch seconds; `total` windows start at 0 and have no end.
    `hard_nano_usd` is limit (raises included) x hard cap. A line that is not enforced is counted
    and reported but never refuses.
    """

    budget_id: uuid.UUID
    scope_key: str
    starts_at: int
    ends_at: int | None
    hard_nano_usd: int
    is_enforced: bool


class Lines(tuple[CounterLine, ...]):
    """The lines of one caller's calls, remembered from call to call; a store keeps beside them what it
    would work out of them each time (names of keys, caps, their JSON)."""

    prepared: dict[Any, Any]

    def __new__(cls, lines: Sequence[CounterLine]) -> Lines:
        made = super().__new__(cls, lines)
        made.prepared = {}
        return made


class Count(NamedTuple):
    """One window as it stands: what is spent (resets taken off) and what is held, in nano_usd."""

    spend_nano_usd: int
    reserved_nano_usd: int


class WindowTotal(NamedTuple):
    """A window's absolute spend (resets taken off) after a commit; the higher version is the newer."""

    budget_id: uuid.UUID
    scope_key: str
    starts_at: int
    ends_at: int | None
    spend_nano_usd: int
    version: int


class Hold(msgspec.Struct, frozen=True):
    """Money held for one call in all its windows.

    A hold of kind `reservation` ends by itself at `expires_at` (epoch seconds). One of kind `call`
    stays until it is settled: when its owner stops extending it, the worker books it as interrupted.
    `payload` is JSON-able: what is needed to book the call when its process is gone.
    """

    tenant_id: int
    hold_id: uuid.UUID
    kind: HoldKind
    lines: tuple[CounterLine, ...]
    amount_nano_usd: int
    expires_at: float
    payload: Mapping[str, Any]


class Reserved(NamedTuple):
    """The answer of one reserve: whether it was held, and each line's count before it, in the lines' order."""

    is_held: bool
    counts: tuple[Count, ...]


def has_room(line: CounterLine, count: Count, amount_nano_usd: int) -> bool:
    """The one rule of fit, in Python and in reserve.lua: reaching the cap exactly is allowed,
    but where nothing at all is left even a free call is stopped."""
    used = count.spend_nano_usd + count.reserved_nano_usd
    return used < line.hard_nano_usd and used + amount_nano_usd <= line.hard_nano_usd


class CounterStore(Protocol):
    """What both stores can do. `now` is epoch seconds."""

    def look(self, tenant_id: int, lines: Sequence[CounterLine], now: float) -> Journey[tuple[Count, ...]]:
        """Each line's count; lapsed reservations no longer count. Holds nothing."""
        ...

    def reserve(self, hold: Hold, now: float) -> Journey[Reserved]:
        """Holds the amount in every line, or in none when an enforced line has no room.
        A hold id that is held already is answered as held and not held twice."""
        ...

    def settle(self, hold: Hold, totals: Sequence[WindowTotal], now: float) -> Journey[None]:
        """Takes the totals (where newer) and ends the hold, in one step. Also releases: totals are then empty."""
        ...

    def publish(self, tenant_id: int, totals: Sequence[WindowTotal]) -> Journey[None]:
        """Takes the totals where they are newer than what is known."""
        ...

    def extend(self, holds: Sequence[Hold], expires_at: float) -> Journey[None]:
        """Moves the end of live holds of one tenant."""
        ...

    def restore(self, holds: Sequence[Hold], now: float) -> Journey[None]:
        """Puts holds of one tenant back without asking for room: after lost memory, or from the other store."""
        ...

    def orphans(self, tenant_id: int, now: float) -> Journey[tuple[Hold, ...]]:
        """Holds of kind `call` whose owner no longer extends them, with their payload; they stay held
        until settled."""
        ...
