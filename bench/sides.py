"""The sides of a gateway benchmark, all serving at the same time on the loopback before the same vendor: the bare
forwarder, SpendHub with its budgets on, and if wanted LiteLLM's proxy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.litellm_proxy import litellm_proxy
from bench.stage import Stage, free_port, process, stage

BARE, SPENDHUB = "bare forwarder", "SpendHub"
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Side:
    """What is asked: its address, what it wants in headers, the process whose CPU (with its children's) counts, and
    by how much fewer requests it is asked, so that a slow side does not take all of the time."""

    name: str
    url: str
    headers: Mapping[str, str]
    pid: int
    fewer: int = 1


@dataclass(frozen=True, slots=True)
class Sides:
    """All sides, and the stage and vendor they share."""

    all: tuple[Side, ...]
    stage: Stage
    vendor_url: str

    def named(self, name: str) -> Side:
        """Raises StopIteration for a name that no side has."""
        return next(side for side in self.all if side.name == name)


def chat_body(*, stream: bool = False, **more: object) -> bytes:
    """A small chat call, as each side understands it."""
    asked = {
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": "Where is my parcel? " * 8}],
        "max_tokens": 100,
        "user": "ada",
        **({"stream": True} if stream else {}),
        **more,
    }
    return json.dumps(asked).encode()


@contextlib.contextmanager
def sides(budgets: int, *, with_litellm: bool = False) -> Iterator[Sides]:
    """Starts vendor, forwarder and SpendHub (one worker each), defines budgets, and stops all at the end."""
    vendor_port, bare_port = free_port(), free_port()
    upstream = f"http://127.0.0.1:{vendor_port}/v1"
    granian = (
        "-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-access-log", "--no-ws",
        "--log-level", "warning", "--host", "127.0.0.1", "--port", str(bare_port), "bench.forwarder:application",
    )  # fmt: skip
    with contextlib.ExitStack() as started:
        started.enter_context(process("-m", "bench.upstream", str(vendor_port), port=vendor_port))
        bare = started.enter_context(process(*granian, port=bare_port, BENCH_UPSTREAM=upstream))
        running = started.enter_context(stage("--workers", "1", BENCH_UPSTREAM=upstream, BENCH_VENDOR_KEY="bench"))
        running.define_budgets(budgets)
        ours = running.headers | {"x-spendhub-feature": "chat", "x-spendhub-agent": "support"}
        found = [
            Side(BARE, f"http://127.0.0.1:{bare_port}{PATH}", {}, bare.pid),
            Side(SPENDHUB, running.server.url + PATH, ours, running.server.pid),
        ]
        if with_litellm:
            theirs = started.enter_context(litellm_proxy(upstream, running.postgres, running.valkey))
            headers = {"authorization": f"Bearer {theirs.key}"}
            found.append(Side(theirs.name, theirs.url + PATH, headers, theirs.pid, fewer=10))
        yield Sides(tuple(found), running, f"http://127.0.0.1:{vendor_port}")
