"""What recorded calls teach: how fast, reliable and good each model is, and how long its answers are.

A thread in each process reads the latest spans now and then, and hands the figures to routing (performance) and to
the gateway (expected_outputs). The ledger is shared, so all processes learn the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models.fields.json import KeyTextTransform

from routing.breaker_sharing import share_breakers
from routing.performance import BEST_QUALITY, UNMEASURED, Observed, set_observed, summarize
from routing.snapshot import CATALOG
from spendhub.tenants.models import Tenant
from telemetry.expected_outputs import learn, set_learned
from telemetry.feedback import Rating, qualities_of
from telemetry.models import CostSpan, QualityWeights
from telemetry.quality_rules import fault_of, points_for, weights_of

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 15.0
SHARE_SECONDS = 1.0
PERFORMANCE_HOURS = 6
OUTPUT_DAYS = 14
# Enough for steady figures, and a bounded read however busy a tenant is.
LATEST_CALLS = 5_000
# The event loop needs the interpreter's lock too: what is read at once delays calls; hence little, then a rest.
ROWS_AT_ONCE = 100
REST_FOR_WORK = 4.0
LONGEST_REST_SECONDS = 0.1

Pause = Callable[[float], object]
OwnModelId = str | int | None  # a database says it as text or as a number


class _Seen:
    """What was seen of one model."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.failures = 0
        self.ratings: list[Rating] = []
        self.quality_lost = 0.0
        self.looked_at = 0

    def observed(self) -> Observed:
        return summarize(
            self.latencies_ms,
            self.failures,
            [rating.score for rating in self.ratings],
            [rating.weight for rating in self.ratings],
            quality_lost=self.quality_lost / self.looked_at if self.looked_at else 0.0,
            looked_at=self.looked_at,
        )


class _Account:
    """What was seen of the models that one account has called, by the names that they have now.

    A call of its own model, or of one at its own provider, says so by the model's id: by now another model may have the
    name, and another account's may have had it all along. What is seen of it is nobody else's."""

    def __init__(self, tenant_id: int, everybodys: defaultdict[str, _Seen]) -> None:
        self._view = CATALOG.current().view(tenant_id)
        self._everybodys = everybodys
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self.name_now, self.is_own = cache(self._find_name), cache(self._tell_own)

    def about(self, name: str) -> tuple[_Seen, ...]:
        """Where what is seen of a model is noted: here, and with everybody's unless it is the account's own."""
        return (self._seen[name],) if self.is_own(name) else (self._seen[name], self._everybodys[name])

    def observed(self) -> dict[str, Observed]:
        """All of it."""
        return {name: seen.observed() for name, seen in self._seen.items()}

    def _find_name(self, name: str, own_model_id: OwnModelId) -> str | None:
        """None where the model is gone, or is called elsewhere now: its calls tell nothing more."""
        if own_model_id is None:
            return name
        found = self._view.resolve(name)
        if found is None or str(found.id) != str(own_model_id):
            found = next((each for each in self._view.models.values() if str(each.id) == str(own_model_id)), None)
        return found.name if found is not None and found.owner_id is not None else None

    def _tell_own(self, name: str) -> bool:
        found = self._view.resolve(name)
        return found is not None and found.owner_id is not None


class _Pace:
    """Rests `REST_FOR_WORK` times as long as was worked since the last rest."""

    def __init__(self, pause: Pause | None) -> None:
        self._pause = pause
        self._began = time.perf_counter()

    def rest(self) -> None:
        if self._pause is not None:
            worked = time.perf_counter() - self._began
            self._pause(min(REST_FOR_WORK * worked, LONGEST_REST_SECONDS))
            self._began = time.perf_counter()

    def slowly(self, calls: Iterator[_Call]) -> Iterator[_Call]:
        """The calls, with a rest after every `ROWS_AT_ONCE`."""
        for number, call in enumerate(calls, 1):
            yield call
            if number % ROWS_AT_ONCE == 0:
                self.rest()


