"""One store counts at a time: lost memory, a dead Redis, and the way back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from budgets.counters import charge as charging
from budgets.counters import database, drive
from budgets.counters.base import Count, CountersChangingHands, Hold
from budgets.counters.charge import FencedStore, counters
from budgets.counters.drive import drive as run
from budgets.counters.fence import HANDOVER_SECONDS, LEASE_SECONDS
from budgets.counters.keeper import Keeper
from budgets.models import CounterFence, HoldLine, Reservation
from budgets.models import Hold as HoldRow
from spendhub import group_commit
from spendhub.steps import Journey, Pause
from tests.budgets.counters.conftest import hold_of, reservation, total
from tests.servers import Valkey, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def closed_in_the_end() -> Iterator[None]:
    yield
    drive.close()
    database.close()
    group_commit.writer().close()


@pytest.fixture
def redis_in_charge(valkey: Valkey, settings: Any) -> Valkey:
    settings.REDIS_URL = valkey.url
    return valkey


def reserve_in_the_end(store: FencedStore, hold: Hold, seconds: float = 10) -> bool:
    """Asks again for as long as the answer is 503, as a client would."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return run(store.reserve(hold, time.time())).is_held
        except CountersChangingHands:
            if time.monotonic() > deadline:
                raise


def without_pauses(journey: Journey[Any]) -> Journey[Any]:
    """The journey, which waits for answers and for nothing else."""
    try:
        step = next(journey)
        while True:
            assert not isinstance(step, Pause), "nobody else could be counting"
            step = journey.send((yield step))
    except StopIteration as end:
        return end.value


def test_the_lease_is_over_before_a_new_store_may_count() -> None:
    assert LEASE_SECONDS < HANDOVER_SECONDS


def test_without_redis_the_database_counts_at_once(acme: Any, day: Any, settings: Any) -> None:
    settings.REDIS_URL = None
    assert run(without_pauses(counters().reserve(hold_of(acme, day), time.time()))).is_held
    fence = CounterFence.objects.get()
    assert (fence.store, fence.is_open) == ("database", True)
    assert HoldRow.objects.for_tenant(acme).count() == 1


def test_with_redis_it_counts_at_once_and_the_database_holds_nothing(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    assert run(counters().reserve(hold_of(acme, day), time.time())).is_held
    assert CounterFence.objects.get().store == "redis"
    assert run(counters().look(acme.pk, [day], time.time())) == (Count(0, 60),)
    assert HoldRow.objects.for_tenant(acme).count() == 0


def test_after_lost_memory_calls_in_flight_are_held_again_before_anything_passes(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    first = hold_of(acme, day)
    assert run(counters().reserve(first, time.time())).is_held
    epoch = CounterFence.objects.get().epoch
    _flush(redis_in_charge)
    assert not reserve_in_the_end(counters(), hold_of(acme, day))
    assert run(counters().look(acme.pk, [day], time.time())) == (Count(0, 60),)
    assert CounterFence.objects.get().epoch > epoch
    run(counters().settle(first, [], time.time()))
    assert run(counters().look(acme.pk, [day], time.time())) == (Count(0, 0),)


def test_a_restarted_redis_that_kept_a_file_is_not_trusted_with_the_last_second(
    acme: Any, day: Any, tmp_path: Any, settings: Any
) -> None:
    server = Valkey(tmp_path / "durable", durable=True).start()
    settings.REDIS_URL = server.url
    try:
        run(counters().reserve(hold_of(acme, day), time.time()))
        epoch = CounterFence.objects.get().epoch
        server.kill()
        server.start()
        assert not reserve_in_the_end(counters(), hold_of(acme, day))
        assert CounterFence.objects.get().epoch > epoch
    finally:
        server.stop()


def test_a_dead_redis_hands_over_to_the_database_with_all_that_is_held_and_gets_it_back(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    store = counters()
    first = hold_of(acme, day)
    assert run(store.reserve(first, time.time())).is_held
    redis_in_charge.kill()

    assert not reserve_in_the_end(store, hold_of(acme, day))
    assert CounterFence.objects.get().store == "database"
    assert HoldLine.objects.for_tenant(acme).count() == 1
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 60),)
    second = hold_of(acme, day, amount=40)
    assert run(store.reserve(second, time.time())).is_held

    redis_in_charge.start()
    keeper = Keeper(store)
    wait_until(lambda: _back_in_redis(keeper, store), 15, "Redis in charge again")
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 100),)
    assert not run(store.reserve(hold_of(acme, day, amount=1), time.time())).is_held
    assert HoldRow.objects.for_tenant(acme).count() == 0
    run(store.settle(first, (), time.time()))
    run(store.settle(second, (), time.time()))
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 0),)


def test_calls_of_a_dead_process_move_with_the_rest_from_the_database_to_redis(
    acme: Any, day: Any, valkey: Valkey, settings: Any
) -> None:
    settings.REDIS_URL = None
    hold = hold_of(acme, day)
    run(counters().reserve(hold, time.time()))
    charging.forget()  # its process is gone
    settings.REDIS_URL = valkey.url
    keeper = Keeper(counters())
    counters().refresh()
    wait_until(lambda: _back_in_redis(keeper, counters()), 15, "Redis in charge")
    assert run(counters().look(acme.pk, [day], time.time())) == (Count(0, 60),)
    assert [orphan.hold_id for orphan in run(counters().orphans(acme.pk, time.time() + 61))] == [hold.hold_id]


