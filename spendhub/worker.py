"""The worker's loop: each job in its turn, none able to stop the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from django.db import close_old_connections

from spendhub.worker_jobs import Job

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 1.0
# A job that keeps failing is tried less and less often, but never given up.
LONGEST_BACKOFF_SECONDS = 60.0


class Worker:
    """Runs jobs one after the other when they are due, until `stop()`."""

    def __init__(self, jobs: Sequence[Job], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._monotonic = monotonic
        self._due_at = {job.name: monotonic() for job in jobs}
        self._failures = dict.fromkeys(self._due_at, 0)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends `run` after the job now running."""
        self._stopped.set()

    def failing_jobs(self) -> list[str]:
        """Names of the jobs whose last run failed."""
        return [name for name, failures in self._failures.items() if failures]

    def run(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self.run_due_jobs())

    def run_due_jobs(self) -> float:
        """Runs what is due, and answers how many seconds to wait until it is worth asking again."""
        for job in self._jobs:
            if self._stopped.is_set():
                return 0.0
            if self._monotonic() >= self._due_at[job.name]:
                self._due_at[job.name] = self._monotonic() + self._run(job)
        next_due_at = min(self._due_at.values(), default=self._monotonic() + LONGEST_WAIT_SECONDS)
        return min(max(next_due_at - self._monotonic(), 0.0), LONGEST_WAIT_SECONDS)

    def _run(self, job: Job) -> float:
        """Runs one job; the seconds until its next turn."""
        close_old_connections()
        try:
            answer = job.run(datetime.now(UTC))
        except Exception:  # whatever a job meets is its own: the others must go on
            self._failures[job.name] += 1
            pause: float = min(job.every_seconds * 2 ** self._failures[job.name], LONGEST_BACKOFF_SECONDS)
            pause = max(pause, job.every_seconds)
            logger.exception("job %s failed; next try in %.0f s", job.name, pause)
            return pause
        finally:
            close_old_connections()
        self._failures[job.name] = 0
        logger.debug("job %s: %s", job.name, answer)
        return job.every_seconds