def observe(now: datetime, pause: Pause | None = None) -> None:
    """Reads the latest spans and ratings of every tenant and hands on what they teach.

    `pause` waits for so many seconds; with it the work is done in small pieces, as a process needs that serves calls
    meanwhile.
    """
    pace = _Pace(pause)
    outputs: list[tuple[int, str, str, int]] = []
    everybodys: defaultdict[str, _Seen] = defaultdict(_Seen)
    accounts: dict[int, tuple[_Account, dict[str, Observed]]] = {}
    for tenant_id in Tenant.objects.values_list("pk", flat=True):
        account, weights = _Account(tenant_id, everybodys), weights_of(tenant_id)
        for rated, ratings in qualities_of(tenant_id, now - timedelta(days=OUTPUT_DAYS), weights).items():
            name = account.name_now(*rated)
            for seen in account.about(name) if name is not None else ():
                seen.ratings += ratings
        for call in pace.slowly(_latest(tenant_id, now)):
            name = account.name_now(call.model, call.own_model_id)
            # An answer from the cache has no duration: it says nothing of its model.
            if call.duration_ms is None or name is None:
                continue
            about = account.about(name)
            is_review = call.review_of is not None
            lost = None if is_review else _share_lost(call, weights)
            if lost is not None:
                for seen in about:
                    seen.quality_lost += lost
                    seen.looked_at += 1
            if call.status == CostSpan.Status.OK and not is_review:
                # A review is short whatever its model usually says.
                outputs.append((tenant_id, call.feature, name, call.output_tokens))
            if call.occurred_at < now - timedelta(hours=PERFORMANCE_HOURS):
                continue
            for seen in about:
                if call.status == CostSpan.Status.OK:
                    seen.latencies_ms.append(float(call.duration_ms))
                elif call.status == CostSpan.Status.ERROR:
                    seen.failures += 1
        accounts[tenant_id] = account, account.observed()
        pace.rest()
    shared = {model: seen.observed() for model, seen in everybodys.items()}
    set_observed(shared)
    for tenant_id, (account, found) in accounts.items():
        # What the account's own calls say nothing of is filled in here, and not by each call that looks it up.
        facts = {
            name: seen if account.is_own(name) else seen.filled_from(shared.get(name, UNMEASURED))
            for name, seen in found.items()
        }
        set_observed(facts, tenant_id)
    set_learned(learn(outputs) if settings.LEARN_OUTPUTS else {})


class _Call(NamedTuple):
    """What is read of one call."""

    model: str
    feature: str
    status: str
    duration_ms: int | None
    output_tokens: int
    occurred_at: datetime
    review_of: str | None
    reasoning_tokens: int
    finish_reason: str | None
    clamped_to: str | None
    own_model_id: OwnModelId


def _latest(tenant_id: int, now: datetime) -> Iterator[_Call]:
    spans = CostSpan.objects.for_tenant(tenant_id).filter(
        source="gateway", occurred_at__gt=now - timedelta(days=OUTPUT_DAYS)
    )
    # Taken out by the database: a call's metadata is longer than what is used of it.
    named = ("review_of", "finish_reason", "clamped_to", "own_model_id")
    told = {name: KeyTextTransform(name, "metadata") for name in named}
    rows = spans.annotate(**told).order_by("-occurred_at").values_list(*_Call._fields)[:LATEST_CALLS]
    return map(_Call._make, rows.iterator(chunk_size=ROWS_AT_ONCE))


def _share_lost(call: _Call, weights: QualityWeights) -> float | None:
    """Of the answer's quality, for its fault; None where the rules have nothing to say of it."""
    said_tokens = call.output_tokens - call.reasoning_tokens
    fault = fault_of(call.status, call.finish_reason, said_tokens, is_clamped=call.clamped_to is not None)
    return None if fault is None else weights.rules_weight * points_for(fault, weights) / BEST_QUALITY


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
                    observe(datetime.now(UTC), self._stopped.wait)
                except (DatabaseError, InterfaceError) as error:
                    logger.warning("nothing observed: %s", error)
                finally:
                    close_old_connections()
            if self._stopped.wait(SHARE_SECONDS):
                return
            seconds_until_observing -= SHARE_SECONDS

    def stop(self) -> None:
        """Ends the thread, and returns when it has ended."""
        self._stopped.set()
        if self.is_alive():
            self.join(5.0)
