"""When each key was last used: remembered in this process, written now and then, never on a request's path."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django.db.models import Q
from django.utils import timezone

from spendhub.tenants.models import ApiKey

logger = logging.getLogger(__name__)

FLUSH_EVERY = timedelta(minutes=1)

_lock = threading.Lock()
_used: dict[int, datetime] = {}
_flushed_at: datetime | None = None


def note_used(key_id: int, now: datetime) -> None:
    """Remembers that the key was used at `now`: one dict entry, whoever calls."""
    _used[key_id] = now


def flush_last_used(now: datetime) -> int:
    """Writes what this process remembers, at most once a minute; how many keys it wrote.

    It does not move the access snapshot: nobody's rights depend on it.
    """
    global _flushed_at, _used
    with _lock:
        if not _used or (_flushed_at is not None and now - _flushed_at < FLUSH_EVERY):
            return 0
        _flushed_at = now
        # A use noted between the swap and the loop may be lost; the next one is a moment away.
        remembered, _used = _used, {}
    with transaction.atomic():
        for key_id, used_at in sorted(remembered.items()):
            # Another process may have written a later moment already.
            earlier = Q(last_used_at__isnull=True) | Q(last_used_at__lt=used_at)
            ApiKey.objects.across_tenants().filter(earlier, pk=key_id).update(last_used_at=used_at)
    return len(remembered)


def forget_last_used() -> None:
    """Drops what is remembered. For tests."""
    global _flushed_at
    _used.clear()
    _flushed_at = None


class LastUsedFlusher(threading.Thread):
    """Each web process flushes its own memory; a database that does not answer is met again later."""

    def __init__(self, every_seconds: float = FLUSH_EVERY.total_seconds()) -> None:
        super().__init__(name="last-used-flusher", daemon=True)
        self._every_seconds = every_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            try:
                close_old_connections()
                flush_last_used(timezone.now())
            except (DatabaseError, InterfaceError) as error:
                logger.warning("last use of keys not written: %s", error)

    def stop(self) -> None:
        self._stopped.set()
