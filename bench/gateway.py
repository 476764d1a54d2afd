"""CPU per gateway request and requests a second per core, three budgets on, beside a bare forwarder.

`python -m bench.gateway [--budgets N] [--rounds N] [--stream]`. Both run one worker on the same stack (granian, httpx
over aiohttp) against the same vendor in the same run, in turn; PostgreSQL (fsync on) and Valkey are real.
CPU is of the serving processes, worker included, without PostgreSQL, Valkey, vendor and load.
"""

from __future__ import annotations

import argparse
import json

from bench.load import cpu_seconds, run_load
from bench.stage import free_port, median, process, report, stage

CALLERS = (16, 64)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--budgets", type=int, default=3)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=4_000)
    options.add_argument("--stream", action="store_true")
    given = options.parse_args()
    vendor_port, bare_port = free_port(), free_port()
    upstream = f"http://127.0.0.1:{vendor_port}/v1"
    body = json.dumps(
        {
            "model": "gpt-5-mini",
            "messages": [{"role": "user", "content": "Where is my parcel? " * 8}],
            "max_tokens": 100,
            "user": "ada",
            **({"stream": True} if given.stream else {}),
        }
    ).encode()
    requests = given.requests // 20 if given.stream else given.requests
    granian = (
        "-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-access-log", "--no-ws",
        "--log-level", "warning", "--host", "127.0.0.1", "--port", str(bare_port), "bench.forwarder:application",
    )  # fmt: skip
    with (
        process("-m", "bench.upstream", str(vendor_port), port=vendor_port),
        process(*granian, port=bare_port, BENCH_UPSTREAM=upstream) as bare,
        stage("--workers", "1", BENCH_UPSTREAM=upstream, BENCH_VENDOR_KEY="bench") as running,
    ):
        running.define_budgets(given.budgets)
        sides = {
            "bare forwarder": (f"http://127.0.0.1:{bare_port}/v1/chat/completions", {}, bare.pid),
            "SpendHub": (
                f"{running.server.url}/v1/chat/completions",
                running.headers | {"x-spendhub-feature": "chat", "x-spendhub-agent": "support"},
                running.server.pid,
            ),
        }
        rows: list[dict[str, object]] = []
        for callers in CALLERS:
            cpu: dict[str, list[float]] = {name: [] for name in sides}
            rate: dict[str, list[float]] = {name: [] for name in sides}
            p50: dict[str, list[float]] = {name: [] for name in sides}
            p99: dict[str, list[float]] = {name: [] for name in sides}
            for round_number in range(given.rounds + 1):
                for name, (url, headers, pid) in sides.items():
                    before = cpu_seconds(pid)
                    load = run_load(url, headers, body, callers=callers, requests=requests)
                    used = cpu_seconds(pid) - before
                    if set(load.statuses) != {200}:
                        raise SystemExit(f"{name} answered {load.statuses}")
                    if round_number == 0:
                        continue
                    cpu[name].append(used / requests * 1000)
                    rate[name].append(load.per_second)
                    p50[name].append(load.percentile(0.5))
                    p99[name].append(load.percentile(0.99))
            for name in sides:
                ratios = [ours / theirs for ours, theirs in zip(cpu[name], cpu["bare forwarder"], strict=True)]
                rows.append(
                    {
                        "side": name,
                        "callers": callers,
                        "cpu ms/request": median(cpu[name]),
                        "x bare": median(ratios),
                        "requests/s": median(rate[name]),
                        "requests/s/core": 1000 / median(cpu[name]),
                        "p50 ms": median(p50[name]),
                        "p99 ms": median(p99[name]),
                    }
                )
        report("gateway-stream" if given.stream else "gateway", rows)


if __name__ == "__main__":
    main()
