"""`manage.py check --database default` tells an operator, by name, what is wrong with the installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import Error as DatabaseProblem
from django.db import connections

# Below it HSET with several fields, scripts with flags and LMOVE are missing.
OLDEST_REDIS = (6, 2)


@register(Tags.database)
def check_sqlite_journal(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """spendhub.E001: SQLite must be in WAL, or readers and the ledger writer block each other."""
    if "default" not in (databases or ()) or connections["default"].vendor != "sqlite":
        return []
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            (mode,) = cursor.fetchone()
    except DatabaseProblem as error:
        return [Error(f"SQLite cannot be opened: {error}", hint="See DATABASE_URL.", id="spendhub.E002")]
    if mode != "wal":
        hint = "Put the database on a local disk; network file systems cannot do WAL."
        return [Error(f"SQLite's journal mode is {mode}, not wal.", hint=hint, id="spendhub.E001")]
    return []


@register(Tags.database)
def check_postgres_answers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """spendhub.E002 when PostgreSQL does not answer; spendhub.W003 when it may lose what it has confirmed."""
    if "default" not in (databases or ()) or connections["default"].vendor != "postgresql":
        return []
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            fsync, synchronous_commit = cursor.fetchone()
    except DatabaseProblem as error:
        text = f"PostgreSQL does not answer: {str(error).splitlines()[0]}"
        return [Error(text, hint="See DATABASE_URL.", id="spendhub.E002")]
    if fsync == "off" or synchronous_commit == "off":
        hint = "Set fsync and synchronous_commit to on: an accepted record must survive a power cut."
        return [Warning("PostgreSQL confirms writes before they are on disk.", hint=hint, id="spendhub.W003")]
    return []


@register(Tags.database)
def check_redis(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """spendhub.W001: Redis does not answer. W002: it may throw counters away. E003: it is too old."""
    if "default" not in (databases or ()) or not settings.REDIS_URL:
        return []
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)
    try:
        server = client.info("server")
        policy = client.info("memory").get("maxmemory_policy", "unknown")
    except redis.RedisError as error:
        hint = "Budgets are enforced through the database until it answers. See REDIS_URL."
        return [Warning(f"Redis does not answer: {error}", hint=hint, id="spendhub.W001")]
    finally:
        client.close()
    messages: list[CheckMessage] = []
    version = str(server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        hint = "Use Valkey, or Redis 6.2 or later."
        messages.append(Error(f"Redis {version} is too old.", hint=hint, id="spendhub.E003"))
    if policy != "noeviction":
        hint = "Set maxmemory-policy to noeviction. Evicted counters are reloaded exactly, but holds may be lost."
        messages.append(Warning(f"Redis's maxmemory-policy is {policy}.", hint=hint, id="spendhub.W002"))
    return messages


@register(Tags.security, deploy=True)
def check_addresses(**kwargs: Any) -> list[CheckMessage]:
    """spendhub.W004: any host name is answered."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "Set SPENDHUB_ALLOWED_HOSTS to your host names."
    return [Warning("Requests for any host name are answered.", hint=hint, id="spendhub.W004")]
