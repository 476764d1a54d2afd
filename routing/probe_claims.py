"""One process at a time probes a vendor whose breaker lets calls try it again, however many processes run.

A call that would be a probe first claims its breaker in Redis for its process. Once a second the claim is extended
while probes are under way, and given up when the breaker has closed or opened again; the claim of a process that died
ends by itself. All other calls never ask. Without Redis, and while it does not answer, each process probes by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from typing import Any

import redis
from django.conf import settings
from django_redis import get_redis_connection

from routing.breakers import BREAKERS, Breakers, Circuit

logger = logging.getLogger(__name__)

KEY_PREFIX = "spendhub:probing:"
CLAIM_MS = 5_000
# Redis is asked only when it has answered the sharing thread lately, and a call waits no longer than this for it.
ANSWERED_LATELY_SECONDS = 3.0
PATIENCE_SECONDS = 0.25


class ProbeClaims:
    """The claims of one process on the probes of `breakers`. Threads share it; `now` is epoch seconds."""

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers
        self._name = uuid.uuid4().hex
        self._claimed_until: dict[str, float] = {}
        self._redis_answered_at = 0.0

    async def may_probe(self, key: str, now: float) -> bool:
        """Whether a call may be a probe as far as other processes go: no other one has claimed the breaker."""
        if now < self._claimed_until.get(key, 0.0) or now - self._redis_answered_at > ANSWERED_LATELY_SECONDS:
            return True
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.to_thread(self._claim_over_own_connection, key, now)
        except (TimeoutError, redis.RedisError, OSError) as error:
            self._redis_answered_at = 0.0
            logger.debug("%s is probed without a claim: %s", key, error)
            return True

    def claim(self, key: str, client: Any, now: float) -> bool:
        """Claims a breaker for this process; False where another process has it."""
        stored, owner = KEY_PREFIX + key, self._owner
        if not client.set(stored, owner, nx=True, px=CLAIM_MS) and client.get(stored) != owner:
            return False
        self._claimed_until[key] = now + CLAIM_MS / 1000
        return True

    def look_after(self, client: Any, now: float) -> None:
        """Extends the claims whose probes are under way, and ends those whose breaker has decided. That Redis answers
        is remembered.

        Tolerated: a claim that runs out between two commands here is taken from the process that has just made it,
        and one more probes meanwhile.
        """
        standing = self._breakers.standing()
        for key in list(self._claimed_until):
            circuit = standing.get(key, Circuit())
            is_lost = False
            if circuit.state == "half-open" and circuit.in_flight:
                is_lost = not self.claim(key, client, now)
                if not is_lost:
                    client.pexpire(KEY_PREFIX + key, CLAIM_MS)
            elif circuit.state == "closed" or not circuit.admits(now, settings.BREAKER_OPEN_SECONDS):
                is_lost = True
                if client.get(KEY_PREFIX + key) == self._owner:
                    client.delete(KEY_PREFIX + key)
            if is_lost:
                self._claimed_until.pop(key, None)
        self._redis_answered_at = now

    @property
    def _owner(self) -> bytes:
        return f"{self._name}:{os.getpid()}".encode()  # a forked process has its parent's name

    def _claim_over_own_connection(self, key: str, now: float) -> bool:
        return self.claim(key, get_redis_connection("default"), now)


PROBE_CLAIMS = ProbeClaims(BREAKERS)
