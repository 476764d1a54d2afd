"""Bounded loads on the loopback: closed (N callers, each with one open connection, a fixed number of requests) and
open (calls that come at their own rate for a fixed time, whatever becomes of the earlier ones)."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

READY_CONNECTIONS, MAX_CONNECTIONS = 64, 512
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run gave: requests a second, latencies in ms, and every status seen."""

    requests: int
    seconds: float
    latencies_ms: tuple[float, ...]
    statuses: Mapping[int, int]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @staticmethod
    def together(loads: Sequence[Load]) -> Load:
        """Several runs as one."""
        statuses: dict[int, int] = {}
        for load in loads:
            for status, count in load.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        return Load(
            sum(load.requests for load in loads),
            sum(load.seconds for load in loads),
            tuple(latency for load in loads for latency in load.latencies_ms),
            statuses,
        )

    def percentile(self, share: float) -> float:
        return statistics.quantiles(self.latencies_ms, n=1000)[min(998, int(share * 1000) - 1)]


def run_load(url: str, headers: Mapping[str, str], body: bytes, *, callers: int, requests: int) -> Load:
    """Sends `requests` POSTs with `callers` connections and waits for every answer."""
    import uvloop

    return uvloop.run(_run(url, headers, body, callers, requests))


def run_open_load(
    url: str, headers: Mapping[str, str], body: bytes, *, per_second: float, seconds: float, seed: int
) -> Load:
    """Sends POSTs at random moments, `per_second` on average, for `seconds`, and waits for every answer.

    A call that finds no free connection opens one, up to MAX_CONNECTIONS; its time runs from when it was to be sent.
    """
    import uvloop

    return uvloop.run(_run_open(url, headers, body, per_second, seconds, seed))


def request_bytes(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The whole POST. Loads go to the loopback only."""
    parts = urlsplit(url)
    assert parts.hostname in {"127.0.0.1", "localhost"}, "loads go to the loopback only"
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


async def _run(url: str, headers: Mapping[str, str], body: bytes, callers: int, requests: int) -> Load:
    parts = urlsplit(url)
    request = request_bytes(url, headers, body)
    left = requests
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def call() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
        while left > 0:
            left -= 1
            began = time.perf_counter()
            writer.write(request)
            status = await _read_answer(reader)
            latencies.append((time.perf_counter() - began) * 1000)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return Load(requests, time.perf_counter() - began, tuple(latencies), statuses)


async def _run_open(
    url: str, headers: Mapping[str, str], body: bytes, per_second: float, seconds: float, seed: int
) -> Load:
    parts = urlsplit(url)
    request = request_bytes(url, headers, body)
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)

    free = list(await asyncio.gather(*(connect() for _ in range(READY_CONNECTIONS))))
    allowed = asyncio.Semaphore(MAX_CONNECTIONS)

    async def call(began: float) -> None:
        async with allowed:
            reader, writer = free.pop() if free else await connect()
            writer.write(request)
            status = await _read_answer(reader)
            latencies.append((time.perf_counter() - began) * 1000)
            statuses[status] = statuses.get(status, 0) + 1
            free.append((reader, writer))

    # A pause for this process's own garbage would be counted as the server's.
    gc.collect()
    gc.disable()
    moments = random.Random(seed)
    calls: list[asyncio.Task[None]] = []
    start = time.perf_counter()
    due = start + moments.expovariate(per_second)
    while due < start + seconds:
        now = time.perf_counter()
        if due > now:
            # A timer of the loop wakes up to a millisecond late; the calls due by then go out together, on all sides.
            await asyncio.sleep(due - now)
            now = time.perf_counter()
        while due <= now and due < start + seconds:
            calls.append(asyncio.ensure_future(call(time.perf_counter())))
            due += moments.expovariate(per_second)
    await asyncio.gather(*calls)
    spent = time.perf_counter() - start
    gc.enable()
    for _, writer in free:
        writer.close()
    return Load(len(calls), spent, tuple(latencies), statuses)


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    start = head.find(b"content-length:")
    if start >= 0:
        await reader.readexactly(int(head[start + 15 :].split(b"\r\n", 1)[0]))
        return status
    while True:
        size = int((await reader.readuntil(b"\r\n")).strip() or b"0", 16)
        await reader.readexactly(size + 2)
        if size == 0:
            return status


async def read_stream_end(reader: asyncio.StreamReader) -> bool:
    """Reads an event stream to the end of its chunked body; whether it ended with [DONE]."""
    tail = b""
    while not tail.endswith(b"0\r\n\r\n"):
        piece = await reader.read(1 << 16)
        if not piece:
            return False
        tail = (tail + piece)[-1024:]
    return b"data: [DONE]" in tail


def cpu_seconds(pid: int) -> float:
    """CPU a process and its live children have used so far (user and system)."""
    total = 0.0
    for each in (pid, *children_of(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


def children_of(pid: int) -> list[int]:
    """Every living descendant of a process. From the parents that all processes name: the kernel's own list of a
    process's children leaves some out while another of them ends."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
