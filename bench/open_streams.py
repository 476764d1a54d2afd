"""Memory of one serving process with 1,000 streams open at once.

`python -m bench.open_streams [--streams N] [--seconds N]`. The vendor sends a first piece of each stream, then another
every two seconds, and ends them all when told to. Measured is the resident memory of the process that
holds the connections: before, the most seen while all are open, and after all have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.load import children_of, read_stream_end, request_bytes, run_load
from bench.sides import SPENDHUB, Side, Sides, chat_body, sides
from bench.stage import report
from bench.upstream import HOLD, RELEASE_PATH

STREAMS, SECONDS = 1_000, 10.0
WANTED_MB = 300
# A client's and a vendor's connection for each stream, in processes that all inherit the limit.
FILES = 8_192
OPEN_AT_ONCE = 50
OPENING_SECONDS = ENDING_SECONDS = 60.0


def allow_many_files() -> None:
    """Raises the limit of open files for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard < 0 else min(FILES, hard), hard))


def measure(served: Sides, *, streams: int = STREAMS, seconds: float = SECONDS) -> list[dict[str, object]]:
    """One row for SpendHub. Exits when a stream did not begin, or did not end as a whole one."""
    side = served.named(SPENDHUB)
    # So that what every first call loads is not counted as the streams'.
    run_load(side.url, side.headers, chat_body(stream=True), callers=16, requests=200)
    return [asyncio.run(_measure(side, served.vendor_url, streams, seconds))]


async def _measure(side: Side, vendor_url: str, streams: int, seconds: float) -> dict[str, object]:
    files_before = {pid: _open_files(pid) for pid in children_of(side.pid)}
    memory_before = {pid: _resident_mb(pid) for pid in files_before}
    request = request_bytes(side.url, side.headers, chat_body(stream=True, user=HOLD, max_tokens=1_000))
    opening = asyncio.Semaphore(OPEN_AT_ONCE)

    async def begin() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(side.url)
        async with opening:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if int(head[9:12]) != 200:
                raise SystemExit(f"a stream was answered {head[:200]!r}")
            await reader.readuntil(b"data: ")
            return reader, writer

    began = time.perf_counter()
    async with asyncio.timeout(OPENING_SECONDS):
        opened = await asyncio.gather(*(begin() for _ in range(streams)))
    opening_seconds = time.perf_counter() - began
    endings = [asyncio.ensure_future(read_stream_end(reader)) for reader, _ in opened]
    # The serving process is the one that now holds the connections.
    pid = max(files_before, key=lambda each: _open_files(each) - files_before[each])
    most = _resident_mb(pid)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        await asyncio.sleep(0.25)
        most = max(most, _resident_mb(pid))
    still_open = sum(not each.done() for each in endings)
    files = _open_files(pid) - files_before[pid]
    async with httpx.AsyncClient() as client:
        await client.post(vendor_url + RELEASE_PATH, content=b"{}")
    async with asyncio.timeout(ENDING_SECONDS):
        whole = sum(await asyncio.gather(*endings))
    most = max(most, _resident_mb(pid))
    for _, writer in opened:
        writer.close()
    await asyncio.sleep(2)
    if still_open != streams or whole != streams:
        raise SystemExit(f"of {streams} streams {still_open} were open at once and {whole} ended as they should")
    return {
        "side": side.name,
        "streams open": still_open,
        "sockets more": files,
        "MB before": memory_before[pid],
        "MB at most": most,
        "MB after": _resident_mb(pid),
        "KB a stream": (most - memory_before[pid]) * 1000 / streams,
        "wanted MB": WANTED_MB,
        "s to open": opening_seconds,
    }


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _open_files(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--budgets", type=int, default=3)
    options.add_argument("--streams", type=int, default=STREAMS)
    options.add_argument("--seconds", type=float, default=SECONDS)
    given = options.parse_args()
    allow_many_files()
    with sides(given.budgets) as served:
        report("open-streams", measure(served, streams=given.streams, seconds=given.seconds))


if __name__ == "__main__":
    main()
