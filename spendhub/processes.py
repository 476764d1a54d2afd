"""What every process of SpendHub does at its start and at its end: web workers and the worker alike.

`start_background_threads` is called once the settings are loaded, before the first request;
`stop_background_threads` after the last one. Both planes and the `worker` command call them; what
must run in each process (a poller, a writer) is started here, aloud.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import signal
import sys
import threading

from django.db import Error as DatabaseProblem
from django.db import close_old_connections

from budgets.counters import keeper
from spendhub.bounded_postgres import bounded_waits
from spendhub.snapshots import SnapshotPoller, refresh_all
from spendhub.tenants.last_used import LastUsedFlusher
from telemetry.observing import Observer

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
# How many new objects the garbage collector waits for, and how many of its own rounds before it looks further back.
# With Python's own 700 it ran at every tenth call while many were under way, for 4 % of the data plane's CPU, although
# nearly all that a call leaves is gone without it. A round over this many takes 2 to 4 ms.
COLLECT_AFTER = (10_000, 20, 20)

_lock = threading.Lock()
_poller: SnapshotPoller | None = None
_flusher: LastUsedFlusher | None = None
_observer: Observer | None = None


def die_with_parent() -> None:
    """Asks Linux to send this process SIGTERM when the one that started it dies, even by kill -9.

    Elsewhere nothing happens: a killed supervisor then leaves its children to be stopped by hand.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start_background_threads() -> None:
    """Warms the snapshots and starts what keeps them fresh. A second call changes nothing."""
    global _flusher, _observer, _poller
    with _lock:
        if _poller is not None:
            return
        _poller = SnapshotPoller(have_been_read=_could_read_snapshots())
        _poller.start()
        _flusher = LastUsedFlusher()
        _flusher.start()
        _observer = Observer()
        _observer.start()
        keeper.start_threads()
    # What was loaded so far lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _could_read_snapshots() -> bool:
    try:
        with bounded_waits():
            refresh_all()
    except DatabaseProblem as error:
        # The poller tries again twice a second. Until it succeeds calls are answered 503, and /readyz says no.
        logger.warning("the database does not answer yet: %s", error)
        return False
    finally:
        close_old_connections()
    return True


def stop_background_threads() -> None:
    """Ends what `start_background_threads` has started."""
    global _flusher, _observer, _poller
    with _lock:
        if _observer is not None:
            _observer.stop()
            _observer = None
        if _flusher is not None:
            _flusher.stop()
            _flusher = None
        if _poller is not None:
            _poller.stop()
            _poller = None
            keeper.stop_threads()


def snapshots_age_seconds() -> float | None:
    """How long ago this process last compared its snapshots with the database; infinite where it could not read them
    yet, None before it began to."""
    return _poller.age_seconds() if _poller is not None else None
