"""A migrated database with the catalog in it, made once per test process and copied for each server that needs one."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from tests.servers import Postgres, SpendHub
from tests.settings import TEST_DIR

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def copy_prepared_sqlite(to: Path) -> None:
    """Puts a prepared SQLite file at `to`."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_prepared_sqlite(), to)


def copy_prepared_postgres(admin_url: str, name: str) -> None:
    """Makes the database `name` on the session's PostgreSQL, prepared."""
    template = _prepared_postgres(admin_url)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


@functools.cache
def _prepared_sqlite() -> Path:
    directory = TEST_DIR / f"prepared-{_WORKER}"
    _prepare(directory, {})
    return directory / "spendhub.sqlite3"


@functools.cache
def _prepared_postgres(admin_url: str) -> str:
    name = f"prepared_{_WORKER}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {name}")
    _prepare(TEST_DIR / f"prepared-{_WORKER}", {"DATABASE_URL": f"{admin_url.rsplit('/', 1)[0]}/{name}"})
    return name


def _prepare(directory: Path, env: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    server = SpendHub(directory, env)
    server.manage("migrate", "--verbosity", "0")
    server.manage("catalog", "update")


def copy_prepared_cluster(to: Path) -> Postgres:
    """A PostgreSQL of one's own in the directory `to`, durable and prepared, not started yet."""
    to.mkdir(parents=True)
    # As it is, owners included: PostgreSQL runs as another user where the tests run as root.
    subprocess.run(["cp", "-a", str(_prepared_cluster() / "data"), str(to / "data")], check=True)
    return Postgres(to, durable=True)


@functools.cache
def _prepared_cluster() -> Path:
    directory = TEST_DIR / f"prepared-cluster-{_WORKER}"
    server = Postgres(directory, durable=True).start()
    _prepare(TEST_DIR / f"prepared-{_WORKER}", {"DATABASE_URL": server.url})
    server.stop()
    return directory
