"""PostgreSQL and Valkey of each test's own, to be killed at will, and a SpendHub on them with two web workers."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator

import pytest

from tests.faults.under_load import Books
from tests.gateway.served import serve
from tests.prepared import copy_prepared_cluster
from tests.servers import Postgres, Valkey
from tests.settings import TEST_DIR


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own with SpendHub's tables in it."""
    directory = TEST_DIR / f"postgres-{uuid.uuid4().hex}"
    server = copy_prepared_cluster(directory).start()
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def books(postgres: Postgres, valkey: Valkey) -> Iterator[Books]:
    directory = TEST_DIR / f"faults-{uuid.uuid4().hex}"
    env = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "SPENDHUB_CALL_HOLD_SECONDS": "5"}
    with serve(directory, "--workers", "2", is_prepared=True, **env) as served:
        yield Books(served, postgres, valkey)
    shutil.rmtree(directory, ignore_errors=True)
