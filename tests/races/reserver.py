"""One of several processes that race for the same budget: `python -m tests.races.reserver '<json>'`.

It says "ready", waits for a line on its stdin, races, and prints what it got as one line of JSON.
It then lives on, with what it holds, until its stdin is closed. One that takes turns for a while does so until it is
told "enough"; asked for its "latest", it says when the latest hold that has ended began.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402  # after setup

from budgets.counters import keeper  # noqa: E402  # as above
from budgets.counters.base import (  # noqa: E402  # as above
    CounterLine,
    CountersChangingHands,
    Hold,
    Reserved,
    has_room,
)
from budgets.counters.charge import counters  # noqa: E402  # as above
from budgets.counters.drive import drive  # noqa: E402  # as above
from spendhub.ids import new_id  # noqa: E402  # as above
from spendhub.steps import Journey  # noqa: E402  # as above


def main(task: dict[str, Any]) -> None:
    lines = tuple([CounterLine(uuid.UUID(each[0]), *each[1:]) for each in task["lines"]])

    def hold() -> Hold:
        return Hold(task["tenant_id"], new_id(), "call", lines, task["amount"], time.time() + 60, {})

    keeper.start_threads()
    drive(counters().look(task["tenant_id"], lines, time.time()))
    results: list[Any] = []
    is_enough = threading.Event()
    work: Callable[[], None]
    if task["manner"] == "for-a-while":
        work = lambda: take_turns(hold, results, is_enough)  # noqa: E731  # one of two ways to do the same
    else:
        reserve = reserve_without_care if task["manner"] == "careless" else counters().reserve
        work = lambda: results.extend(grab(hold, task["reserves"] // task["threads"], reserve))  # noqa: E731  # as above
    print("ready", flush=True)
    sys.stdin.readline()

    def run() -> None:
        work()
        connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(task["threads"])]
    for thread in threads:
        thread.start()
    if task["manner"] == "for-a-while":
        while sys.stdin.readline() == "latest\n":
            print(max((since for since, _ in results), default=0.0), flush=True)
        is_enough.set()
    for thread in threads:
        thread.join()
    print(json.dumps(results), flush=True)
    sys.stdin.read()


def grab(hold: Callable[[], Hold], times: int, reserve: Callable[[Hold, float], Journey[Reserved]]) -> list[bool]:
    """Reserves `times` times and keeps what it gets."""
    return [drive(reserve(hold(), time.time())).is_held for _ in range(times)]


def reserve_without_care(hold: Hold, now: float) -> Journey[Reserved]:
    """The negative control: looks first and holds after, as two steps."""
    counts = yield from counters().look(hold.tenant_id, hold.lines, now)
    if all(has_room(line, count, hold.amount_nano_usd) for line, count in zip(hold.lines, counts, strict=True)):
        yield from counters().restore([hold], now)
        return Reserved(True, counts)
    return Reserved(False, counts)


def take_turns(hold: Callable[[], Hold], held: list[tuple[float, float]], is_enough: threading.Event) -> None:
    """Reserves, holds for a moment and releases, again and again; adds to `held` from when to when it held.
    The monotonic clock is the same for all processes of a machine."""
    while not is_enough.is_set():
        mine = hold()
        try:
            is_held = drive(counters().reserve(mine, time.time())).is_held
        except CountersChangingHands:
            is_held = False
        if is_held:
            since = time.monotonic()
            time.sleep(random.uniform(0.05, 0.3))
            held.append((since, time.monotonic()))
            drive(counters().settle(mine, (), time.time()))
        else:
            time.sleep(random.uniform(0.01, 0.05))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
