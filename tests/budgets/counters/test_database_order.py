"""What shares a transaction of the database's counters, and in which order it is done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, transaction

from budgets.counters import database
from budgets.counters.charge import FencedStore
from budgets.counters.drive import drive as run
from budgets.counters.drive import drive_async
from budgets.models import BudgetWindow, Hold
from spendhub import group_commit
from tests.budgets.counters.conftest import hold_of
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def closed_in_the_end(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = None
    yield
    database.close()
    group_commit.writer().close()


class Busy:
    """Keeps the counters' writer, so that what is asked of it meanwhile is written together."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, payloads: Sequence[None]) -> list[None]:
        self.has_begun.set()
        assert self.may_end.wait(20)
        return [None] * len(payloads)

    def __enter__(self) -> Busy:
        self.__qualname__ = type(self).__qualname__  # the writer orders what it applies by name
        self._future = database._submit(self, None, 1)
        assert self.has_begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.may_end.set()
        self._future.result(timeout=10)


def test_a_reserve_whose_caller_has_left_before_it_was_written_holds_nothing(acme: Any, day: Any) -> None:
    store = FencedStore()
    store.refresh()
    hold = hold_of(acme, day)

    async def leave() -> None:
        asked = asyncio.create_task(drive_async(store.reserve(hold, time.time())))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    with Busy():
        asyncio.run(leave())
        told = threading.Thread(target=_in_thread, args=(store.tell_the_untold,))
        told.start()
        time.sleep(0.2)  # the end of the hold stands in the queue, behind the hold
    told.join(10)
    wait_until(lambda: not Hold.objects.for_tenant(acme).exists(), 10, "nothing held")
    assert run(store.reserve(hold_of(acme, day, amount=100), time.time())).is_held


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_heartbeat_and_a_booking_do_not_wait_for_each_other_in_a_circle(
    acme: Any, day: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = FencedStore()
    store.refresh()
    hold = hold_of(acme, day, amount=10)
    assert run(store.reserve(hold, time.time())).is_held
    # A heartbeat and a reserve are written together, while a booking has the window and is about to end the hold.
    with transaction.atomic():
        with Busy():
            beats = threading.Thread(target=_in_thread, args=(lambda: run(store.extend([hold], time.time() + 99)),))
            reserves = threading.Thread(
                target=_in_thread, args=(lambda: run(store.reserve(hold_of(acme, day, amount=10), time.time())),)
            )
            beats.start()
            time.sleep(0.2)
            reserves.start()
            time.sleep(0.2)
            BudgetWindow.objects.across_tenants().select_for_update(no_key=True).get(budget_id=day.budget_id)
        wait_until(_somebody_waits_for_a_lock, 10, "the other transaction to wait for the window")
        database.end_holds([hold.hold_id])
    beats.join(10)
    reserves.join(10)
    assert "retries" not in caplog.text, "a deadlock was broken"
    assert [each.pk == hold.hold_id for each in Hold.objects.for_tenant(acme)] == [False]


def _in_thread(work: Any) -> None:
    try:
        work()
    finally:
        connection.close()


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])
