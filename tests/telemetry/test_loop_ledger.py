"""The data plane's short cut into the ledger: whatever it meets, each call is stored and counted exactly once.

On SQLite nothing takes it; the same must then come out of the group commit.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from msgspec.structs import replace

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.models import Budget, BudgetEvent, BudgetWindow, Hold
from budgets.reservations import reserve
from budgets.resets import reset_scope
from spendhub.loop_postgres import APPLICATION_NAME
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.loop_ledger import LoopLedger
from telemetry.models import CostSpan
from telemetry.recording import record
from telemetry.span_store import SpanBatch, StoredBatch
from tests import factories
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NANO = 10**9
ADA = Attribution(user="ada")
IS_POSTGRES = connection.vendor == "postgresql"


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def define(tenant: Tenant, dollars: int, scope_key: str = "*", **facts: object) -> Budget:
    budget = Budget.objects.create(
        tenant=tenant, name=f"user {scope_key}", scope_type="user", scope_key=scope_key, limit_nano_usd=dollars * NANO,
        **facts,
    )  # fmt: skip
    refresh_all()
    return budget


def call(tenant: Tenant, cost_nano_usd: int, request_id: str | None = None, who: Attribution = ADA) -> SpanBatch:
    now = timezone.now()
    draft = SpanDraft(request_id or uuid.uuid4().hex, now, "gateway", cost_nano_usd, attribution=who)
    return SpanBatch(tenant.id, (draft,), now)


def spent(budget: Budget, key: str = "ada") -> int:
    row = BudgetWindow.objects.for_tenant(budget.tenant_id).get(budget=budget, scope_key=key)
    return row.spend_nano_usd - row.forgiven_nano_usd


def on_loop(story: Callable[[LoopLedger], Awaitable[Any]]) -> LoopLedger:
    """Tells a story to a ledger that has its connection."""

    async def tell() -> LoopLedger:
        ledger = LoopLedger(asyncio.get_running_loop())
        await ledger.connected()
        try:
            await story(ledger)
        finally:
            ledger.close()
        return ledger

    return asyncio.run(tell())


async def in_thread(work: Callable[[], Any]) -> Any:
    """What another process would do meanwhile."""

    def do() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(do)


def expect_short_cuts(ledger: LoopLedger, count: int) -> None:
    assert ledger.booked == (count if IS_POSTGRES else 0)


def test_the_first_call_of_a_window_is_left_to_the_group_commit_and_the_next_ones_are_booked_at_once(
    acme: Tenant,
) -> None:
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        first = await ledger.submit(call(acme, NANO))
        assert [each.spend_nano_usd for each in first.totals] == [NANO]
        second = await ledger.submit(call(acme, 2 * NANO))
        assert (second.accepted, [each.spend_nano_usd for each in second.totals]) == (1, [3 * NANO])
        assert second.totals[0].version == first.totals[0].version + 1

    ledger = on_loop(story)

    expect_short_cuts(ledger, 1)
    assert spent(budget) == 3 * NANO
    assert CostSpan.objects.for_tenant(acme.id).count() == 2


def test_calls_of_one_moment_share_a_transaction(acme: Tenant) -> None:
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        stored = await asyncio.gather(*(ledger.submit(call(acme, NANO)) for _ in range(20)))
        # Each is told the total of all.
        assert [each.totals[0].spend_nano_usd for each in stored] == [21 * NANO] * 20

    expect_short_cuts(on_loop(story), 20)
    assert spent(budget) == 21 * NANO
    if IS_POSTGRES:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM telemetry_costspan GROUP BY xmin::text ORDER BY 1")
            assert [row[0] for row in cursor.fetchall()] == [1, 20]


def test_a_call_that_no_budget_matches_is_stored(acme: Tenant) -> None:
    refresh_all()

    async def story(ledger: LoopLedger) -> None:
        stored = await ledger.submit(call(acme, NANO))
        assert (stored.accepted, stored.totals) == (1, ())

    expect_short_cuts(on_loop(story), 1)
    assert CostSpan.objects.for_tenant(acme.id).count() == 1


def test_a_repeated_request_is_counted_once_and_its_neighbours_are_booked(acme: Tenant) -> None:
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        first = await ledger.submit(call(acme, NANO, "same"))
        again, other = await asyncio.gather(
            ledger.submit(call(acme, NANO, "same")), ledger.submit(call(acme, 5 * NANO, "other"))
        )
        assert (again.accepted, again.ids) == (0, first.ids)
        assert other.accepted == 1

    on_loop(story)

    assert spent(budget) == 6 * NANO
    assert sorted(CostSpan.objects.for_tenant(acme.id).values_list("request_id", flat=True)) == ["other", "same"]


def test_a_line_is_told_once_by_whichever_call_crosses_it(acme: Tenant) -> None:
    budget = define(acme, 10, thresholds=[0.5], soft_cap="0.8", hard_cap="1")

    async def story(ledger: LoopLedger) -> None:
        for _ in range(12):
            await ledger.submit(call(acme, NANO))

    ledger = on_loop(story)

    # Three cross a line, and the first is not known yet: 1, 5 (threshold), 8 (soft cap), 10 (hard cap).
    expect_short_cuts(ledger, 8)
    events = BudgetEvent.objects.for_tenant(acme.id).order_by("spend_nano_usd", "kind")
    assert [(event.kind, event.spend_nano_usd // NANO) for event in events] == [
        ("threshold-breach", 5),
        ("state-change", 8),
        ("hard-stop", 10),
        ("state-change", 10),
    ]
    row = BudgetWindow.objects.for_tenant(acme.id).get()
    assert (row.spend_nano_usd, row.state, row.told_thresholds) == (12 * NANO, "stopped", ["0.5"])
    assert budget.id == row.budget_id


def test_a_line_that_others_have_brought_near_is_still_told_once(acme: Tenant) -> None:
    define(acme, 10, thresholds=[0.5], soft_cap="1", hard_cap="2")

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        await ledger.submit(call(acme, NANO))
        # This process still believes in 2 of 10; the next dollar is the fifth.
        await in_thread(lambda: drive(record(acme.id, call(acme, 2 * NANO).drafts, timezone.now())))
        await ledger.submit(call(acme, NANO))

    expect_short_cuts(on_loop(story), 1)
    events = BudgetEvent.objects.for_tenant(acme.id)
    assert [(event.kind, event.spend_nano_usd) for event in events] == [("threshold-breach", 5 * NANO)]


def test_a_budget_that_this_process_does_not_know_yet_counts_the_call(acme: Tenant) -> None:
    everyone = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        await in_thread(
            lambda: Budget.objects.create(
                tenant=acme, name="new", scope_type="tenant", scope_key="*", limit_nano_usd=NANO
            )
        )
        await ledger.submit(call(acme, 2 * NANO))

    expect_short_cuts(on_loop(story), 0)
    assert spent(everyone) == 3 * NANO
    # It was created after the first call, and begins with what its window had spent.
    assert spent(Budget.objects.for_tenant(acme.id).get(name="new"), "*") == 3 * NANO


def test_a_limit_that_was_lowered_meanwhile_is_told_of_at_once(acme: Tenant) -> None:
    budget = define(acme, 100, thresholds=[], soft_cap="0.5", hard_cap="1")

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        await ledger.submit(call(acme, NANO))

        def lower() -> None:
            budget.limit_nano_usd = 4 * NANO
            budget.save()
            refresh_all()

        await in_thread(lower)
        await ledger.submit(call(acme, NANO // 10))

    expect_short_cuts(on_loop(story), 1)
    event = BudgetEvent.objects.for_tenant(acme.id).get()
    assert (event.kind, event.to_state, event.limit_nano_usd) == ("state-change", "warned", 4 * NANO)


def test_a_window_that_was_reset_meanwhile_counts_from_zero_and_tells_its_lines_again(acme: Tenant) -> None:
    budget = define(acme, 10, thresholds=[0.2], soft_cap="1", hard_cap="2")

    async def story(ledger: LoopLedger) -> None:
        for _ in range(3):
            await ledger.submit(call(acme, NANO))
        await in_thread(lambda: drive(reset_scope(acme.id, "user", "ada", actor="ben", now=timezone.now())))
        for _ in range(3):
            await ledger.submit(call(acme, NANO))

    on_loop(story)

    assert spent(budget) == 3 * NANO
    breaches = BudgetEvent.objects.for_tenant(acme.id).filter(kind="threshold-breach")
    assert [event.spend_nano_usd for event in breaches] == [2 * NANO, 2 * NANO]


def test_words_that_mean_something_in_sql_are_only_words(acme: Tenant) -> None:
    name = "o'hara\\'; DELETE FROM telemetry_costspan; -- %s $1 \"ü\" 🙂"
    budget = define(acme, 100)
    who = Attribution(user=name)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO, "first", who))
        await ledger.submit(call(acme, NANO, "it's \\ %d", who))

    expect_short_cuts(on_loop(story), 1)
    assert spent(budget, name) == 2 * NANO
    assert set(CostSpan.objects.for_tenant(acme.id).values_list("user", "request_id")) == {
        (name, "first"),
        (name, "it's \\ %d"),
    }


def test_one_tenants_calls_never_count_for_another_that_is_booked_with_them(acme: Tenant) -> None:
    globex = factories.globex()
    ours, theirs = define(acme, 100), define(globex, 100)

    async def story(ledger: LoopLedger) -> None:
        await asyncio.gather(ledger.submit(call(acme, NANO)), ledger.submit(call(globex, 3 * NANO)))
        mine, other = await asyncio.gather(ledger.submit(call(acme, NANO)), ledger.submit(call(globex, 3 * NANO)))
        assert [(each.budget_id, each.spend_nano_usd) for each in mine.totals] == [(ours.id, 2 * NANO)]
        assert [(each.budget_id, each.spend_nano_usd) for each in other.totals] == [(theirs.id, 6 * NANO)]

    expect_short_cuts(on_loop(story), 2)
    assert (spent(ours), spent(theirs)) == (2 * NANO, 6 * NANO)


def test_a_call_that_cannot_be_written_fails_alone(acme: Tenant) -> None:
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        broken = call(acme, NANO)
        broken = SpanBatch(acme.id, (replace(broken.drafts[0], metadata={"what": object()}),), broken.now)
        results = await asyncio.gather(
            ledger.submit(broken), ledger.submit(call(acme, NANO)), ledger.submit(broken), return_exceptions=True
        )
        assert [type(each) for each in results] == [TypeError, StoredBatch, TypeError]

    on_loop(story)
    assert spent(budget) == 2 * NANO


def test_who_stops_waiting_does_not_undo_the_booking(acme: Tenant) -> None:
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))
        impatient = ledger.submit(call(acme, NANO))
        impatient.cancel()
        await ledger.submit(call(acme, NANO))

    on_loop(story)
    assert spent(budget) == 3 * NANO


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no server whose connection could be lost")
class TestALostConnection:
    def test_calls_are_booked_by_the_group_commit_until_it_is_back(self, acme: Tenant) -> None:
        budget = define(acme, 100)

        async def story(ledger: LoopLedger) -> None:
            await ledger.submit(call(acme, NANO))
            await in_thread(end_the_connection)
            await ledger.submit(call(acme, NANO))
            assert ledger.booked == 0
            await ledger.connected()
            # What was learned before is still known.
            await ledger.submit(call(acme, NANO))
            await ledger.submit(call(acme, NANO))
            assert ledger.booked >= 1

        on_loop(story)
        assert spent(budget) == 4 * NANO
        assert CostSpan.objects.for_tenant(acme.id).count() == 4

    def test_a_call_in_flight_is_counted_once_when_the_connection_dies_under_it(self, acme: Tenant) -> None:
        budget = define(acme, 100)

        async def story(ledger: LoopLedger) -> None:
            await ledger.submit(call(acme, NANO))
            is_locked, may_go = threading.Event(), threading.Event()

            def hold_the_row() -> None:
                with transaction.atomic():
                    BudgetWindow.objects.for_tenant(acme.id).select_for_update().get()
                    is_locked.set()
                    assert may_go.wait(40)

            holding = asyncio.ensure_future(in_thread(hold_the_row))
            assert await asyncio.to_thread(is_locked.wait, 20)
            waiting = ledger.submit(call(acme, 2 * NANO, "in flight"))
            await in_thread(end_who_waits_for_a_lock)
            may_go.set()
            await holding
            stored: StoredBatch = await waiting
            assert stored.accepted == 1
            assert ledger.booked == 0

        on_loop(story)
        assert spent(budget) == 3 * NANO


def end_the_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND datname = current_database()",
            [APPLICATION_NAME],
        )


def end_who_waits_for_a_lock() -> None:
    def is_ended() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database() AND wait_event_type = 'Lock'",
                [APPLICATION_NAME],
            )
            return bool(cursor.fetchall())

    wait_until(is_ended, 20, "the loop's connection to wait for the row")


@pytest.mark.skipif(not IS_POSTGRES, reason="on SQLite the loop has no connection")
def test_a_server_that_stands_still_is_left_after_the_limit_and_each_call_is_counted_once(
    acme: Tenant, settings: Any
) -> None:
    settings.DATABASE_TIMEOUT_SECONDS = 0.5
    budget = define(acme, 100)

    async def story(ledger: LoopLedger) -> None:
        await ledger.submit(call(acme, NANO))

        def hold_the_row_until_it_was_given_up() -> None:
            with transaction.atomic():
                BudgetWindow.objects.for_tenant(acme).select_for_update().get(budget=budget)
                row_is_held.set()
                wait_until(lambda: ledger.left == 2, 40, "the loop to leave the second call, as it did the first")

        row_is_held = threading.Event()
        meanwhile = asyncio.create_task(in_thread(hold_the_row_until_it_was_given_up))
        assert await asyncio.to_thread(row_is_held.wait, 20)
        await ledger.submit(call(acme, 2 * NANO))
        await meanwhile

    expect_short_cuts(on_loop(story), 0)
    assert CostSpan.objects.for_tenant(acme).count() == 2
    assert spent(budget) == 3 * NANO


def test_holds_end_with_the_calls_that_they_were_made_for(acme: Tenant, settings: Any) -> None:
    settings.REDIS_URL = None
    define(acme, 100)
    held = [drive(reserve(Call(acme.id, timezone.now(), NANO, ADA))).hold for _ in range(3)]

    async def story(ledger: LoopLedger) -> None:
        for hold in held[:2]:
            assert hold is not None
            await ledger.submit(replace(call(acme, NANO), ended_holds=(hold.hold_id,)))

    expect_short_cuts(on_loop(story), 1)
    assert [each.id for each in Hold.objects.for_tenant(acme)] == [each.hold_id for each in held[2:] if each]
