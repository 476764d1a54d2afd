"""Brakes on the way of a call: refused where its caller is paused, counted where the same is asked again and again.

A tenant without brakes pays one dict lookup. Repeats are counted per process, or in Redis for all of them where it is
configured; a window begins with the first of its requests. docs/brakes.md is the page.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django_redis import get_redis_connection
from redis.exceptions import RedisError

from budgets.counters.drive import drive_async
from spendhub.gateway.canonical import canonical_body, canonical_last_turn, digest_of
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Headers, header_text, pause_while_wanted
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal
from telemetry.brake_stops import Seen, stop_calls
from telemetry.brakes import (
    BRAKES,
    PAUSE,
    SLOW,
    BrakeFacts,
    CallPaused,
    Scope,
    StopFacts,
    TenantBrakes,
    scope_of_call,
)

logger = logging.getLogger(__name__)

MAX_SLOW_SECONDS = 10.0
MAX_COUNTS = 100_000
# After Redis has failed it is left alone for a while: a call must not wait for it again and again.
REDIS_PAUSE_SECONDS = 5.0

_LAST_TURN = "last-turn"


class Counts:
    """How often each key was met in its window: in this process, and bounded."""

    def __init__(self, most: int = MAX_COUNTS) -> None:
        self._most = most
        self._found: dict[str, tuple[int, float]] = {}  # count, end of the window
        self._lock = threading.Lock()

    def add(self, key: str, within_seconds: int, now: float) -> int:
        """One more; how many there are in the window, which begins with its first."""
        with self._lock:
            count, ends_at = self._found.get(key, (0, 0.0))
            if now >= ends_at:
                if key not in self._found and len(self._found) >= self._most:
                    self._make_room(now)
                count, ends_at = 0, now + within_seconds
            self._found[key] = (count + 1, ends_at)
            return count + 1

    def _make_room(self, now: float) -> None:
        self._found = {key: found for key, found in self._found.items() if now < found[1]}
        if len(self._found) >= self._most:
            # The oldest half goes: a loop is met again at once, and counted anew.
            self._found = dict(list(self._found.items())[self._most // 2 :])

    def forget(self) -> None:
        """Drops everything. For tests."""
        self._found.clear()


COUNTS = Counts()
_redis_rests_until = 0.0


@dataclass(frozen=True, slots=True)
class _CallSeen:
    """One call as brakes look at it."""

    tenant_id: int
    request: CallRequest
    who: Attribution
    api_key: str
    now: datetime


async def apply_brakes(
    principal: Principal, request: CallRequest, who: Attribution, client_left: Callable[[], Coroutine[Any, Any, None]]
) -> Headers:
    """Lets a call pass, at once or slowly; gives the warnings that its answer carries.

    Raises CallPaused; ClientLeft once `client_left` returns while the call is slowed."""
    brakes = BRAKES.current().get(principal.tenant_id)
    if brakes is None:
        return []
    call = _CallSeen(principal.tenant_id, request, who, principal.key_prefix, datetime.now(UTC))
    acting = list(brakes.stops_for(who, call.api_key, call.now))
    for stop in acting:
        if stop.action == PAUSE:
            raise CallPaused(stop, call.now)
    for brake in brakes.counting:
        braked = await _count(brake, brakes, call)
        if braked is not None:
            acting.append(braked)
    slow_seconds = max((stop.slow_seconds for stop in acting if stop.action == SLOW), default=0)
    if slow_seconds:
        await pause_while_wanted(min(float(slow_seconds), MAX_SLOW_SECONDS), client_left)
    return [(b"x-spendhub-warning", _warning(stop)) for stop in acting]


def is_held_up(principal: Principal, who: Attribution) -> bool:
    """Whether a brake pauses or slows such calls now. Nothing is counted: for calls that we make ourselves."""
    brakes = BRAKES.current().get(principal.tenant_id)
    if brakes is None:
        return False
    stops = brakes.stops_for(who, principal.key_prefix, datetime.now(UTC))
    return any(stop.action in (PAUSE, SLOW) for stop in stops)


def repeat_key(tenant_id: int, brake: BrakeFacts, scope: Scope, resumed: str, request: CallRequest) -> str:
    """What is counted: the same request, of the same scope, since the scope was last resumed."""
    canonical: Callable[[dict[str, object]], bytes] = (
        canonical_last_turn if brake.compares == _LAST_TURN else canonical_body
    )
    parts = (str(brake.id), *scope, resumed, request.wire, request.model, canonical(request.body))
    # The braces keep one tenant's keys together in a Redis Cluster.
    return f"spendhub:brake:{{{tenant_id}}}:{digest_of(parts).hex()}"


async def _count(brake: BrakeFacts, brakes: TenantBrakes, call: _CallSeen) -> StopFacts | None:
    """Counts the call; what the brake does about it, None below its limit. Raises CallPaused."""
    scope = scope_of_call(brake.scope_type, call.who, call.api_key)
    if scope is None:
        return None
    resumed = brakes.resumed.get((brake.id, scope), "")
    key = repeat_key(call.tenant_id, brake, scope, resumed, call.request)
    count = await _add(key, brake.within_seconds)
    if count <= brake.repeats:
        return None
    reason = f"the same request {count} times within {brake.within_seconds} s"
    stop = StopFacts(None, brake.name, scope, brake.action, reason, _end_of(brake, call.now), brake.slow_seconds)
    if brake.action == PAUSE:
        # What is on record holds everywhere; where it could not be recorded this call is refused all the same.
        raise CallPaused(await _recorded(stop, brake, call) or stop, call.now)
    if count == brake.repeats + 1:
        await _recorded(stop, brake, call)
    return stop


async def _recorded(stop: StopFacts, brake: BrakeFacts, call: _CallSeen) -> StopFacts | None:
    return await drive_async(stop_calls(Seen(call.tenant_id, brake.id, stop.scope, "repeats", stop.reason, call.now)))


async def _add(key: str, within_seconds: int) -> int:
    global _redis_rests_until
    if settings.REDIS_URL and time.monotonic() >= _redis_rests_until:
        try:
            return await asyncio.to_thread(_add_in_redis, key, within_seconds)
        except RedisError as error:
            logger.warning("brakes count in this process for a while: %s", error)
            _redis_rests_until = time.monotonic() + REDIS_PAUSE_SECONDS
    return COUNTS.add(key, within_seconds, time.monotonic())


def _add_in_redis(key: str, within_seconds: int) -> int:
    pipeline = get_redis_connection("default").pipeline(transaction=True)
    pipeline.set(key, 0, ex=within_seconds, nx=True)
    pipeline.incr(key)
    return int(pipeline.execute()[1])


def _end_of(brake: BrakeFacts, now: datetime) -> datetime | None:
    return None if brake.pause_seconds is None else now + timedelta(seconds=brake.pause_seconds)


def _warning(stop: StopFacts) -> bytes:
    return header_text(f"brake {stop.brake_name!r}: {stop.action} ({stop.reason})")
