"""Is this process alive, and can it do its work? Answered at the door, before Django and the planes.

GET /healthz: alive, touches nothing. GET /readyz: 200 when the database answers, else 503. A Redis
that does not answer is told, but spending goes on through the database, so it does not make us unready.
"""

from __future__ import annotations

import json
import math

import redis
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import close_old_connections

from spendhub.bounded_postgres import bounded_waits
from spendhub.processes import snapshots_age_seconds
from spendhub.snapshots import POLL_SECONDS, SnapshotVersion

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
DATABASE_SECONDS = 2.0
# An edit must be in force everywhere within 2 s; a poller this late can no longer promise it.
MAX_SNAPSHOT_AGE_SECONDS = 20 * POLL_SECONDS


def readiness() -> tuple[bool, dict[str, str]]:
    """Whether requests can be served, and what each thing we depend on says. Blocks on I/O."""
    report = {"database": _database_says(), "counters": _counters_say(), "snapshots": _snapshots_say()}
    is_ready = report["database"] == "ok" and report["snapshots"] == "ok"
    return is_ready, report


def _database_says() -> str:
    close_old_connections()
    try:
        with bounded_waits(DATABASE_SECONDS):
            SnapshotVersion.objects.exists()
    except DatabaseProblem as error:
        return f"does not answer: {type(error).__name__}"
    finally:
        close_old_connections()
    return "ok"


def _counters_say() -> str:
    if not settings.REDIS_URL:
        return "ok (database)"
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError as error:
        return f"Redis does not answer ({type(error).__name__}); the database counts meanwhile"
    finally:
        client.close()
    return "ok (redis)"


def _snapshots_say() -> str:
    age = snapshots_age_seconds()
    if age is not None and age > MAX_SNAPSHOT_AGE_SECONDS:
        return "not read yet" if age == math.inf else f"{age:.0f} s old"
    return "ok"


def health_answer(path: str) -> tuple[int, bytes]:
    """Status and JSON body for one of HEALTH_PATHS."""
    if path == "/healthz":
        return 200, b'{"status": "alive"}'
    is_ready, report = readiness()
    body = {"status": "ready" if is_ready else "not ready", **report}
    return (200 if is_ready else 503), json.dumps(body).encode()
