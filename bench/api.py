"""`check` and `reservations` requests per second, beside a bare Django JSON view in the same server and run.

`python -m bench.api [--callers 16] [--requests 4000] [--budgets 3]`. On PostgreSQL (fsync on) and Valkey, through
`manage.py serve`. The rounds of the three routes take turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json

from bench.load import Load, cpu_seconds, run_load
from bench.stage import median, report, stage

ROUTES = {"bare Django JSON view": "/bench/bare", "check": "/api/v1/check", "reservations": "/api/v1/reservations"}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--callers", type=int, default=16)
    options.add_argument("--requests", type=int, default=4_000)
    options.add_argument("--budgets", type=int, default=3)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    asked = {"attribution": {"user": "ada", "feature": "chat", "agent": "bot"}, "estimated_cost": "0.01"}
    # The holds shall end while the benchmark runs, as those of a live system do.
    bodies = {"reservations": json.dumps({**asked, "ttl_seconds": 2}).encode()}
    usual = json.dumps(asked).encode()
    with stage("--workers", str(given.workers), DJANGO_SETTINGS_MODULE="bench.bare_settings") as running:
        running.define_budgets(given.budgets)
        loads: dict[str, list[Load]] = {name: [] for name in ROUTES}
        cpus: dict[str, list[float]] = {name: [] for name in ROUTES}
        for round_number in range(given.rounds + 1):
            for name, path in ROUTES.items():
                requests = given.requests if round_number else given.requests // 4
                before = cpu_seconds(running.server.pid)
                load = run_load(
                    running.server.url + path,
                    running.headers,
                    bodies.get(name, usual),
                    callers=given.callers,
                    requests=requests,
                )
                if set(load.statuses) - {200, 201}:
                    raise SystemExit(f"{name} was answered {load.statuses}\n{running.server.log[-2000:]}")
                if round_number:  # the first is for warming up
                    loads[name].append(load)
                    cpus[name].append((cpu_seconds(running.server.pid) - before) / requests * 1000)
        bare = median([load.per_second for load in loads["bare Django JSON view"]])
        rows: list[dict[str, object]] = [
            {
                "route": name,
                "callers": given.callers,
                "budgets": given.budgets,
                "requests/s": median([load.per_second for load in loads[name]]),
                "of bare": median([load.per_second for load in loads[name]]) / bare,
                "cpu ms/request": median(cpus[name]),
                "p50 ms": median([load.percentile(0.5) for load in loads[name]]),
                "p99 ms": median([load.percentile(0.99) for load in loads[name]]),
            }
            for name in ROUTES
        ]
        report("api", rows)


if __name__ == "__main__":
    main()
