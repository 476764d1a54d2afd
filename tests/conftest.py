"""What every test stands on: real servers for the session, a clean slate for each test.

A bare `pytest` runs on SQLite without Redis; SPENDHUB_TEST_DATABASE=postgres runs on PostgreSQL and
Valkey. Tests that commit in other threads (the ledger writer) say
`pytestmark = pytest.mark.django_db(transaction=True)`.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from django.utils import timezone
from hypothesis import HealthCheck, settings

from spendhub.snapshots import Snapshot
from tests.servers import Postgres, ServerDidNotStart, SpendHub, Valkey
from tests.settings import TEST_DATABASE, TEST_DIR, valkey_address

# An example says nothing of time, and a machine that pauses for a moment must not make one fail.
settings.register_profile("spendhub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spendhub")

_started: dict[str, Postgres | Valkey] = {}


def _start(kind: type[Postgres] | type[Valkey], url_name: str) -> str:
    """The address of the session's server; started on first use by the session's first process."""
    url = os.environ[f"SPENDHUB_TEST_{url_name}_URL"]
    is_xdist_worker = "PYTEST_XDIST_WORKER" in os.environ
    if not is_xdist_worker and url_name not in _started and f"SPENDHUB_TEST_{url_name}_IS_GIVEN" not in os.environ:
        _started[url_name] = kind(TEST_DIR / url_name.lower(), urlsplit(url).port).start()
    return url


def pytest_configure(config: pytest.Config) -> None:
    """Servers that must be there before the first test, or that several processes will share."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    is_shared = bool(config.getoption("numprocesses", default=None))
    try:
        if is_shared or TEST_DATABASE == "postgres":
            _start(Postgres, "POSTGRES")
            _start(Valkey, "VALKEY")
    except ServerDidNotStart as error:
        pytest.exit(str(error), returncode=2)


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    for server in _started.values():
        server.stop()
    shutil.rmtree(TEST_DIR, ignore_errors=True)


# What a test may ask for without touching a store.
_PURE_FIXTURES = {
    "request", "pytestconfig", "django_test_environment", "faker_seed", "tmp_path", "tmp_path_factory", "monkeypatch", "capsys", "caplog", "settings", "subtests",
    "fresh_snapshots", "fresh_counters", "fresh_cache", "django_db_blocker",
}  # fmt: skip
_STORE_MARKERS = ("django_db", "slow", "servers", "browser")


def _is_pure(item: pytest.Item) -> bool:
    if any(item.get_closest_marker(name) for name in _STORE_MARKERS):
        return False
    names = {name for name in getattr(item, "fixturenames", ("unknown",)) if not name.startswith("_")}
    parameters = set(getattr(getattr(item, "callspec", None), "params", {}))
    return names - parameters <= _PURE_FIXTURES


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With SPENDHUB_TEST_STORES_ONLY only tests that touch a store are run: `make test` runs the others once, on SQLite.
    A test that asks for a fixture of its own is taken to touch one."""
    if not os.environ.get("SPENDHUB_TEST_STORES_ONLY"):
        return
    pure = [item for item in items if _is_pure(item)]
    if pure:
        config.hook.pytest_deselected(items=pure)
        items[:] = [item for item in items if not _is_pure(item)]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """As pytest-django's; in the end other threads' connections are closed, or the database could not be dropped."""
    yield
    if TEST_DATABASE != "postgres":
        return
    from django.db import connection

    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        with psycopg.connect(os.environ["SPENDHUB_TEST_POSTGRES_URL"], autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """This moment, at which the clock stands: no day, week or month ends between a test's first line and its last."""
    moment = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return moment


@pytest.fixture(autouse=True)
def fresh_snapshots() -> Iterator[None]:
    """No test sees what another one's process copy held."""
    for snapshot in Snapshot.registry.values():
        snapshot.forget()
    yield
    for snapshot in Snapshot.registry.values():
        snapshot.forget()


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    """No test sees which counter store another one had in charge, nor its calls in flight."""
    from budgets.counters import charge

    charge.forget()
    yield
    charge.forget()


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    """No test sees another one's rate limits (nor, in the Valkey session, its counters: the database is flushed)."""
    from django.core.cache import cache

    cache.clear()
    yield


@pytest.fixture(scope="session")
def valkey_server_url() -> str:
    """The session's Valkey, started; a database of this xdist worker's own."""
    _start(Valkey, "VALKEY")
    return valkey_address(1)


@pytest.fixture
def valkey_url(valkey_server_url: str) -> Iterator[str]:
    """A real Valkey, empty at the start of the test."""
    client = redis.Redis.from_url(valkey_server_url)
    client.flushdb()
    yield valkey_server_url
    client.close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of this test's own, to be killed and restarted at will."""
    server = Valkey(tmp_path / "valkey").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server_url() -> str:
    """The session's PostgreSQL: for those who make databases of their own in it."""
    return _start(Postgres, "POSTGRES")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of an empty database on the session's PostgreSQL, dropped after the test."""
    server_url = _start(Postgres, "POSTGRES")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield f"{server_url.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own that keeps its promises (fsync on), to be killed and restarted at will."""
    directory = TEST_DIR / f"postgres-{uuid.uuid4().hex}"
    server = Postgres(directory, durable=True).start()
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def live_server_process(tmp_path: Path) -> Iterator[Callable[..., SpendHub]]:
    """Starts `manage.py serve` on a free port: `live_server_process("--workers", "2", REDIS_URL=...)`.

    It has a SQLite database of its own unless DATABASE_URL is given, and no Redis unless REDIS_URL
    is. The answer is ready to serve; `.url`, `.pid`, `.log`, `.manage("tenant", "create", "Acme")`.
    """
    running: list[SpendHub] = []

    def start(*arguments: str, **env: str) -> SpendHub:
        server = SpendHub(tmp_path / f"serve-{len(running)}", env, arguments)
        running.append(server)
        return server.start()

    yield start
    for server in running:
        if server._process is not None:
            server.stop()
