"""In-process copies of slow-changing rows, rebuilt when their version moves.

The data plane touches no ORM on its path: it reads `Snapshot.current()`. Each app declares its own
snapshot (`ACCESS = Snapshot("access", build_access)`) and every change of a row behind it calls
`bump(name)` in the same transaction, so that the new version is seen only with the new rows.
One thread per process polls the versions (one small query); an edit is in force everywhere within
`POLL_SECONDS` plus the time of one rebuild.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, models, transaction

from spendhub.bounded_postgres import bounded_waits
from spendhub.errors import Unavailable

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5

Data = TypeVar("Data")


class SnapshotVersion(models.Model):
    """How often the rows behind one snapshot have changed."""

    name = models.CharField(max_length=40, primary_key=True)
    version = models.BigIntegerField(default=0)

    class Meta:
        app_label = "spendhub"

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


def read_version(name: str) -> int:
    """The version now in the database, 0 when nothing was ever changed."""
    found = SnapshotVersion.objects.filter(name=name).values_list("version", flat=True).first()
    return found or 0


def bump(name: str) -> None:
    """Says that rows behind snapshot `name` have changed; call it inside their transaction."""
    with transaction.atomic():
        changed = SnapshotVersion.objects.filter(name=name).update(version=models.F("version") + 1)
        if not changed:
            _, created = SnapshotVersion.objects.get_or_create(name=name, defaults={"version": 1})
            if not created:
                SnapshotVersion.objects.filter(name=name).update(version=models.F("version") + 1)


class SnapshotRow(models.Model):
    """A row behind a snapshot: saving or deleting it moves the version of the snapshot called `snapshot_name`."""

    snapshot_name: ClassVar[str]

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            super().save(*args, **kwargs)
            bump(self.snapshot_name)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            deleted = super().delete(*args, **kwargs)
            bump(self.snapshot_name)
        return deleted


class Snapshot(Generic[Data]):
    """One in-process copy: `build()` makes it from the database, `current()` gives the latest."""

    registry: dict[str, Snapshot[Any]] = {}

    def __init__(self, name: str, build: Callable[[], Data]) -> None:
        self.name = name
        self._build = build
        self._lock = threading.Lock()
        self._held: tuple[int, Data] | None = None
        Snapshot.registry[name] = self

    def current(self) -> Data:
        """The latest copy this process has; built on first use, which reads the database. On an event loop, which may
        not wait for that, raises Unavailable where there is none yet: the poller is about to read it."""
        held = self._held
        if held is not None:
            return held[1]
        if _is_on_event_loop():
            raise Unavailable("the database has not been read yet since this process started; please try again")
        return self.refresh()

    @property
    def version(self) -> int:
        """The version of the copy this process has, -1 before the first."""
        held = self._held
        return held[0] if held is not None else -1

    def refresh(self, known_version: int | None = None) -> Data:
        """Rebuilds the copy if the database has moved on. `known_version` saves one query."""
        with self._lock:
            # The version is read before the rows: rows newer than it are merely rebuilt once more.
            version = read_version(self.name) if known_version is None else known_version
            if self._held is None or self._held[0] != version:
                self._held = (version, self._build())
            return self._held[1]

    def forget(self) -> None:
        """Drops the copy; the next `current()` builds it anew. For tests."""
        self._held = None


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def refresh_all() -> None:
    """Rebuilds every snapshot whose version has moved: one query when nothing has."""
    versions = dict(SnapshotVersion.objects.values_list("name", "version"))
    for snapshot in list(Snapshot.registry.values()):
        if snapshot.version != versions.get(snapshot.name, 0):
            snapshot.refresh(versions.get(snapshot.name, 0))


class SnapshotPoller(threading.Thread):
    """Keeps this process's snapshots fresh. A database that does not answer leaves them as they are; `have_been_read`
    says whether they are there at all."""

    def __init__(self, poll_seconds: float = POLL_SECONDS, *, have_been_read: bool = True) -> None:
        super().__init__(name="snapshot-poller", daemon=True)
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self.last_success_monotonic = time.monotonic() if have_been_read else -math.inf

    def run(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                with bounded_waits():
                    close_old_connections()
                    refresh_all()
                self.last_success_monotonic = time.monotonic()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("snapshots not refreshed: %s", error)

    def age_seconds(self) -> float:
        """How long ago the snapshots were last compared with the database; infinite before they could be read."""
        return time.monotonic() - self.last_success_monotonic

    def stop(self) -> None:
        """Ends the thread, and returns when it has ended."""
        self._stopped.set()
        if self.is_alive():
            self.join(5.0)
