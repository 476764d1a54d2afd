"""PostgreSQL and Redis over socket files, as on one machine: all that uses them works there too."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.served import Served, serve
from tests.prepared import copy_prepared_cluster
from tests.servers import Valkey
from tests.settings import TEST_DIR

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def sockets() -> Iterator[Path]:
    # The name of a socket may have 107 bytes, and other users' servers write into it.
    directory = Path(tempfile.mkdtemp(prefix="spendhub-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def served_over_sockets(sockets: Path) -> Iterator[Served]:
    directory = TEST_DIR / f"sockets-{uuid.uuid4().hex}"
    postgres, valkey = copy_prepared_cluster(directory / "postgres"), Valkey(directory / "valkey")
    postgres.socket_directory, valkey.socket_file = sockets, sockets / "valkey"
    postgres.start()
    valkey.start()
    env = {
        "DATABASE_URL": f"postgres://spendhub@localhost:{postgres.port}/postgres?host={sockets}",
        "REDIS_URL": f"unix://{valkey.socket_file}",
    }
    with serve(directory / "serve", is_prepared=True, **env) as served:
        yield served
    valkey.stop()
    postgres.stop()
    shutil.rmtree(directory, ignore_errors=True)


def test_calls_are_checked_answered_and_booked_over_socket_files(served_over_sockets: Served) -> None:
    served = served_over_sockets
    ready = httpx.get(f"{served.server.url}/readyz", timeout=30).json()
    assert (ready["status"], ready["counters"]) == ("ready", "ok (redis)")
    budget = served.define_budget("ada", "0.001")
    assert [served.ask("[in:100] [out:20]", user="ada", max_tokens=20).status_code for _ in range(3)] == [200, 200, 402]
    reserved = served.native("POST", "reservations", json={"attribution": {"user": "ben"}, "estimated_cost": "0.01"})
    served.native("POST", f"reservations/{reserved['id']}/release")
    assert served.ledger(budget) == 800_000
    assert "ERROR" not in served.server.log
