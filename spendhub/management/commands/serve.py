"""`manage.py serve`: the door and the worker under one supervisor."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from routing.configured_models import apply_configured_models
from routing.errors import InvalidCatalog
from spendhub.supervision import Child, Supervisor

# The supervisor's patience goes beyond the server's, which ends its own children first.
EXTRA_STOP_SECONDS = 3


class Command(BaseCommand):
    help = "Serve the API, the gateway and the admin on one port, with the worker beside them. Ctrl-C drains and stops."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument(
            "--host", default=settings.SPENDHUB_HOST, help="Address to listen on; 0.0.0.0 for every one."
        )
        parser.add_argument("--workers", type=int, default=settings.WORKERS, help="Server processes.")
        parser.add_argument("--plane", choices=["all", "data", "web"], default="all", help="data: /v1 alone.")
        parser.add_argument("--no-worker", action="store_true", help="Another machine runs `manage.py worker`.")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, workers = options["host"], options["port"], options["workers"]
        if workers < 1:
            raise CommandError("--workers: at least 1")
        _require_free_port(host, port)
        _require_migrations()
        _apply_configured_models()
        self.check(databases=["default"])
        children = []
        if options["plane"] != "data" and not options["no_worker"]:
            children.append(Child("worker", [sys.executable, "manage.py", "worker"], stop_seconds=15))
        children += _servers(host, port, workers, options["plane"])
        os.chdir(settings.BASE_DIR)
        connection.close()
        what = f"{workers} server process{'es' if workers > 1 else ''}, plane {options['plane']}"

        def when_ready() -> None:
            print(f"SpendHub is ready on {address_to_show(host, port)} ({what}). Ctrl-C stops it.", flush=True)

        supervisor = Supervisor(children, lambda: _is_ready(host, port), when_ready)
        sys.exit(supervisor.run())


def address_to_show(host: str, port: int) -> str:
    """The address at which a browser on this machine finds the server."""
    shown = "localhost" if host in {"127.0.0.1", "0.0.0.0"} else host
    return f"http://{shown}:{port}"


def _servers(host: str, port: int, workers: int, plane: str) -> list[Child]:
    """Where Linux lets several share a port, a server for each process that answers: granian closes the port to all of
    its processes, and waits for those that have calls, when one of them has died twice within seconds."""
    stop_seconds = settings.DRAIN_SECONDS + EXTRA_STOP_SECONDS
    if workers == 1 or sys.platform != "linux":
        return [Child("server", _server_command(host, port, workers, plane), stop_seconds)]
    command = _server_command(host, port, 1, plane)
    return [Child(f"server {number}", command, stop_seconds) for number in range(1, workers + 1)]


def _server_command(host: str, port: int, workers: int, plane: str) -> list[str]:
    targets = {"all": "asgi:application", "data": "asgi:data_plane", "web": "asgi:web_plane"}
    command = [sys.executable, "-m", "granian", "--host", host, "--port", str(port), "--workers", str(workers)]
    command += ["--interface", "asgi", "--loop", "uvloop"]
    # Without the kill timeout a client that dropped its connection can keep a worker from ending at all.
    command += ["--workers-kill-timeout", str(settings.DRAIN_SECONDS), "--respawn-failed-workers"]
    command += ["--respawn-interval", "0.5", "--backlog", "2048", "--backpressure", "2048"]
    return [*command, "--no-access-log", "--no-ws", "--log-level", "warning", f"spendhub.{targets[plane]}"]


def _require_free_port(host: str, port: int) -> None:
    if not 1 <= port <= 65_535:
        raise CommandError(f"--port: {port} is no port (1 to 65535)")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}; try --port") from None


def _require_migrations() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("the database is not up to date; run `manage.py migrate` first")


def _apply_configured_models() -> None:
    try:
        for line in apply_configured_models(settings.ROUTER_CONFIG_MODELS, timezone.now()):
            print(line, flush=True)
    except InvalidCatalog as error:
        raise CommandError(error.message) from None


def _is_ready(host: str, port: int) -> bool:
    address = "127.0.0.1" if host == "0.0.0.0" else host
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/readyz", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ready")
    except (OSError, urllib.error.URLError, ValueError):
        return False
