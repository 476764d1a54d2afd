"""The door: how SpendHub starts, refuses to start, answers, drains and stops."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from django.test import Client, override_settings

from spendhub.management.commands.serve import Command as Serve
from tests.servers import PROJECT, SpendHub, Valkey, clean_environment, free_port, wait_until

StartServer = Callable[..., SpendHub]

# Of a form that Django reads before it refuses it, 403: what its body says is no token.
HEAD_OF_A_FORM = (
    "POST /admin/login/ HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-www-form-urlencoded\r\n"
    f"cookie: csrftoken={'a' * 32}\r\ncontent-length: 50\r\nexpect: 100-continue\r\n\r\n"
).encode()


def start_with(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` in a clean environment with these variables."""
    environment = clean_environment() | {"SPENDHUB_VAR_DIR": str(tmp_path)} | env
    command = [sys.executable, "manage.py", "check"]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DATABASE_URL", "mysql://db/x", "unknown kind 'mysql'"),
        ("REDIS_URL", "localhost:6379", "expected redis://host:6379/0"),
        ("DEFAULT_DAILY_BUDGET", "-5", "0 USD or more"),
        ("TENANT_BUDGETS", '{"acme": "much"}', "acme: 'much' is not a number"),
        ("SPENDHUB_CALL_HOLD_SECONDS", "soon", "no whole number from 5 to 3600"),
        ("PORT", "abc", "no whole number from 1 to 65535"),
        ("WORKERS", "0", "no whole number from 1 to 1000"),
        ("SPENDHUB_HOST", "spend.example.com", "no IPv4 address"),
        ("SPENDHUB_TRUSTED_ORIGINS", "spend.example.com", "no origin such as https://spend.example.com"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    done = start_with(tmp_path, **{name: value})
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"spendhub: {name}: ")
    assert said in line


def test_a_password_in_a_wrong_address_is_not_printed(tmp_path: Path) -> None:
    done = start_with(tmp_path, DATABASE_URL="postgres://ada:s3cret@db:99999/x")
    assert done.returncode == 1
    assert "s3cret" not in done.stderr


def test_the_secret_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    for _ in range(2):
        assert start_with(tmp_path).returncode == 0
    file = tmp_path / "secret_key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().strip()) >= 50
    assert [path.name for path in tmp_path.iterdir() if "secret" in path.name] == ["secret_key"]


def serve_options(*given: str) -> dict[str, object]:
    return vars(Serve().create_parser("manage.py", "serve").parse_args(given))


def test_serve_takes_what_it_is_not_told_from_the_environment() -> None:
    with override_settings(SPENDHUB_HOST="127.0.0.2", PORT=9000, WORKERS=3):
        told = serve_options()
    assert (told["host"], told["port"], told["workers"]) == ("127.0.0.2", 9000, 3)
    told = serve_options("--host", "127.0.0.3", "--port", "9001", "--workers", "4")
    assert (told["host"], told["port"], told["workers"]) == ("127.0.0.3", 9001, 4)


def test_the_bare_address_leads_to_the_admin() -> None:
    answer = Client().get("/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")


def test_serve_refuses_a_database_that_was_not_migrated(tmp_path: Path) -> None:
    environment = clean_environment() | {"SPENDHUB_VAR_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", "serve", "--port", str(free_port())]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "run `manage.py migrate` first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.servers
