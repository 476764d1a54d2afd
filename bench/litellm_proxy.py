"""LiteLLM's proxy as another side of the gateway benchmark, in a virtual environment of its own.

It is installed into var/bench-litellm on first use, is never imported by the product and is no dependency of it.
Its database needs Prisma's query engine, a binary that neither pip nor npm carries but their installers download from
elsewhere. Where that works (or PRISMA_QUERY_ENGINE_BINARY names one), the key and its budget live in PostgreSQL.
Where it does not, LiteLLM runs with Redis and without a database, and a key with a budget comes from
its `custom_auth` hook: less work than with a database, which the row's name says.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.stage import clean_environment, die_with_parent, free_port, wait_until
from tests.servers import PROJECT, Postgres, Valkey, stop_process

VERSION = "1.108.7"
HOME = PROJECT / "var" / "bench-litellm"
PACKAGES = (f"litellm[proxy]=={VERSION}", "prisma==0.15.0")
MASTER_KEY = "sk-bench-master"
START_SECONDS = 120
INSTALL_SECONDS = 900
GENERATE_SECONDS = 120

# What LiteLLM asks about each key where it has no database to ask: a key with one budget.
CUSTOM_AUTH = """\
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, user_id="ada", max_budget=1_000_000.0, spend=0.0, budget_duration="30d")
"""


@dataclass(frozen=True, slots=True)
class LiteLLM:
    """A running proxy with a key that has one budget; `name` says what it ran with."""

    name: str
    url: str
    key: str
    pid: int


@contextlib.contextmanager
def litellm_proxy(upstream: str, postgres: Postgres, valkey: Valkey) -> Iterator[LiteLLM]:
    """Starts one worker in front of `upstream`, with Redis and, where it can be had, its database."""
    python = _installed()
    directory = HOME / "run"
    directory.mkdir(exist_ok=True)
    (directory / "bench_auth.py").write_text(CUSTOM_AUTH)
    env = _environment(python)
    has_database = _has_database_client(python, env)
    if has_database:
        env["DATABASE_URL"] = _own_database(postgres)
    port = free_port()
    # JSON is YAML.
    config = directory / "config.yaml"
    config.write_text(json.dumps(_config(upstream, valkey.port, has_database=has_database)))
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    log = directory / "proxy.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, "--num_workers", "1"],
            cwd=directory, env=env, stdout=output, stderr=output, preexec_fn=die_with_parent,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_ready(child, url, log), START_SECONDS, f"LiteLLM on port {port}, see {log}")
        key = _key_with_budget(url) if has_database else "sk-bench-key"
        name = f"LiteLLM {VERSION}, " + ("database, Redis, key budget" if has_database else "Redis, NO DATABASE")
        yield LiteLLM(name, url, key, child.pid)
    finally:
        stop_process(child, 15)


def _config(upstream: str, redis_port: int, *, has_database: bool) -> dict[str, object]:
    redis = {"type": "redis", "host": "127.0.0.1", "port": redis_port}
    general: dict[str, object] = {"master_key": MASTER_KEY}
    if not has_database:
        general |= {"custom_auth": "bench_auth.user_api_key_auth", "custom_auth_run_common_checks": True}
    return {
        "model_list": [
            {
                "model_name": "gpt-5-mini",
                "litellm_params": {"model": "openai/gpt-5-mini", "api_base": upstream, "api_key": "bench"},
            }
        ],
        "router_settings": {"redis_host": "127.0.0.1", "redis_port": redis_port},
        # Redis for its counts; no call is answered from a cache.
        "litellm_settings": {
            "cache": True,
            "cache_params": {**redis, "supported_call_types": []},
            "telemetry": False,
            "drop_params": True,
        },
        "general_settings": general,
    }


def _installed() -> Path:
    """The python of LiteLLM's own environment, made on first use."""
    python = HOME / "venv" / "bin" / "python"
    stamp = HOME / f"installed-{VERSION}"
    if not stamp.exists():
        print(f"installing LiteLLM {VERSION} into {HOME}, which takes a minute or two", file=sys.stderr, flush=True)
        HOME.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(HOME / "venv")], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True, timeout=INSTALL_SECONDS)
        stamp.touch()
    return python


def _environment(python: Path) -> dict[str, str]:
    (HOME / "home").mkdir(exist_ok=True)
    return clean_environment() | {
        "HOME": str(HOME / "home"),
        "PATH": f"{python.parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(HOME / "run"),
        "PRISMA_BINARY_CACHE_DIR": str(HOME / "prisma-cache"),
        "PRISMA_USE_GLOBAL_NODE": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
    }


def _has_database_client(python: Path, env: dict[str, str]) -> bool:
    """Whether Prisma's client and engine can be made here; tried once, the answer is kept."""
    known = HOME / "database-client"
    if not known.exists():
        found = subprocess.run(
            [str(python), "-c", "import litellm.proxy, os; print(os.path.dirname(litellm.proxy.__file__))"],
            env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        schema = Path(found.stdout.strip().splitlines()[-1]) / "schema.prisma"
        try:
            made = subprocess.run(
                [str(python.parent / "prisma"), "generate", "--schema", str(schema)],
                env=env | {"DATABASE_URL": "postgresql://unused"},
                capture_output=True,
                text=True,
                timeout=GENERATE_SECONDS,
            )
            known.write_text("yes" if made.returncode == 0 else f"no: {made.stdout[-500:]}{made.stderr[-500:]}")
        except subprocess.TimeoutExpired:
            known.write_text(f"no: `prisma generate` took more than {GENERATE_SECONDS} s")
    answer = known.read_text()
    if answer != "yes":
        print(f"LiteLLM without its database, {answer.strip()}", file=sys.stderr, flush=True)
    return answer == "yes"


def _own_database(postgres: Postgres) -> str:
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE litellm")
    return postgres.url.replace("postgres://", "postgresql://").rpartition("/")[0] + "/litellm"


def _key_with_budget(url: str) -> str:
    made = httpx.post(
        f"{url}/key/generate",
        headers={"authorization": f"Bearer {MASTER_KEY}"},
        json={"max_budget": 1_000_000, "budget_duration": "30d", "models": ["gpt-5-mini"]},
        timeout=30,
    )
    made.raise_for_status()
    return str(made.json()["key"])


def _is_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if child.poll() is not None:
        raise RuntimeError(f"LiteLLM ended by itself:\n{log.read_text(errors='replace')[-2000:]}")
    try:
        return httpx.get(f"{url}/health/liveliness", timeout=5).status_code == 200
    except httpx.TransportError:
        time.sleep(0.2)
        return False
