"""What recorded calls teach: how fast and how reliable each model is, and how long its answers are.

A thread in each process reads the latest spans now and then, and hands the figures to routing (performance) and to
the gateway (expected_outputs). The ledger is shared, so all processes learn the same.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models.fields.json import KeyTextTransform

from routing.breaker_sharing import share_breakers
from routing.performance import Observed, set_observed, summarize
from spendhub.tenants.models import Tenant
from telemetry.expected_outputs import learn, set_learned
from telemetry.feedback import qualities_of
from telemetry.models import CostSpan

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 15.0
SHARE_SECONDS = 1.0
PERFORMANCE_HOURS = 6
OUTPUT_DAYS = 14
# Enough for steady figures, and a bounded read however busy a tenant is.
LATEST_CALLS = 5_000


class _Seen:
    """What was seen of one model."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.failures = 0
        self.qualities: list[float] = []

    def observed(self) -> Observed:
        return summarize(self.latencies_ms, self.failures, self.qualities)


def observe(now: datetime) -> None:
    """Reads the latest spans and ratings of every tenant and hands on what they teach."""
    outputs: list[tuple[int, str, str, int]] = []
    everybodys: dict[str, _Seen] = defaultdict(_Seen)
    for tenant_id in Tenant.objects.values_list("pk", flat=True):
        own: dict[str, _Seen] = defaultdict(_Seen)
        for model, scores in qualities_of(tenant_id, now - timedelta(days=OUTPUT_DAYS)).items():
            own[model].qualities += scores
            everybodys[model].qualities += scores
        for model, feature, status, duration_ms, output_tokens, occurred_at, review_of in _latest(tenant_id, now):
            # An answer from the cache has no duration: it says nothing of its model.
            if duration_ms is None:
                continue
            if status == CostSpan.Status.OK and review_of is None:
                # A review is short whatever its model usually says.
                outputs.append((tenant_id, feature, model, output_tokens))
            if occurred_at < now - timedelta(hours=PERFORMANCE_HOURS):
                continue
            for seen in (own[model], everybodys[model]):
                if status == CostSpan.Status.OK:
                    seen.latencies_ms.append(float(duration_ms))
                elif status == CostSpan.Status.ERROR:
                    seen.failures += 1
        set_observed({model: seen.observed() for model, seen in own.items()}, tenant_id)
    set_observed({model: seen.observed() for model, seen in everybodys.items()})
    set_learned(learn(outputs) if settings.LEARN_OUTPUTS else {})


def _latest(tenant_id: int, now: datetime) -> list[tuple[str, str, str, int | None, int, datetime, str | None]]:
    spans = CostSpan.objects.for_tenant(tenant_id).filter(
        source="gateway", occurred_at__gt=now - timedelta(days=OUTPUT_DAYS)
    )
    spans = spans.annotate(review_of=KeyTextTransform("review_of", "metadata"))
    fields = ("model", "feature", "status", "duration_ms", "output_tokens", "occurred_at", "review_of")
    return list(spans.order_by("-occurred_at").values_list(*fields)[:LATEST_CALLS])


class Observer(threading.Thread):
    """Observes every OBSERVE_SECONDS, and shares breakers every second. A dead database is waited for."""

    def __init__(self) -> None:
        super().__init__(name="observer", daemon=True)
        self._stopped = threading.Event()

    def run(self) -> None:
        seconds_until_observing = 0.0
        while True:
            share_breakers()
            if seconds_until_observing <= 0:
                seconds_until_observing = OBSERVE_SECONDS
                try:
                    close_old_connections()
                    observe(datetime.now(UTC))
                except (DatabaseError, InterfaceError) as error:
                    logger.warning("nothing observed: %s", error)
                finally:
                    close_old_connections()
            if self._stopped.wait(SHARE_SECONDS):
                return
            seconds_until_observing -= SHARE_SECONDS

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
