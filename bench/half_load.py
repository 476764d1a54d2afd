"""What SpendHub adds to a call's time at half load: p50 and p99, beside the bare forwarder.

`python -m bench.half_load [--budgets N] [--rounds N] [--seconds N]`. First the most that SpendHub serves here in a
closed loop; then both sides in turn get half of that, as an open load: calls come when they come (a Poisson process,
the same for both), whether earlier ones were answered or not. What is added is SpendHub's percentile less the
forwarder's, of all the rounds' calls together.

No call is answered before its span is on disk, so that a sync of the disk under PostgreSQL is part of what is added:
it is measured too. `TMPDIR=/dev/shm` puts PostgreSQL on a memory disk (fsync stays on), and shows the rest alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

from bench.load import Load, run_load, run_open_load
from bench.sides import BARE, SPENDHUB, Sides, chat_body, sides
from bench.stage import report

CALLERS_AT_MOST = 64
REQUESTS_AT_MOST = 4_000
ROUNDS, SECONDS = 5, 6.0
SYNCS, WAL_PAGE_BYTES = 300, 8_192


def measure(served: Sides, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[dict[str, object]]:
    """A row per side, and one with what is added."""
    body = chat_body()
    sync_p50, sync_p99 = disk_sync_ms()
    ours = served.named(SPENDHUB)
    most = max(
        run_load(ours.url, ours.headers, body, callers=CALLERS_AT_MOST, requests=REQUESTS_AT_MOST).per_second
        for _ in range(3)
    )
    loads: dict[str, list[Load]] = {BARE: [], SPENDHUB: []}
    for round_number in range(rounds + 1):
        for name in loads:
            side = served.named(name)
            load = run_open_load(
                side.url, side.headers, body, per_second=most / 2, seconds=seconds if round_number else 1.0,
                seed=round_number,
            )  # fmt: skip
            if set(load.statuses) != {200}:
                raise SystemExit(f"{name} answered {load.statuses}")
            if round_number:
                loads[name].append(load)
    rows: list[dict[str, object]] = []
    for name, each in loads.items():
        together = Load.together(each)
        rows.append(
            {
                "side": name,
                "most/s": most,
                "offered/s": most / 2,
                "served/s": together.per_second,
                "calls": together.requests,
                "p50 ms": together.percentile(0.5),
                "p99 ms": together.percentile(0.99),
                "disk sync p50 ms": sync_p50,
                "disk sync p99 ms": sync_p99,
            }
        )
    bare, spendhub = (Load.together(loads[name]) for name in (BARE, SPENDHUB))
    rows.append(
        {
            **rows[-1],
            "side": "added by SpendHub",
            "p50 ms": spendhub.percentile(0.5) - bare.percentile(0.5),
            "p99 ms": spendhub.percentile(0.99) - bare.percentile(0.99),
        }
    )
    return rows


def disk_sync_ms() -> tuple[float, float]:
    """p50 and p99 of writing a page and one fdatasync, where PostgreSQL's files are put."""
    taken: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(WAL_PAGE_BYTES * SYNCS))
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(SYNCS):
            file.write(os.urandom(WAL_PAGE_BYTES))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--budgets", type=int, default=3)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--seconds", type=float, default=SECONDS)
    given = options.parse_args()
    with sides(given.budgets) as served:
        report("half-load", measure(served, rounds=given.rounds, seconds=given.seconds))


if __name__ == "__main__":
    main()
