"""What need not be kept for ever: decisions and settled reservations. Spans, ledger and events stay."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from budgets.models import Decision, Reservation

# Small portions: a long delete would hold the database's one writer on SQLite.
PORTION = 2_000


def prune_decisions(now: datetime) -> int:
    """Deletes one portion of decisions older than SPENDHUB_DECISION_DAYS; says how many."""
    old = Decision.objects.across_tenants().filter(created_at__lt=now - timedelta(days=settings.DECISION_DAYS))
    ids = list(old.order_by("created_at").values_list("id", flat=True)[:PORTION])
    return Decision.objects.across_tenants().filter(id__in=ids).delete()[0] if ids else 0


def prune_reservations(now: datetime) -> int:
    """Deletes one portion of reservations that ended more than SPENDHUB_DECISION_DAYS ago; says how many.

    Until then a repeat of their idempotency key, and a late commit, are understood.
    """
    old = Reservation.objects.across_tenants().filter(expires_at__lt=now - timedelta(days=settings.DECISION_DAYS))
    ids = list(old.order_by("expires_at").values_list("id", flat=True)[:PORTION])
    return Reservation.objects.across_tenants().filter(id__in=ids).delete()[0] if ids else 0
