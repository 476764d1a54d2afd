"""One SpendHub for the whole folder: each test is a user of its own, so none sees another one's money."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import redis

from tests.gateway.served import Served, serve
from tests.prepared import copy_prepared_postgres
from tests.settings import TEST_DATABASE, TEST_DIR, valkey_address


@contextmanager
def running_spendhub(*arguments: str, valkey_number: int, **env: str) -> Iterator[Served]:
    """A SpendHub on empty stores of the session's kind: SQLite alone, or PostgreSQL and Valkey.

    Servers that run at the same time need different `valkey_number`s, 0 to 5.
    """
    name = f"gateway_{uuid.uuid4().hex}"
    directory = TEST_DIR / name
    if TEST_DATABASE != "postgres":
        with serve(directory, *arguments, **env) as served:
            yield served
        shutil.rmtree(directory, ignore_errors=True)
        return
    address = os.environ["SPENDHUB_TEST_POSTGRES_URL"]
    valkey = valkey_address(2 + valkey_number)
    copy_prepared_postgres(address, name)
    with redis.Redis.from_url(valkey) as room:
        # A server that was here before may have left the vendor alone, and this one would heed it.
        room.flushdb()
    with psycopg.connect(address, autocommit=True) as admin:
        try:
            stores = {"DATABASE_URL": f"{address.rsplit('/', 1)[0]}/{name}", "REDIS_URL": valkey}
            # On a machine that is busy with all of these tests an answer may take its time; nobody took Redis away.
            stores["SPENDHUB_REDIS_TIMEOUT_SECONDS"] = "5"
            with serve(directory, *arguments, is_prepared=True, **stores, **env) as served:
                yield served
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with running_spendhub(valkey_number=0) as running:
        yield running


@pytest.fixture
def user() -> str:
    """Somebody nobody has spent for yet."""
    return f"user-{uuid.uuid4().hex}"