def test_a_call_that_ends_while_the_database_hands_over_to_redis_does_not_stay_held(
    acme: Any, day: Any, valkey: Valkey, settings: Any
) -> None:
    settings.REDIS_URL = None
    store = counters()
    hold = hold_of(acme, day)
    assert run(store.reserve(hold, time.time())).is_held
    settings.REDIS_URL = valkey.url
    database_charge = store.charge
    assert database_charge is not None
    store.change_hands(database_charge, "redis", "Redis answers again")
    assert store.charge is not None and not store.charge.is_open
    run(store.settle(hold, (), time.time()))

    keeper = Keeper(store)
    wait_until(lambda: _back_in_redis(keeper, store), 15, "Redis in charge")
    keeper.step(time.monotonic())
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 0),)
    assert store.untold == {}


def test_an_installation_that_gives_up_redis_counts_in_the_database(
    acme: Any, day: Any, valkey: Valkey, settings: Any
) -> None:
    settings.REDIS_URL = valkey.url
    first = hold_of(acme, day)
    run(counters().reserve(first, time.time()))
    settings.REDIS_URL = None
    charging.forget()
    assert reserve_in_the_end(counters(), hold_of(acme, day))
    assert CounterFence.objects.get().store == "database"


def test_a_reserve_waits_for_a_change_of_hands_and_then_says_when_to_come_back(
    acme: Any, day: Any, settings: Any
) -> None:
    settings.REDIS_URL = None
    counters().refresh()
    fence = CounterFence.objects.get()
    CounterFence.objects.update(is_open=False, epoch=fence.epoch + 1, effective_at="2099-01-01T00:00:00Z")
    hold = hold_of(acme, day)
    with pytest.raises(CountersChangingHands) as stopped:
        run(counters().reserve(hold, time.time()))
    assert stopped.value.retry_after_seconds == 2
    assert HoldRow.objects.for_tenant(acme).count() == 0


def test_a_settle_that_redis_does_not_hear_fails_nobody_and_is_told_later(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    store = counters()
    hold = hold_of(acme, day)
    run(store.reserve(hold, time.time()))
    redis_in_charge.kill()
    run(store.settle(hold, [total(day, 50, version=1)], time.time()))
    assert list(store.untold) == [hold.hold_id]
    redis_in_charge.start()
    reserve_in_the_end(store, hold_of(acme, day, amount=0))
    Keeper(store).step(time.monotonic())
    assert store.untold == {}
    assert run(store.look(acme.pk, [day], time.time()))[0].reserved_nano_usd == 0


def test_a_reserve_that_is_cut_off_is_released_later(acme: Any, day: Any, redis_in_charge: Valkey) -> None:
    store = counters()
    run(store.reserve(hold_of(acme, day, amount=1), time.time()))
    store.refresh()  # its lease is fresh: the first step is the script
    journey = store.reserve(hold_of(acme, day, amount=50), time.time())
    step = next(journey)  # the script is sent ...
    drive.scripts().run_script(step)  # type: ignore[union-attr, arg-type]  # Redis is configured, and the step a script
    journey.close()  # ... and the caller leaves before its answer
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 51),)
    store.tell_the_untold()
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 1),)


def test_a_hold_made_under_a_lease_that_has_run_out_is_asked_for_again(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    store = counters()
    run(store.look(acme.pk, [day], time.time()))
    store.refresh()
    journey = store.reserve(hold_of(acme, day), time.time())
    step = next(journey)
    answer = drive.scripts().run_script(step)  # type: ignore[union-attr, arg-type]  # as above
    store._read_at -= 10  # the answer took so long that another store may count by now
    again = journey.send(answer)
    assert again.function == store.refresh  # type: ignore[union-attr]  # a call in a thread


def test_open_reservations_move_to_the_database_and_settled_ones_do_not(
    acme: Any, day: Any, redis_in_charge: Valkey
) -> None:
    store = counters()
    now = time.time()
    kept, settled = (reservation(acme.pk, [day], 30, expires_at=now + 600, hold_id=uuid.uuid4()) for _ in range(2))
    for hold, status in ((kept, "held"), (settled, "held")):
        assert run(store.reserve(hold, now)).is_held
        Reservation.objects.create(
            id=hold.hold_id,
            tenant=acme,
            amount_nano_usd=30,
            status=status,
            created_at=database._moment(now),
            expires_at=database._moment(now + 600),
            lines=[[str(day.budget_id), day.scope_key, day.starts_at, day.ends_at]],
        )
    redis_in_charge.kill()
    # Settled by another process: ours still has it among its live holds.
    Reservation.objects.for_tenant(acme).filter(pk=settled.hold_id).update(status="released")
    assert reserve_in_the_end(store, hold_of(acme, day, amount=70))
    assert run(store.look(acme.pk, [day], time.time())) == (Count(0, 100),)


def _flush(server: Valkey) -> None:
    import redis

    client = redis.Redis.from_url(server.url)
    client.flushall()
    client.close()


def _back_in_redis(keeper: Keeper, store: FencedStore) -> bool:
    keeper.step(time.monotonic())
    store.refresh()
    charge = store.charge
    return charge is not None and charge.store == "redis" and charge.is_open
