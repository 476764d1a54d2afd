"""Breakers of several processes tell each other what has changed, through one hash in Redis.

Once a second each process writes its own changes and takes over newer ones. Without Redis each process
learns by itself. A Redis that does not answer changes nothing: breakers are advice, not money.
"""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import msgspec
import redis
from django.conf import settings
from django_redis import get_redis_connection

from routing.breakers import BREAKERS, Breakers, State
from routing.probe_claims import PROBE_CLAIMS

logger = logging.getLogger(__name__)

HASH = "spendhub:breakers"
# What nobody has touched for so long says nothing any more.
KEEP_SECONDS = 86_400


def share_breakers(breakers: Breakers = BREAKERS) -> None:
    """Hears from the others, and tells them; looks after the claims on probes."""
    if not settings.REDIS_URL:
        return
    try:
        client = get_redis_connection("default")
        exchange_states(breakers, client)
        PROBE_CLAIMS.look_after(client, time.time())
    except (redis.RedisError, OSError) as error:
        logger.debug("breakers are not shared: %s", error)


def exchange_states(breakers: Breakers, client: Any) -> None:
    """One exchange over an open connection: hears what is newer there, and tells what is newer here.

    An older word that overwrites a newer one in between is put right by whoever knows better, a second later.
    Tolerated: a probe that succeeds elsewhere within that second undoes an opening by hand; the page shows it, and
    one opens it again.
    """
    heard_at: dict[str, float] = {}
    for name, stored in client.hgetall(HASH).items():
        key = name.decode()
        state, changed_at, is_forced, failures = msgspec.json.decode(stored)
        heard_at[key] = changed_at
        breakers.adopt(key, cast(State, state), changed_at, is_forced=is_forced, failures=failures)
    news = {
        key: msgspec.json.encode([circuit.state, circuit.changed_at, circuit.is_forced, circuit.failures])
        for key, circuit in breakers.standing().items()
        if circuit.changed_at > heard_at.get(key, 0.0)
    }
    if news:
        client.hset(HASH, mapping=news)
        client.expire(HASH, KEEP_SECONDS)
