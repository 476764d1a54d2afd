"""Installations of their own for races between processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import PROJECT, Valkey, clean_environment, die_with_parent

_SETUP = """
import django; django.setup()
import datetime, json, sys
from budgets.models import Budget
from spendhub.tenants.models import Tenant
tenant = Tenant.objects.create(name="Acme", slug="acme")
moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
budgets = [
    Budget.objects.create(tenant=tenant, name=f"Budget {n}", scope_type="user", scope_key=f"key-{n}",
                          limit_nano_usd=1, counts_from=moment)
    for n in range(10)
]
print(json.dumps([tenant.pk, [str(budget.pk) for budget in budgets]]))
"""


class Installation:
    """A migrated database with acme and ten budgets, and processes that race in it."""

    def __init__(self, directory: Path, database_url: str, redis_url: str) -> None:
        self.env = clean_environment() | {
            "SPENDHUB_VAR_DIR": str(directory),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "spendhub.settings",
            "PYTHONPATH": str(PROJECT),
            "SPENDHUB_LOG_LEVEL": "ERROR",
        }
        self._run("manage.py", "migrate", "--verbosity", "0")
        self.tenant_id, self.budget_ids = json.loads(self._run("-c", _SETUP))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=PROJECT, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def race(self, processes: int, **task: Any) -> list[Any]:
        """Starts the processes, lets them go at once, and gives all they report."""
        with Race(self, processes, task) as race:
            race.go()
            return race.results()

    def lines(self, budgets: int, cap: int) -> list[Any]:
        # A day around now, as the caller would have cut it; a key that no race before this one has used.
        start = int(time.time()) // 86_400 * 86_400
        key = uuid.uuid4().hex
        return [[self.budget_ids[n], key, start, start + 86_400, cap, True] for n in range(budgets)]


class Race:
    def __init__(self, installation: Installation, processes: int, task: dict[str, Any]) -> None:
        told = json.dumps({"tenant_id": installation.tenant_id, "amount": 3, **task})
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.races.reserver", told],
                cwd=PROJECT,
                env=installation.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=die_with_parent,
            )
            for _ in range(processes)
        ]

    def go(self) -> None:
        for process in self._processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        self._tell("go\n")

    def has_held_since(self, moment: float) -> bool:
        """Whether something that takes turns was held, and ended, that began after `moment` (monotonic seconds)."""
        self._tell("latest\n")
        latest = 0.0
        for process in self._processes:
            assert process.stdout is not None
            latest = max(latest, float(process.stdout.readline()))
        return latest > moment

    def end(self) -> None:
        """Tells those who take turns that it is enough."""
        self._tell("enough\n")

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()

    def results(self) -> list[Any]:
        found: list[Any] = []
        for process in self._processes:
            assert process.stdout is not None
            found += json.loads(process.stdout.readline())
        return found

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres", "postgres+valkey"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """SpendHub on each combination of stores there is. Races share it: each has windows of its own."""
    directory = tmp_path_factory.mktemp("race")
    if request.param == "sqlite":
        yield Installation(directory, f"sqlite:///{directory / 'races.sqlite3'}", "")
        return
    server_url = request.getfixturevalue("postgres_server_url")
    name = f"race_{uuid.uuid4().hex}"
    database_url = f"{server_url.rsplit('/', 1)[0]}/{name}"
    valkey = Valkey(directory / "valkey").start() if request.param.endswith("valkey") else None
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield Installation(directory, database_url, valkey.url if valkey else "")
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    if valkey is not None:
        valkey.stop()
