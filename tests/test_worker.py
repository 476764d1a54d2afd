"""The worker's loop: in turn, on time, and none able to stop the others."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from spendhub.worker import Worker
from spendhub.worker_jobs import JOBS, Job
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_job_runs_at_once_and_then_at_its_own_pace() -> None:
    clock, ran = Clock(), list[datetime]()
    worker = Worker([Job("often", 5, ran.append)], clock)
    assert worker.run_due_jobs() == 1.0  # never longer than a second, so that a stop is soon noticed
    clock.seconds += 4.5
    assert worker.run_due_jobs() == 0.5
    assert len(ran) == 1
    clock.seconds += 0.5
    worker.run_due_jobs()
    assert len(ran) == 2
    assert ran[0].tzinfo is UTC


def test_a_failing_job_stops_no_other_and_is_tried_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    clock, ran, attempts = Clock(), list[datetime](), list[float]()

    def fail(now: datetime) -> None:
        attempts.append(clock.seconds)
        raise RuntimeError("the vendor is away")

    worker = Worker([Job("broken", 1, fail), Job("sound", 1, ran.append)], clock)
    for _ in range(300):
        worker.run_due_jobs()
        clock.seconds += 1
    assert len(ran) == 300
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps == [2, 4, 8, 16, 32, 60, 60, 60]
    assert "job broken failed" in caplog.text


def test_a_job_that_works_again_is_back_to_its_own_pace() -> None:
    clock, attempts = Clock(), list[float]()

    def fail_twice(now: datetime) -> None:
        attempts.append(clock.seconds)
        if len(attempts) <= 2:
            raise RuntimeError("not yet")

    worker = Worker([Job("shaky", 1, fail_twice)], clock)
    for _ in range(10):
        worker.run_due_jobs()
        clock.seconds += 1
    assert attempts == [100, 102, 106, 107, 108, 109]


def test_a_stop_ends_the_loop_after_the_job_now_running() -> None:
    ran = threading.Event()
    worker = Worker([Job("quick", 0.01, lambda now: ran.set())])
    loop = threading.Thread(target=worker.run)
    loop.start()
    assert ran.wait(10)
    worker.stop()
    loop.join(10)
    assert not loop.is_alive()


def test_a_worker_without_jobs_waits() -> None:
    assert Worker([], Clock()).run_due_jobs() == 1.0


def test_every_job_has_a_name_of_its_own_and_can_run_on_an_empty_installation() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)
    worker = Worker(JOBS)
    worker.run_due_jobs()
    assert worker.failing_jobs() == []


def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(TimeoutError, match="the impossible"):
        wait_until(lambda: False, 0.05, "the impossible")
