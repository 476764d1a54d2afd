"""Counters in Redis (or Valkey): every question is one Lua script, one round trip.

One instance stands for one epoch; the epoch is part of every key, so that what an earlier one has
left behind is never seen. All keys of a tenant carry its id as hash tag.

    {7}:41:open                    this memory is complete for tenant 7 in epoch 41
    {7}:41:w:<start>               the windows that start then: s... spend, v... version, r... reserved of
                                   "<budget>:<key>"; a window without its s is cold
    {7}:41:h:<hold>                a hold: "<amount>|<json>"
    {7}:41:calls, ...:reservations ends of holds: hold id by the moment it ends
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from budgets import ledger
from budgets.counters.base import (
    Count,
    CounterLine,
    CounterStoreDown,
    Hold,
    HoldKind,
    Lines,
    MemoryLost,
    Reserved,
    WindowTotal,
)
from spendhub.steps import CallInThread, Journey, RunScript

# A window is kept this long after its end, for late commits and reports.
KEEP_WINDOW_SECONDS = 86_400
# A hold that nobody settles is taken out by the next reserve of its tenant or by the worker; this is
# only so that tenants who never come back leave nothing behind for ever.
KEEP_HOLD_SECONDS = 30 * 86_400
# How often cold windows are loaded for one question before we say that memory does not keep them.
ATTEMPTS = 6
SWEEP_BATCH = 100


class _StoredHold(msgspec.Struct, array_like=True):
    """What is kept of a hold besides its amount."""

    kind: str
    expires_at: float
    lines: list[tuple[uuid.UUID, str, int, int | None, int, bool]]
    payload: dict[str, Any]


class _Prepared(NamedTuple):
    """The windows of a reserve as the script takes them, and the order in which it answers."""

    keys: list[str]
    args: list[str | int | bytes]
    order: list[int]


# When a window starts, and its name in the scripts.
_WindowName = tuple[int, str]


class _Named(NamedTuple):
    """A hold's lines by their names, and the name of each window (budget, key, start)."""

    lines: Mapping[_WindowName, CounterLine]
    names: Mapping[tuple[uuid.UUID, str, int], str]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_StoredHold).decode


