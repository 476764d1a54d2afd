"""One reserve with 1, 3 and 10 matching budgets, on Valkey and on the database: within 20 % of each other?

`python -m bench.reserve`. A reserve is what a call pays for its budgets: matching them, one script (or one
transaction) over all of them, the decision. The settle that ends it is measured beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from tests.servers import Postgres, Valkey

COUNTS = (1, 3, 10)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--reserves", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--store", choices=("valkey", "database"), default="valkey")
    given = options.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="spendhub-bench-"))
    directory.chmod(0o755)
    postgres, valkey = Postgres(directory / "postgres", durable=True), Valkey(directory / "valkey")
    try:
        postgres.start()
        os.environ |= {
            "SPENDHUB_VAR_DIR": str(directory),
            "DATABASE_URL": postgres.url,
            "SPENDHUB_DECISION_SAMPLE": "0",
        }
        os.environ["DJANGO_SETTINGS_MODULE"] = "spendhub.settings"
        if given.store == "valkey":
            os.environ["REDIS_URL"] = valkey.start().url
        measure(given.reserves, given.rounds, given.store)
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def measure(reserves: int, rounds: int, store: str) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from bench.stage import median, report
    from budgets.calls import Call
    from budgets.counters import keeper
    from budgets.counters.drive import drive
    from budgets.models import Budget
    from budgets.reservations import release, reserve
    from spendhub.money import NANO_PER_USD
    from spendhub.snapshots import refresh_all
    from spendhub.tenants.attribution import Attribution
    from spendhub.tenants.models import Tenant

    call_command("migrate", verbosity=0)
    keeper.start_threads()
    who = Attribution(user="ada", feature="chat", agent="support")
    scopes = [
        (scope, period) for period in ("month", "day", "hour") for scope in ("tenant", "user", "feature", "agent")
    ]
    tenants = {}
    for count in COUNTS:
        tenant = Tenant.objects.create(name=f"{count}", slug=f"with-{count}")
        for scope_type, period in scopes[:count]:
            Budget.objects.create(
                tenant=tenant,
                name=scope_type,
                scope_type=scope_type,
                period=period,
                limit_nano_usd=10**6 * NANO_PER_USD,
            )
        tenants[count] = tenant
    refresh_all()
    spent: dict[int, list[float]] = {count: [] for count in COUNTS}
    used: dict[int, list[float]] = {count: [] for count in COUNTS}
    for round_number in range(rounds + 1):
        for count, tenant in tenants.items():
            held = []
            began, cpu = time.perf_counter(), time.process_time()
            for _ in range(reserves):
                held.append(drive(reserve(Call(tenant.id, timezone.now(), 1_000, who, model="m", provider="p"))))
            if round_number:
                spent[count].append((time.perf_counter() - began) / reserves * 1e6)
                used[count].append((time.process_time() - cpu) / reserves * 1e6)
            for each in held:
                drive(release(each, timezone.now()))
    rows: list[dict[str, object]] = [
        {
            "store": store,
            "budgets": count,
            "us/reserve": median(spent[count]),
            "cpu us/reserve": median(used[count]),
            "x one budget": median([ours / one for ours, one in zip(spent[count], spent[1], strict=True)]),
        }
        for count in COUNTS
    ]
    report(f"reserve-{store}", rows)
    keeper.stop_threads()


if __name__ == "__main__":
    main()
