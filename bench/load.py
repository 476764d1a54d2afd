"""A bounded load: N callers on the loopback, each with one open connection, a fixed number of requests."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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

    def percentile(self, share: float) -> float:
        return statistics.quantiles(self.latencies_ms, n=1000)[min(998, int(share * 1000) - 1)]


def run_load(url: str, headers: Mapping[str, str], body: bytes, *, callers: int, requests: int) -> Load:
    """Sends `requests` POSTs with `callers` connections and waits for every answer."""
    import uvloop

    return uvloop.run(_run(url, headers, body, callers, requests))


async def _run(url: str, headers: Mapping[str, str], body: bytes, callers: int, requests: int) -> Load:
    parts = urlsplit(url)
    assert parts.hostname in {"127.0.0.1", "localhost"}, "loads go to the loopback only"
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body
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
    """Every living descendant of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children_of(int(child))]
    return found
