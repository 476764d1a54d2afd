"""Spans accepted per second over the API, in bulk, on PostgreSQL (fsync on) with three budgets on.

`python -m bench.spans [--batch 1000] [--callers 4]`. Accepted means: on disk and in the ledger when answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from urllib.parse import urlsplit

from bench.load import _read_answer, cpu_seconds
from bench.stage import median, report, stage


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--batch", type=int, default=1_000)
    options.add_argument("--callers", type=int, default=4)
    options.add_argument("--batches", type=int, default=60)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    with stage("--workers", str(given.workers)) as running:
        running.define_budgets(3)
        rates, cpus = [], []
        for round_number in range(given.rounds + 1):
            bodies = [_bodies(given.batch) for _ in range(given.batches if round_number else 8)]
            spans = given.batch * len(bodies)
            before = cpu_seconds(running.server.pid)
            began = time.perf_counter()
            asyncio.run(_send(running.server.url, running.headers, bodies, given.callers))
            seconds = time.perf_counter() - began
            if round_number:
                rates.append(spans / seconds)
                cpus.append((cpu_seconds(running.server.pid) - before) / spans * 1e6)
        rows: list[dict[str, object]] = [
            {
                "batch": given.batch,
                "callers": given.callers,
                "workers": given.workers,
                "spans/s": median(rates),
                "cpu us/span": median(cpus),
            }
        ]
        report("spans", rows)


def _bodies(batch: int) -> bytes:
    return json.dumps(
        [
            {
                "request_id": uuid.uuid4().hex,
                "model": "gpt-5-mini",
                "provider": "openai",
                "usage": {"input_tokens": 1200, "output_tokens": 300, "cache_read_tokens": 200},
                "attribution": {"user": f"user-{number % 50}", "feature": "chat", "agent": "support"},
            }
            for number in range(batch)
        ]
    ).encode()


async def _send(url: str, headers: dict[str, str], bodies: list[bytes], callers: int) -> None:
    parts = urlsplit(url)
    head = f"POST /api/v1/spans HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    async def call() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while bodies:
            body = bodies.pop()
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            status = await _read_answer(reader)
            if status != 202:
                raise SystemExit(f"spans were answered {status}")
        writer.close()

    await asyncio.gather(*(call() for _ in range(callers)))


if __name__ == "__main__":
    main()