class RedisCounters:
    """The counter store in Redis, for one epoch. Raises MemoryLost when Redis has forgotten it."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        # Tenants this process has seen complete in this epoch: if one is not any more, memory was lost.
        self._seen_open: set[int] = set()

    # --- keys --------------------------------------------------------------------------------------
    @property
    def _epoch_marker(self) -> str:
        return f"spendhub:{self.epoch}:open"

    def _prefix(self, tenant_id: int) -> str:
        return f"{{{tenant_id}}}:{self.epoch}:"

    # --- the contract ------------------------------------------------------------------------------
    def look(self, tenant_id: int, lines: Sequence[CounterLine], now: float) -> Journey[tuple[Count, ...]]:
        if not lines:
            return ()
        prefix = self._prefix(tenant_id)
        keys = [prefix + "open", prefix + "reservations"]
        args: list[str | int | bytes] = [repr(now)]
        groups = _by_start(lines)
        for starts_at, positions in groups.items():
            keys.append(f"{prefix}w:{starts_at}")
            args.append(len(positions))
            args += [_name(lines[position]) for position in positions]
        order = _order(groups)
        answer = yield from self._ask(RunScript("look", keys, args), tenant_id, lines, order, now)
        return _counts(answer, order)

    def reserve(self, hold: Hold, now: float) -> Journey[Reserved]:
        prefix = self._prefix(hold.tenant_id)
        hold_id = hold.hold_id.hex
        keys = [prefix + "open", f"{prefix}h:{hold_id}", prefix + _ends(hold.kind), prefix + "reservations"]
        args: list[str | int | bytes] = [
            repr(now),
            hold_id,
            hold.amount_nano_usd,
            repr(hold.expires_at),
            _stored(hold),
            KEEP_HOLD_SECONDS,
        ]
        prepared = self._prepare(hold.tenant_id, hold.lines)
        keys += prepared.keys
        args += prepared.args
        order = prepared.order
        answer = yield from self._ask(RunScript("reserve", keys, args), hold.tenant_id, hold.lines, order, now)
        return Reserved(answer[0] == b"held", _counts(answer, order))

    def _prepare(self, tenant_id: int, lines: Sequence[CounterLine]) -> _Prepared:
        """The part of a reserve that is the same for every call of one caller: worked out once where that is known."""
        remembered = lines.prepared if isinstance(lines, Lines) else {}
        found = remembered.get(self.epoch)
        if found is None:
            prefix = self._prefix(tenant_id)
            groups = _by_start(lines)
            args: list[str | int | bytes] = []
            for positions in groups.values():
                args.append(len(positions))
                for position in positions:
                    line = lines[position]
                    args += [_name(line), line.hard_nano_usd if line.is_enforced else "-"]
            keys = [f"{prefix}w:{starts_at}" for starts_at in groups]
            found = remembered[self.epoch] = _Prepared(keys, args, _order(groups))
        return found

    def settle(self, hold: Hold, totals: Sequence[WindowTotal], now: float) -> Journey[None]:
        yield from self._end(hold.tenant_id, hold.hold_id.hex, hold.kind, hold.lines, totals, now)

    def publish(self, tenant_id: int, totals: Sequence[WindowTotal]) -> Journey[None]:
        if totals:
            yield from self._end(tenant_id, "", "call", (), totals, time.time())

    def extend(self, holds: Sequence[Hold], expires_at: float) -> Journey[None]:
        if holds:
            prefix = self._prefix(holds[0].tenant_id)
            ids = [hold.hold_id.hex for hold in holds]
            yield RunScript("extend", [prefix + "calls", prefix + "reservations"], [repr(expires_at), *ids])

    def restore(self, holds: Sequence[Hold], now: float) -> Journey[None]:
        for hold in holds:
            if hold.kind == "reservation" and hold.expires_at <= now:
                continue
            prefix = self._prefix(hold.tenant_id)
            hold_id = hold.hold_id.hex
            keys = [f"{prefix}h:{hold_id}", prefix + _ends(hold.kind)]
            args: list[str | int | bytes] = [hold_id, hold.amount_nano_usd, repr(hold.expires_at), _stored(hold)]
            args.append(KEEP_HOLD_SECONDS)
            for starts_at, positions in _by_start(hold.lines).items():
                lines = [hold.lines[position] for position in positions]
                keys.append(f"{prefix}w:{starts_at}")
                args += [len(lines), _seconds_to_keep(lines, now), *map(_name, lines)]
            yield RunScript("restore", keys, args)

    def orphans(self, tenant_id: int, now: float) -> Journey[tuple[Hold, ...]]:
        ids = yield RunScript("ended", [self._prefix(tenant_id) + "calls"], [repr(now), SWEEP_BATCH])
        return (yield from self._read(tenant_id, ids, "call", now))

    # --- beyond the contract -----------------------------------------------------------------------
    def sweep(self, tenant_id: int, now: float) -> Journey[int]:
        """Takes out reservations that have ended by themselves; the next reserve would do so too."""
        ids = yield RunScript("ended", [self._prefix(tenant_id) + "reservations"], [repr(now), SWEEP_BATCH])
        yield from self._end_lapsed(tenant_id, ids, now)
        return len(ids)

    def open_epoch(self) -> Journey[None]:
        """Says that from now on this memory counts: its absence later means that it was lost."""
        yield RunScript("mark", [self._epoch_marker], [])

    def is_epoch_open(self) -> Journey[bool]:
        """Whether this memory is the one in which the epoch was opened."""
        return bool((yield RunScript("marked", [self._epoch_marker], [])))

    # --- what the scripts ask for -------------------------------------------------------------------
    def _ask(
        self, step: RunScript, tenant_id: int, lines: Sequence[CounterLine], order: Sequence[int], now: float
    ) -> Journey[Any]:
        attempts = ATTEMPTS
        while attempts:
            was_open = tenant_id in self._seen_open
            answer = yield step
            word = answer[0]
            if word == b"lapsed":
                yield from self._end_lapsed(tenant_id, answer[1:], now)
                continue
            attempts -= 1
            if word == b"cold":
                yield from self._load(tenant_id, [lines[order[int(index) - 1]] for index in answer[1:]], now)
            elif word == b"lost":
                if was_open:
                    raise MemoryLost(f"epoch {self.epoch}: tenant {tenant_id} is gone from memory")
                yield from self._open_tenant(tenant_id, now)
            else:
                self._seen_open.add(tenant_id)
                return answer
        raise CounterStoreDown("Redis does not keep what is loaded into it; is its memory full?")

    def _load(self, tenant_id: int, lines: Sequence[CounterLine], now: float) -> Journey[None]:
        totals = yield CallInThread(ledger.read_totals, (tenant_id, lines))
        yield from self._end(tenant_id, "", "call", (), totals, now)

    def _open_tenant(self, tenant_id: int, now: float) -> Journey[None]:
        if not (yield from self.is_epoch_open()):
            raise MemoryLost(f"epoch {self.epoch} is gone from memory")
        # First use of this tenant in this epoch: what it holds over the API is known to the database.
        open_holds = yield CallInThread(ledger.live_reservations, (tenant_id, now))
        yield from self.restore(open_holds, now)
        yield from self._release_settled(tenant_id, open_holds, now)
        yield RunScript("mark", [self._prefix(tenant_id) + "open"], [])

    def _release_settled(self, tenant_id: int, holds: Sequence[Hold], now: float) -> Journey[None]:
        """Ends those that were settled between being read and being restored."""
        if not holds:
            return
        still_open = yield CallInThread(ledger.live_reservations, (tenant_id, now))
        open_ids = {hold.hold_id for hold in still_open}
        for hold in holds:
            if hold.hold_id not in open_ids:
                yield from self.settle(hold, (), now)

    def _end_lapsed(self, tenant_id: int, ids: Sequence[bytes], now: float) -> Journey[None]:
        for hold in (yield from self._read(tenant_id, ids, "reservation", now)):
            yield from self._end(tenant_id, hold.hold_id.hex, "reservation", hold.lines, (), now, ended_by=now)

    def _read(self, tenant_id: int, ids: Sequence[bytes], kind: HoldKind, now: float) -> Journey[tuple[Hold, ...]]:
        if not ids:
            return ()
        prefix = self._prefix(tenant_id)
        found: list[Hold] = []
        stored = yield RunScript("stored", [f"{prefix}h:{hold_id.decode()}" for hold_id in ids], [])
        for hold_id, text in zip(ids, stored, strict=True):
            if text is None:  # ended by another process meanwhile; its end must not stay behind
                yield from self._end(tenant_id, hold_id.decode(), kind, (), (), now, ended_by=now)
            else:
                found.append(_from_stored(tenant_id, hold_id, text))
        return tuple(found)

    def _end(
        self,
        tenant_id: int,
        hold_id: str,
        kind: HoldKind,
        lines: Sequence[CounterLine],
        totals: Sequence[WindowTotal],
        now: float,
        ended_by: float | None = None,
    ) -> Journey[None]:
        prefix = self._prefix(tenant_id)
        keys = [prefix + "open", f"{prefix}h:{hold_id}", prefix + _ends(kind)]
        args: list[str | int | bytes] = [hold_id, "" if ended_by is None else repr(ended_by)]
        held, names_of = _named(lines)
        told: dict[_WindowName, WindowTotal] = {}
        for total in totals:
            told[total[2], names_of.get(total[:3]) or _name(total)] = total
        groups: dict[int, list[_WindowName]] = {}
        for window_name in (*held, *(each for each in told if each not in held)):
            groups.setdefault(window_name[0], []).append(window_name)
        for starts_at, members in groups.items():
            windows = [told.get(member) or held[member] for member in members]
            keys.append(f"{prefix}w:{starts_at}")
            args += [len(members), _seconds_to_keep(windows, now)]
            for member in members:
                known = told.get(member)
                args += [member[1], 1 if member in held else 0]
                args += ["", ""] if known is None else [known.spend_nano_usd, known.version]
        yield RunScript("settle", keys, args)


def _ends(kind: HoldKind) -> str:
    return "calls" if kind == "call" else "reservations"


def _name(window: CounterLine | WindowTotal) -> str:
    return f"{window[0].hex}:{window[1]}"


def _by_start(lines: Sequence[CounterLine]) -> dict[int, list[int]]:
    """Positions of lines by the moment their window starts: those of one moment share a hash."""
    groups: dict[int, list[int]] = {}
    for position, line in enumerate(lines):
        groups.setdefault(line[2], []).append(position)
    return groups


def _order(groups: Mapping[int, list[int]]) -> list[int]:
    """The position of each line, in the order in which a script sees them."""
    return [position for positions in groups.values() for position in positions]


def _counts(answer: Sequence[bytes], order: Sequence[int]) -> tuple[Count, ...]:
    counts = list(map(Count, map(int, answer[1::2]), map(int, answer[2::2])))
    if len(order) > 1 and order != list(range(len(order))):
        counts = [count for _, count in sorted(zip(order, counts, strict=True))]
    return tuple(counts)


def _seconds_to_keep(windows: Sequence[CounterLine | WindowTotal], now: float) -> int:
    ends = [window.ends_at for window in windows]
    if None in ends:
        return 0
    return max(0, max(end for end in ends if end is not None) - int(now)) + KEEP_WINDOW_SECONDS


def _named(lines: Sequence[CounterLine]) -> _Named:
    """The lines as the scripts know them: worked out once where they are remembered from call to call."""
    if not isinstance(lines, Lines):
        return _name_all(lines)
    found: _Named | None = lines.prepared.get("named")
    if found is None:
        found = lines.prepared["named"] = _name_all(lines)
    return found


def _name_all(lines: Sequence[CounterLine]) -> _Named:
    names = {line[:3]: _name(line) for line in lines}
    return _Named({(line[2], names[line[:3]]): line for line in lines}, names)


def _stored(hold: Hold) -> bytes:
    lines: Any = hold.lines
    if isinstance(lines, Lines):
        # They are the same for every call of one caller, and most of what is written.
        written = lines.prepared.get("json")
        if written is None:
            written = lines.prepared["json"] = msgspec.Raw(_encode(lines))
        lines = written
    return b"%d|%b" % (hold.amount_nano_usd, _encode([hold.kind, hold.expires_at, lines, hold.payload]))


def _from_stored(tenant_id: int, hold_id: bytes, text: bytes) -> Hold:
    amount, _, rest = text.partition(b"|")
    stored = _decode(rest)
    kind: HoldKind = "call" if stored.kind == "call" else "reservation"
    lines = tuple([CounterLine(*line) for line in stored.lines])
    return Hold(tenant_id, uuid.UUID(hold_id.decode()), kind, lines, int(amount), stored.expires_at, stored.payload)
