"""What happens later: every periodic job of the installation, in one list.

A job takes the moment it runs at, does one bounded portion of its work, and is called again after
`every_seconds`. Several machines may run a worker each, so a job must be safe to run twice at once
(claim rows, or rely on unique keys). docs/decisions/0003-one-worker-loop.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from budgets.counters.reconcile import publish_recent_totals, sweep_lapsed_reservations
from budgets.definitions import apply_settings_budgets
from budgets.retention import prune_decisions, prune_reservations
from telemetry.interrupted import book_interrupted
from telemetry.keyed_calls import prune_keyed_calls
from telemetry.spend_rates import watch_spend


@dataclass(frozen=True, slots=True)
class Job:
    """`run(now)` every `every_seconds`; its answer, if any, is logged at debug level."""

    name: str
    every_seconds: float
    run: Callable[[datetime], object]


JOBS: list[Job] = [
    Job("book interrupted calls", 1, book_interrupted),
    Job("publish recent totals", 2, publish_recent_totals),
    Job("make the budgets of the settings", 5, apply_settings_budgets),
    Job("sweep lapsed reservations", 30, sweep_lapsed_reservations),
    Job("watch spend rates", 15, watch_spend),
    Job("prune decisions", 60, prune_decisions),
    Job("prune reservations", 60, prune_reservations),
    Job("prune answers kept for idempotency keys", 30, prune_keyed_calls),
]
