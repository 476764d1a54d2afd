"""CPU per gateway request, requests a second per core, p50 and p99, budgets on, beside a bare forwarder.

`python -m bench.gateway [--litellm] [--budgets N] [--rounds N]`: a small chat call, a stream of 200 chunks, what is
added at half load (bench/half_load.py) and 1,000 open streams (bench/open_streams.py), in one run; `--only` takes
some of them. All sides run one worker before the same vendor, in turn; PostgreSQL (fsync on) and Valkey are real.
CPU is of the serving processes, background worker included, without PostgreSQL, Valkey, vendor and load.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench import half_load, open_streams
from bench.load import cpu_seconds, run_load
from bench.sides import BARE, Side, chat_body, sides
from bench.stage import median, report

CALLERS = (16, 64)
STREAMS_FEWER = 10
PARTS = ("chat", "stream", "half-load", "open-streams")


def measure(among: Sequence[Side], *, stream: bool, requests: int, rounds: int) -> list[dict[str, object]]:
    """A row per side and number of callers: medians of the rounds, of which the first is for warming up."""
    body = chat_body(stream=stream)
    rows: list[dict[str, object]] = []
    for callers in CALLERS:
        cpu: dict[str, list[float]] = {side.name: [] for side in among}
        rate: dict[str, list[float]] = {side.name: [] for side in among}
        p50: dict[str, list[float]] = {side.name: [] for side in among}
        p99: dict[str, list[float]] = {side.name: [] for side in among}
        for round_number in range(rounds + 1):
            for side in among:
                count = max(2 * callers, requests // (STREAMS_FEWER if stream else 1) // side.fewer)
                before = cpu_seconds(side.pid)
                load = run_load(side.url, side.headers, body, callers=callers, requests=count)
                used = cpu_seconds(side.pid) - before
                if set(load.statuses) != {200}:
                    raise SystemExit(f"{side.name} answered {load.statuses}")
                if round_number == 0:
                    continue
                cpu[side.name].append(used / count * 1000)
                rate[side.name].append(load.per_second)
                p50[side.name].append(load.percentile(0.5))
                p99[side.name].append(load.percentile(0.99))
        for side in among:
            ratios = [ours / theirs for ours, theirs in zip(cpu[side.name], cpu[BARE], strict=True)]
            rows.append(
                {
                    "side": side.name,
                    "callers": callers,
                    "cpu ms/request": median(cpu[side.name]),
                    "x bare": median(ratios),
                    "requests/s": median(rate[side.name]),
                    "requests/s/core": 1000 / median(cpu[side.name]),
                    "p50 ms": median(p50[side.name]),
                    "p99 ms": median(p99[side.name]),
                }
            )
    return rows


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--budgets", type=int, default=3)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=4_000)
    options.add_argument("--litellm", action="store_true", help="LiteLLM's proxy too, in var/bench-litellm")
    options.add_argument("--only", choices=PARTS, action="append", help="may be given more than once")
    given = options.parse_args()
    parts = given.only or PARTS
    # Before anything is started: the processes inherit it.
    open_streams.allow_many_files()
    with sides(given.budgets, with_litellm=given.litellm) as served:
        for part in ("chat", "stream"):
            if part in parts:
                is_stream = part == "stream"
                rows = measure(served.all, stream=is_stream, requests=given.requests, rounds=given.rounds)
                report("gateway-stream" if is_stream else "gateway", rows)
        if "half-load" in parts:
            report("half-load", half_load.measure(served))
        if "open-streams" in parts:
            report("open-streams", open_streams.measure(served))


if __name__ == "__main__":
    main()
