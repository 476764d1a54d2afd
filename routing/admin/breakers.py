"""Vendor health in the admin: which vendors answer, which are left alone, and how to overrule that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from routing.breaker_sharing import share_breakers
from routing.breakers import BREAKERS, PROBES, State
from routing.models import Provider
from routing.snapshot import CATALOG
from routing.vendor_health import Health, health_of_models
from spendhub.tenants.admin_scoping import SharedRowsAdmin
from spendhub.tenants.changes import record_change
from spendhub.tenants.seats import Rank, actor_of, seat_of

# Of a catalog with thousands of models, those with nothing to tell are not all drawn.
MOST_ROWS = 300
# Of what has failed more often than it has answered, nobody should read that it works.
MOSTLY = 0.5
_WITHOUT_REDIS = (
    "This installation runs without Redis: each server process keeps its own breakers, and what you see and do here "
    "is about the one that answers you."
)


@dataclass(frozen=True, slots=True)
class ShownHealth:
    """One model's health in words."""

    key: str
    provider: str
    model: str
    state: str
    look: str
    failures: int
    since: datetime | None
    goes_on: str
    probe_at: datetime | None
    calls: int
    p50: str
    p95: str
    failed: str
    is_closed: bool


class VendorHealthPages(SharedRowsAdmin):
    """Adds the pages below the providers' own."""

    def get_urls(self) -> Any:
        pages = [
            path("health/", self.admin_site.admin_view(self.health), name="routing_vendor_health"),
            path("health/force/", self.admin_site.admin_view(self.force), name="routing_vendor_force"),
        ]
        return [*pages, *super().get_urls()]

    def health(self, request: HttpRequest) -> HttpResponse:
        """Every model that has been called lately or is in trouble; with ?all=1 every model."""
        self.require(request, Rank.VIEWER)
        is_all = request.GET.get("all") == "1"
        found = [health for health in self._health(request) if is_all or health.tells]
        return self.page(
            request,
            "routing/vendor_health.html",
            "Vendor health",
            rows=[show(health) for health in found[:MOST_ROWS]],
            hidden=max(0, len(found) - MOST_ROWS),
            is_all=is_all,
            may_force=self.may(request, Rank.OPERATOR),
            failures_to_open=settings.BREAKER_FAILURES,
            open_seconds=settings.BREAKER_OPEN_SECONDS,
            probes=PROBES,
            note="" if settings.REDIS_URL else _WITHOUT_REDIS,
            # In the frame it stands beside the providers, not below them.
            opts=None,
        )

    def force(self, request: HttpRequest) -> HttpResponse:
        """Opens or closes one breaker by hand, after asking; for the operator of the installation."""
        self.require(request, Rank.OPERATOR)
        key, wanted = request.GET.get("key", ""), request.GET.get("state", "")
        health = next((health for health in self._health(request) if health.key == key), None)
        if health is None or wanted not in ("open", "closed"):
            raise Http404("no such breaker")
        back = reverse("admin:routing_vendor_health")
        if request.method == "POST":
            _force(request, health, "open" if wanted == "open" else "closed")
            return HttpResponseRedirect(back)
        if wanted == "open":
            title = f"Send no calls to {health.model} at {health.provider}?"
            text = (
                "Calls go to the other models of their route meanwhile; a call that names this model is told to try "
                "again later. It stays so, for every account, until somebody lets calls through again."
            )
        else:
            title = f"Let calls through to {health.model} at {health.provider}?"
            text = (
                "Its failures are forgotten and calls are sent to it at once. If it goes on failing, it is left "
                "alone again."
            )
        if not settings.REDIS_URL:
            text = f"{text} {_WITHOUT_REDIS}"
        button = "Send no calls" if wanted == "open" else "Let calls through"
        return self.ask(request, title=title, text=text, button=button, back=back)

    def _health(self, request: HttpRequest) -> list[Health]:
        seat = seat_of(request)
        return health_of_models(CATALOG.current(), BREAKERS.standing(), None if seat is None else seat.tenant_id)


def show(health: Health) -> ShownHealth:
    """One model's health as the page says it."""
    circuit, observed = health.circuit, health.observed
    if circuit.state == "open":
        state, look = ("Stopped by hand", "stopped") if circuit.is_forced else ("Left alone", "stopped")
    elif circuit.state == "half-open":
        state, look = "Being tried", "warned"
    elif circuit.failures:
        state, look = "Some failures", "warned"
    elif observed.error_rate > MOSTLY:
        # Let through by hand, for instance: nothing has shown yet that it works again.
        state, look = "Calls pass", "warned"
    else:
        state, look = "Working", "active"
    probe_at = health.probe_at
    goes_on = "until somebody lets calls through" if circuit.is_forced else ""
    if probe_at is not None and probe_at <= timezone.now():
        goes_on, probe_at = "with the next call", None
    return ShownHealth(
        key=urlencode({"key": health.key}),
        provider=health.provider,
        model=health.model,
        state=state,
        look=look,
        failures=circuit.failures,
        since=health.since,
        goes_on=goes_on,
        probe_at=probe_at,
        calls=observed.calls,
        p50=_seconds(observed.p50_ms),
        p95=_seconds(observed.p95_ms),
        failed=f"{100 * observed.error_rate:.1f} %" if observed.calls else "–",
        is_closed=circuit.state == "closed",
    )


def _force(request: HttpRequest, health: Health, state: State) -> None:
    rows = Provider.objects.across_tenants().filter(name=health.provider)
    row = rows.filter(Q(tenant=health.tenant_id)).first() or rows.filter(tenant__isnull=True).first()
    if row is None:
        raise Http404("its provider is gone")
    before = {"model": health.model, "breaker": health.circuit.state}
    BREAKERS.force(health.key, state, time.time())
    share_breakers()
    verb, told = ("open", "open, by hand") if state == "open" else ("close", "closed, by hand")
    record_change(health.tenant_id, actor_of(request), f"{verb} breaker", row, before, {"breaker": told})
    messages.success(
        request,
        f"No calls go to {health.model} at {health.provider} until you let them through."
        if state == "open"
        else f"Calls go to {health.model} at {health.provider} again.",
    )


def _seconds(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
