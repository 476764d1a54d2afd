"""When to leave Redis and when to trust it again."""

from __future__ import annotations

from budgets.counters.breaker import Breaker, Recovery


def test_it_trips_when_failures_have_lasted_a_second() -> None:
    breaker = Breaker()
    assert not breaker.failed(10.0)
    assert not breaker.failed(10.5)
    assert not breaker.failed(10.9)
    assert breaker.failed(11.0)


def test_two_failures_far_apart_do_not_trip_it() -> None:
    breaker = Breaker()
    breaker.failed(10.0)
    assert not breaker.failed(20.0)


def test_a_success_in_between_begins_anew() -> None:
    breaker = Breaker()
    for moment in (10.0, 10.5, 10.9):
        breaker.failed(moment)
    breaker.succeeded()
    assert not breaker.failed(11.0)


def test_redis_is_trusted_after_three_seconds_without_a_failed_probe() -> None:
    recovery = Recovery()
    assert [recovery.probed(True, moment) for moment in (0.0, 1.0, 2.9, 3.0)] == [False, False, False, True]
    assert not recovery.probed(False, 4.0)
    assert not recovery.probed(True, 5.0)
    recovery.forget()
    assert not recovery.probed(True, 9.0)
