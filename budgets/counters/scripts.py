"""Runs the Lua scripts from threads, and knows their texts.

Every script takes the server's run id as its first argument. The runner puts it there, for each
connection anew: a server that was restarted or failed over has another one, and the scripts then
see that what they remember is not complete.
"""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from budgets.counters.base import CounterStoreDown
from spendhub.steps import RunScript

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64

_FOLDER = Path(__file__).parent / "lua"


class Script(NamedTuple):
    """One Lua script: its text, and the SHA-1 it is called by once the server knows it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script lua/<name>.lua."""
    text = (_FOLDER / f"{name}.lua").read_text()
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def all_scripts() -> tuple[Script, ...]:
    """Every script there is."""
    return tuple(script(file.stem) for file in sorted(_FOLDER.glob("*.lua")))


def run_id_of(info: Any) -> str:
    """The run id in the answer to INFO, as bytes or already as a dict."""
    if isinstance(info, dict):
        return str(info.get("run_id", ""))
    for line in bytes(info).splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode()
    return ""


class RedisScripts:
    """Runs scripts over a pool of connections that threads share."""

    def __init__(self, url: str) -> None:
        # A socket file's connections know no keepalive, and refuse to hear of it.
        keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=settings.REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
            socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
            **keepalive,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def run_script(self, step: RunScript) -> Any:
        """The script's result, as Redis gave it. Raises CounterStoreDown."""
        try:
            try:
                return self._run(step)
            except redis.TimeoutError:
                raise
            except redis.ConnectionError:
                # A pooled connection to a server that was restarted since. Scripts may be repeated.
                return self._run(step)
        except (redis.RedisError, OSError) as error:
            logger.warning("Redis did not run %s: %s", step.name, error)
            raise CounterStoreDown("the counter store does not answer") from error

    def _run(self, step: RunScript) -> Any:
        source = script(step.name)
        connection = self._pool.get_connection()
        try:
            run_id = self._run_id(connection)
            rest = (len(step.keys), *step.keys, run_id, *step.args)
            connection.send_command("EVALSHA", source.sha, *rest)
            try:
                return connection.read_response()
            except redis.exceptions.NoScriptError:
                connection.send_command("EVAL", source.text, *rest)
                return connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:
            # Whatever comes next on this connection would be another question's answer.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    @staticmethod
    def _run_id(connection: Any) -> str:
        # Kept beside the socket it belongs to: a reconnect makes a new socket, and asks again.
        known = getattr(connection, "spendhub_run_id", None)
        if known is None or known[0] is not connection._sock or connection._sock is None:
            connection.connect()
            connection.send_command("INFO", "server")
            known = (connection._sock, run_id_of(connection.read_response()))
            connection.spendhub_run_id = known
        return str(known[1])

    def ping(self) -> None:
        """Asks for the least there is. Raises CounterStoreDown."""
        self.run_script(RunScript("marked", ["spendhub:ping"], []))

    def close(self) -> None:
        """Closes the connections."""
        self._pool.disconnect()
