"""A real SpendHub with a fake vendor behind it, and its books as they are on disk."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import psycopg
import redis

from tests.fakes.openai_upstream import FakeOpenAI
from tests.prepared import copy_prepared_sqlite
from tests.servers import SpendHub, wait_until

# USD per million tokens, so that a test can do its sums: 1 token in is 2,000 nano_usd, 1 out is 10,000.
INPUT_NANO_USD, OUTPUT_NANO_USD = 2_000, 10_000


def configured_models(base_url: str) -> str:
    """ROUTER_CONFIG_MODELS: `vendor-chat`, and `vendor-out`, whose input is free, so that it costs what was held."""
    common = {"provider": "vendor", "apiKeyEnv": "VENDOR_KEY", "config": {"baseUrl": base_url}}
    return json.dumps(
        [
            {
                "id": "vendor-chat", "inputCostPerMillion": 2, "outputCostPerMillion": 10,
                "max_output_tokens": 2000, "aliases": ["vendor-alias"], "capabilities": ["general"], **common,
            },
            {"id": "vendor-out", "inputCostPerMillion": 0, "outputCostPerMillion": 10, **common},
            {"id": "vendor-off", "inputCostPerMillion": 2, "outputCostPerMillion": 10, "enabled": False, **common},
            {"id": "vendor-free", **common},
            # The vendor fails on demand for a model of such a name; they are dear, so that `auto` never takes one.
            *(
                {"id": f"fault-{fault}", "inputCostPerMillion": 900, "outputCostPerMillion": 900, **common}
                for fault in ("500", "400", "429", "hang", "error-at-once", "broken-body", "not-json", "html", "error-in-200")
            ),
            # Answers that are reviewed: by models of such names (see tests/fakes/vendor.py), and for the judge.
            *(
                {"id": f"reviewer-{wish}", "inputCostPerMillion": 1000, "outputCostPerMillion": 1000,
                 "capabilities": ["json"], **common}
                for wish in ("0.2", "0.5", "0.8", "0.9", "plain-0.9", "prose", "fault-500", "fault-hang")
            ),
            {"id": "vendor-judge", "inputCostPerMillion": 1000, "outputCostPerMillion": 2000, **common},
            {"id": "fault-503", "inputCostPerMillion": 0, "outputCostPerMillion": 0, **common},
            {"id": "unplugged", "provider": "unplugged", "inputCostPerMillion": 2, "outputCostPerMillion": 10,
             "apiKeyEnv": "NO_SUCH_KEY", "config": {"baseUrl": base_url}},
            {"id": "nobody", "provider": "nobody", "inputCostPerMillion": 2, "outputCostPerMillion": 10,
             "apiKeyEnv": "VENDOR_KEY", "config": {"baseUrl": "http://127.0.0.1:9/v1"}},
        ]
    )  # fmt: skip


# Kept until the session ends: a client that is collected with a connection open warns in whichever test runs then.
_clients: list[openai.OpenAI | openai.AsyncOpenAI] = []


@dataclass(frozen=True)
class Served:
    """One running SpendHub, a key with all permissions, and the vendor it calls."""

    server: SpendHub
    vendor: FakeOpenAI
    key: str

    @property
    def url(self) -> str:
        """Where SDKs are pointed at."""
        return f"{self.server.url}/v1"

    def sdk(self, **options: Any) -> openai.OpenAI:
        """The official client, which asks once and never again."""
        client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=30, **options)
        _clients.append(client)
        return client

    def async_sdk(self, **options: Any) -> openai.AsyncOpenAI:
        """The official client for event loops."""
        client = openai.AsyncOpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=60, **options)
        _clients.append(client)
        return client

    def ask(
        self, text: str = "hello", *, model: str = "vendor-chat", headers: Any = None, **body: Any
    ) -> httpx.Response:
        """One chat completion without an SDK."""
        return httpx.post(
            f"{self.url}/chat/completions",
            headers={"authorization": f"Bearer {self.key}"} | (headers or {}),
            json={"model": model, "messages": [{"role": "user", "content": text}], **body},
            timeout=30,
        )

    @contextmanager
    def client_that_leaves(self, path: str, body: Any, **headers: str) -> Iterator[socket.socket]:
        """One request whose client closes its connection, which is yielded, when the block ends, answered or not."""
        content = json.dumps(body).encode()
        told = {
            "host": "localhost",
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            "content-length": str(len(content)),
        } | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            yield client

    def native(self, method: str, path: str, **options: Any) -> Any:
        """One call of the native API, which must succeed."""
        headers = {"authorization": f"Bearer {self.key}"}
        answered = httpx.request(method, f"{self.server.url}/api/v1/{path}", headers=headers, timeout=30, **options)
        assert answered.is_success, answered.text
        return answered.json() if answered.content else None

    def native_of_a_process(self, method: str, path: str) -> tuple[int, Any]:
        """One call of the native API over a connection of its own, and by which of the server's processes it was
        answered."""
        with httpx.Client(timeout=30) as client:
            headers = {"authorization": f"Bearer {self.key}"}
            answered = client.request(method, f"{self.server.url}/api/v1/{path}", headers=headers)
            assert answered.is_success, answered.text
            # The connection is kept open, and one of the processes has its other end.
            port = answered.extensions["network_stream"].get_extra_info("client_addr")[1]
            return self.server.process_at(port), answered.json()

    def define_provider(self, name: str, api_key_env: str = "VENDOR_KEY", *, dialect: str = "openai") -> None:
        """The vendor once more, under another name and without models."""
        address = ("--base-url", self.vendor.base_url)
        self.server.manage("provider", "set", name, "--dialect", dialect, *address, "--api-key-env", api_key_env)

    def define_model(
        self, name: str, *, price: str = "900", dialect: str = "openai", api_key_env: str = "VENDOR_KEY", **facts: Any
    ) -> None:
        """A model at a provider of its own, at so many USD per million tokens: dear, so that `auto` never takes it in
        other tests."""
        self.define_provider(name, api_key_env, dialect=dialect)
        self.native("POST", "models", json={"provider": name, "name": name, **facts})
        self.native("POST", "prices", json={"model": name, "input": price, "output": price})

    def enter_catalog(self, **content: Any) -> None:
        """Providers, models and routes for everybody, as a catalog file lists them; in force when this returns."""
        path = self.server.directory / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(content), "utf-8")
        self.server.manage("catalog", "update", str(path))
        pause_for_snapshots()

    def define_budget(self, user: str, limit: str, *, period: str = "total", **facts: Any) -> str:
        """A budget for one user (or the scope that `facts` name), in force when this returns; its id. Its window ends
        in no test, unless a `period` is asked for."""
        wanted = {"name": f"{user} per {period}", "scope_type": "user", "scope_key": user, "limit": limit}
        made: str = self.native("POST", "budgets", json={**wanted, "period": period, **facts})["id"]
        # The check is answered by the process that will serve the calls, from the same snapshot.
        asked = {"attribution": {"user": user}, "model": facts.get("scope_key"), "estimated_cost": "0.000000001"}

        def is_in_force() -> bool:
            headers = {"authorization": f"Bearer {self.key}"}
            answered = httpx.post(f"{self.server.url}/api/v1/check", headers=headers, json=asked, timeout=30).json()
            told = answered.get("error", {}).get("details", answered)
            return any(each["id"] == made for each in told.get("budgets", []))

        wait_until(is_in_force, 20, "the budget to be in force")
        return made

    def spans(self, user: str) -> list[dict[str, Any]]:
        """The spans of one user, oldest first, as they are on disk."""
        return self._rows('SELECT * FROM telemetry_costspan WHERE "user" = ? ORDER BY recorded_at, id', user)

    def the_span(self, user: str) -> dict[str, Any]:
        """The only span of one user."""
        found = self.spans(user)
        assert len(found) == 1, found
        return found[0]

    def ledger(self, budget_id: str) -> int:
        """What the ledger says one budget has spent, in nano_usd."""
        return sum(row["spend_nano_usd"] for row in self._of_budget("budgets_budgetwindow", budget_id))

    def stored_vendor_keys(self, provider: str) -> list[bytes]:
        """A provider's keys as they are on disk."""
        sql = "SELECT sealed FROM routing_credential JOIN routing_provider p ON p.id = provider_id WHERE p.name = ?"
        return [bytes(row["sealed"]) for row in self._rows(sql, provider)]

    def asked_of_vendor(self, user: str) -> dict[str, Any]:
        """The last request that the vendor was sent for one user: its path, headers and body."""
        # Calls of other users can still be arriving: the copy stands still.
        return next(each for each in reversed(list(self.vendor.served.requests)) if each["body"].get("user") == user)

    def span_count(self) -> int:
        """How many spans there are in all."""
        return int(self._rows("SELECT count(*) AS n FROM telemetry_costspan")[0]["n"])

    def held(self, user: str, model: str = "vendor-chat") -> str:
        """What is reserved in the user's tightest budget, as the native API tells it."""
        asked = {"attribution": {"user": user}, "model": model, "estimated_cost": "0.000000001"}
        headers = {"authorization": f"Bearer {self.key}"}
        told = httpx.post(f"{self.server.url}/api/v1/check", headers=headers, json=asked, timeout=30).json()
        told = told.get("error", {}).get("details", told)
        return str(max(told["budgets"], key=lambda each: float(each["reserved"]))["reserved"])

    def holds(self) -> dict[str, int]:
        """What is held for calls on their way, in nano_usd by their request ids, as the counter store has it."""
        if not self._is_postgres:
            rows = self._rows("SELECT id, amount_nano_usd FROM budgets_hold")
            return {str(uuid.UUID(row["id"])): row["amount_nano_usd"] for row in rows}
        with redis.Redis.from_url(self.server.env["REDIS_URL"]) as room:
            names = list(room.scan_iter("*:h:*"))
            held = dict(zip(names, room.mget(names) if names else (), strict=True))
        return {
            str(uuid.UUID(name.decode().rpartition(":")[2])): int(hold.partition(b"|")[0])
            for name, hold in held.items()
            if hold is not None  # it ended meanwhile
        }

    def wait_for_spans(self, user: str, count: int, seconds: float = 10) -> list[dict[str, Any]]:
        """The spans of one user once there are `count`."""
        wait_until(lambda: len(self.spans(user)) >= count, seconds, f"{count} spans of {user}")
        return self.spans(user)

    def _of_budget(self, table: str, budget_id: str) -> list[dict[str, Any]]:
        if self._is_postgres:
            return self._rows(f"SELECT * FROM {table} WHERE budget_id = ?::uuid", budget_id)
        return self._rows(f"SELECT * FROM {table} WHERE budget_id = ?", budget_id.replace("-", ""))

    @property
    def _is_postgres(self) -> bool:
        return self.server.env.get("DATABASE_URL", "").startswith("postgres")

    def _rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        if self._is_postgres:
            with psycopg.connect(self.server.env["DATABASE_URL"], autocommit=True) as books:
                cursor = books.execute(sql.replace("?", "%s"), values)
                names = [column.name for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        path = f"file:{self.server.directory}/spendhub.sqlite3?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=20)) as books:
            books.row_factory = sqlite3.Row
            return [dict(row) for row in books.execute(sql, values)]


@contextmanager
def serve(directory: Path, *arguments: str, is_prepared: bool = False, **env: str) -> Iterator[Served]:
    """Starts vendor and SpendHub, and stops both at the end: on a database of its own, or on that of DATABASE_URL,
    which is migrated first unless it `is_prepared` (see tests/prepared.py)."""
    with FakeOpenAI() as vendor:
        # One try, no breaker, nothing learned from other tests, and no end of wrong keys: most are about what one
        # attempt does.
        plain = {
            "SPENDHUB_UPSTREAM_RETRIES": "0",
            "SPENDHUB_BREAKER_FAILURES": "1000000",
            "SPENDHUB_LEARN_OUTPUTS": "false",
            "SPENDHUB_FAILED_AUTHENTICATIONS_PER_MINUTE": "100000",
        }
        env = {"VENDOR_KEY": "sk-vendor", "ROUTER_CONFIG_MODELS": configured_models(vendor.base_url), **plain, **env}
        server = SpendHub(directory, env, arguments)
        if "DATABASE_URL" not in env:
            copy_prepared_sqlite(directory / "spendhub.sqlite3")
        elif not is_prepared:
            server.directory.mkdir(parents=True, exist_ok=True)
            server.manage("migrate", "--verbosity", "0")
            server.manage("catalog", "update")
        key = server.manage("tenant", "create", "Acme").strip().splitlines()[-1]
        server.start_without_migrating(60)
        try:
            yield Served(server, vendor, key)
        finally:
            server.stop()


def on_a_long_day(served: Served) -> tuple[Served, datetime]:
    """The same server for an account of its own whose day goes on for twelve hours at least, and when that ends."""
    now = datetime.now(UTC)
    is_morning = now.hour < 12
    made = served.server.manage(
        "tenant", "create", f"Day of {uuid.uuid4().hex}", "--timezone", "UTC" if is_morning else "Etc/GMT+12"
    )
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    pause_for_snapshots()  # its key is known
    return replace(served, key=made.strip().splitlines()[-1]), midnight + timedelta(hours=24 if is_morning else 36)


def events_of(text: str) -> list[Any]:
    """The data of each event in a stream, decoded; "[DONE]" as it is."""
    found = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [data if data == "[DONE]" else json.loads(data) for data in found]


def json_of(column: Any) -> dict[str, Any]:
    """A JSON column, however the database gives it."""
    found: dict[str, Any] = json.loads(column) if isinstance(column, str) else column
    return found


def metadata_of(span: dict[str, Any]) -> dict[str, Any]:
    """A span's metadata."""
    return json_of(span["metadata"])


def pause_for_snapshots() -> None:
    """An edit is in force everywhere within two seconds. Slept in pieces, so that a machine which stands still
    meanwhile does not let the time pass for nobody."""
    for _ in range(25):
        time.sleep(0.1)
