"""`manage.py worker`: runs the periodic jobs. `serve` starts one; a second does no harm."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from spendhub.processes import start_background_threads, stop_background_threads
from spendhub.worker import Worker
from spendhub.worker_jobs import JOBS


class Command(BaseCommand):
    help = "Run what happens later: expiry, corrections, summaries. `serve` starts one by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker(JOBS)

        def stop(number: int, frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        start_background_threads()
        worker.run()
        stop_background_threads()
