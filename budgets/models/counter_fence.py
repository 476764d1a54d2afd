"""Which counter store is in charge."""

from __future__ import annotations

from django.db import models


class CounterFence(models.Model):
    """Which counter store is in charge: one row for the installation.

    `epoch` grows with every change of store and whenever Redis has lost its memory; no reserve
    passes before `effective_at`, by when every process has seen the change or stopped by itself.
    After that moment the first process to need it opens it: what is held is then all in the new store.
    """

    class Store(models.TextChoices):
        REDIS = "redis", "Redis"
        DATABASE = "database", "Database"

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    store = models.CharField(max_length=8, choices=Store.choices)
    epoch = models.BigIntegerField(default=1)
    effective_at = models.DateTimeField()
    is_open = models.BooleanField(default=False)
    reason = models.CharField(max_length=200, blank=True)
