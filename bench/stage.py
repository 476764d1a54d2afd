"""The stage of a benchmark: real PostgreSQL and Valkey, SpendHub with a tenant and budgets, all stopped at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import PROJECT, Postgres, SpendHub, Valkey, clean_environment, die_with_parent, free_port, wait_until

RESULTS = PROJECT / "bench" / "results"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running SpendHub with a key of one tenant."""

    server: SpendHub
    key: str
    postgres: Postgres
    valkey: Valkey

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def define_budgets(self, count: int, *, limit: str = "1000000") -> None:
        """Puts `count` generous budgets on the tenant and on what the benchmark's calls are for."""
        scopes = [(kind, key) for kind, key in (("tenant", "*"), ("user", "*"), ("feature", "*"), ("agent", "*"))]
        wanted = [(*scope, period) for period in ("month", "day", "hour") for scope in scopes][:count]
        for scope_type, scope_key, period in wanted:
            made = httpx.post(
                f"{self.server.url}/api/v1/budgets",
                headers=self.headers,
                json={
                    "name": f"{scope_type} {period}",
                    "scope_type": scope_type,
                    "scope_key": scope_key,
                    "limit": limit,
                    "period": period,
                },
                follow_redirects=True,
            )
            made.raise_for_status()
        # In force everywhere within two seconds.
        time.sleep(2.5)


@contextlib.contextmanager
def stage(*arguments: str, **env: str) -> Iterator[Stage]:
    """Starts everything with empty databases; `arguments` go to `manage.py serve`."""
    directory = Path(tempfile.mkdtemp(prefix="spendhub-bench-"))
    directory.chmod(0o755)
    postgres, valkey = Postgres(directory / "postgres", durable=True), Valkey(directory / "valkey")
    server: SpendHub | None = None
    try:
        postgres.start()
        valkey.start()
        env = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, **env}
        server = SpendHub(directory / "serve", env, arguments)
        server.directory.mkdir(parents=True)
        server.manage("migrate", "--verbosity", "0")
        server.manage("catalog", "update")
        if "BENCH_UPSTREAM" in env:
            server.manage(
                "provider", "set", "openai", "--dialect", "openai", "--base-url", env["BENCH_UPSTREAM"],
                "--api-key-env", "BENCH_VENDOR_KEY",
            )  # fmt: skip
        key = server.manage("tenant", "create", "Bench").strip().splitlines()[-1]
        server.start_without_migrating()
        yield Stage(server, key, postgres, valkey)
    finally:
        if server is not None and server._process is not None:
            server.stop()
        valkey.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def process(*command: str, port: int, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a helper process until the block ends; it must listen on `port`."""
    child = subprocess.Popen(
        [sys.executable, *command], cwd=PROJECT, env=clean_environment() | env, preexec_fn=die_with_parent
    )
    try:
        wait_until(lambda: _listens(port), 15, f"{command} on port {port}")
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def report(name: str, rows: Sequence[dict[str, object]]) -> None:
    """Prints the rows as a table and as JSON, and keeps the JSON in bench/results/<name>.json."""
    columns = list(rows[0])
    widths = [max(len(column), *(len(_cell(row[column])) for row in rows)) for column in columns]
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for row in rows:
        print("  ".join(_cell(row[column]).ljust(width) for column, width in zip(columns, widths, strict=True)))
    machine = {"cpus": os.cpu_count(), "python": sys.version.split()[0]}
    text = json.dumps({"bench": name, "machine": machine, "rows": list(rows)}, indent=1)
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def _cell(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


__all__ = [
    "Stage",
    "clean_environment",
    "die_with_parent",
    "free_port",
    "median",
    "process",
    "report",
    "stage",
    "wait_until",
]