def test_the_door_sends_each_address_to_its_plane(live_server_process: StartServer) -> None:
    server = live_server_process()
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "alive"}
    ready = httpx.get(f"{server.url}/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "database": "ok", "counters": "ok (database)", "snapshots": "ok"}
    assert httpx.get(f"{server.url}/admin/").headers["location"].startswith("/admin/login/")
    # The data plane answers in the dialect of the SDK that calls it, not in Django's HTML.
    assert "text/html" not in httpx.get(f"{server.url}/v1/nothing").headers["content-type"]
    second = subprocess.run(
        [sys.executable, "manage.py", "serve", "--port", str(server.port)],
        cwd=PROJECT,
        env=server.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in second.stderr
    assert server.stop() == 0
    assert server.log.count("SpendHub is ready on") == 1


@pytest.mark.servers
@pytest.mark.parametrize(("plane", "admin", "gateway"), [("data", 404, 401), ("web", 302, 404)])
def test_one_plane_can_be_served_alone(live_server_process: StartServer, plane: str, admin: int, gateway: int) -> None:
    server = live_server_process("--plane", plane)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert httpx.get(f"{server.url}/admin/").status_code == admin
    assert httpx.get(f"{server.url}/v1/models").status_code == gateway


@pytest.mark.servers
@pytest.mark.parametrize("plane", ["all", "web"])
def test_half_sent_forms_of_strangers_leave_the_admin_and_the_api_to_everybody_else(
    live_server_process: StartServer, plane: str
) -> None:
    server = live_server_process("--plane", plane)
    with contextlib.ExitStack() as callers:
        # Three times as many as there are threads.
        half_sent = [
            callers.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(24)
        ]
        for caller in half_sent:
            caller.sendall(HEAD_OF_A_FORM)
            assert caller.recv(100).startswith(b"HTTP/1.1 100 ")  # its body is being read
            caller.sendall(b"a")
        assert httpx.get(f"{server.url}/admin/", timeout=20).status_code == 302
        assert httpx.get(f"{server.url}/api/v1/budgets", timeout=20).status_code == 401
        # They are waited for all the same.
        half_sent[0].sendall(b"a" * 49)
        assert half_sent[0].recv(100).startswith(b"HTTP/1.1 403 ")


@pytest.mark.servers
def test_strangers_who_read_nothing_leave_the_admin_and_the_api_to_everybody_else(
    live_server_process: StartServer, tmp_path: Path
) -> None:
    style = tmp_path / "serve-0" / "static" / "large.css"
    style.parent.mkdir(parents=True)
    style.write_bytes(b"a" * 3_906_825)  # as large as the largest of ours
    server = live_server_process()
    with contextlib.ExitStack() as callers:
        # Three times as many as there are threads.
        for _ in range(24):
            caller = callers.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # As on a network: of the loopback's large segments the system itself takes megabytes.
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
            caller.connect(("127.0.0.1", server.port))
            caller.sendall(b"GET /static/large.css HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert caller.recv(100).startswith(b"HTTP/1.1 200 ")
        assert httpx.get(f"{server.url}/admin/", timeout=20).status_code == 302
        assert httpx.get(f"{server.url}/api/v1/budgets", timeout=20).status_code == 401


@pytest.mark.servers
@pytest.mark.parametrize(("proxies", "scheme"), [("1", "https"), ("0", "http")])
def test_a_proxy_of_ours_that_ends_tls_is_believed_and_a_strangers_word_is_not(
    live_server_process: StartServer, proxies: str, scheme: str
) -> None:
    server = live_server_process(SPENDHUB_TRUSTED_PROXIES=proxies)
    server.manage("catalog", "update")
    key = server.manage("tenant", "create", "Acme").splitlines()[-1]
    headers = {"Authorization": f"Bearer {key}", "Host": "spend.example.com", "X-Forwarded-Proto": "https"}
    models = f"{server.url}/api/v1/models?limit=1"
    # Another process made the key: the server hears of it a moment later.
    wait_until(lambda: httpx.get(models, headers=headers, timeout=20).status_code == 200, 20, "the key to be known")
    answer = httpx.get(models, headers=headers, timeout=20)
    assert answer.json()["next"].startswith(f"{scheme}://spend.example.com/api/v1/models?"), answer.text


@pytest.mark.servers
def test_a_killed_process_is_started_again(live_server_process: StartServer) -> None:
    server = live_server_process("--workers", "2")
    # A process that ends before that has failed to start, and then nothing is served at all.
    wait_until(lambda: "SpendHub is ready on" in server.log, 20, "the supervisor to see that all have started")
    size = len(_family(server))
    # One of the server's own, which are the youngest, and the worker beside it, which is the oldest.
    for chosen in (max, min):
        victim = chosen(_family(server), key=lambda process: process.create_time())
        victim.kill()
        wait_until(lambda victim=victim: not _lives(victim), 60, "the process to die")
        wait_until(lambda: len(_family(server)) == size and _answers(server), 60, "all processes are back")


@pytest.mark.servers
def test_a_process_that_dies_again_and_again_leaves_the_port_to_the_others(live_server_process: StartServer) -> None:
    server = live_server_process("--workers", "2")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(HEAD_OF_A_FORM)
        assert caller.recv(100).startswith(b"HTTP/1.1 100 ")
        kept = server.process_at(caller.getsockname()[1])
        for _ in range(3):
            wait_until(lambda: len(server.serving_processes()) == 2, 60, "the other process to be started again")
            [other] = set(server.serving_processes()) - {kept}
            os.kill(other, signal.SIGKILL)
            wait_until(lambda other=other: other not in server.serving_processes(), 60, "the process to die")
        wait_until(lambda: len(server.serving_processes()) == 2, 60, "the other process to be started again")
        assert kept in server.serving_processes()
        caller.sendall(b"a" * 50)
        assert caller.recv(100).startswith(b"HTTP/1.1 403 ")
    assert _answers(server)
    # One that is told to stop before it has come so far may not hear it.
    wait_until(lambda: all(_listens_at(pid, server.port) for pid in server.serving_processes()), 60, "both to serve")


@pytest.mark.servers
def test_children_die_with_a_killed_supervisor(live_server_process: StartServer) -> None:
    server = live_server_process()
    family = _family(server)
    assert len(family) == 3  # the worker, the server, and the server's own worker
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not any(process.is_running() for process in family), 20, "every child has ended")


@pytest.mark.servers
def test_redis_that_does_not_answer_is_told_and_does_not_stop_the_service(
    live_server_process: StartServer, valkey: Valkey
) -> None:
    server = live_server_process(REDIS_URL=valkey.url)
    assert httpx.get(f"{server.url}/readyz").json()["counters"] == "ok (redis)"
    valkey.kill()
    ready = httpx.get(f"{server.url}/readyz", timeout=10)
    assert ready.status_code == 200
    assert "the database counts meanwhile" in ready.json()["counters"]


@pytest.mark.servers
def test_a_stop_lets_requests_in_flight_finish(live_server_process: StartServer) -> None:
    server = live_server_process()
    key = server.manage("tenant", "create", "Acme").splitlines()[-1]
    headers = {"authorization": f"Bearer {key}"}
    # Another process made it: the server hears of it a moment later.
    wait_until(
        lambda: httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200, 20, "the key to be known"
    )
    body = b'{"attribution": {"user": "ada"}}'
    head = (
        f"POST /api/v1/check HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    exit_codes: list[int] = []
    stopping = threading.Thread(target=lambda: exit_codes.append(server.stop()))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as caller:
        caller.sendall(head.encode())
        # Said when somebody begins to read the body: from then on the request is in flight.
        assert caller.recv(100).startswith(b"HTTP/1.1 100 ")
        stopping.start()
        wait_until(lambda: not _listens(server), 20, "the server to be stopping")
        caller.sendall(body)
        assert caller.recv(100).startswith(b"HTTP/1.1 200 ")
    stopping.join()
    assert exit_codes == [0]


def _listens(server: SpendHub) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return False
    return True


def _listens_at(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections("tcp4")
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def _answers(server: SpendHub) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _family(server: SpendHub) -> list[psutil.Process]:
    return [process for process in psutil.Process(server.pid).children(recursive=True) if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
