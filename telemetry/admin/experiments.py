"""How experiments have turned out, in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone

from routing.snapshot import CATALOG
from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from spendhub.tenants.seats import Rank, seat_of
from telemetry.call_samples import Period
from telemetry.experiments import ExperimentMissing, experiment_report, experiments_seen, routes_of

SHOWN_DAYS = (1, 7, 30, 90)
USUAL_DAYS = 30


class ExperimentPages(ReadOnlyAdmin):
    """Adds the page below the calls' own."""

    def get_urls(self) -> Any:
        page = path("experiments/", self.admin_site.admin_view(self.experiments), name="telemetry_experiments")
        return [page, *super().get_urls()]

    def experiments(self, request: HttpRequest) -> HttpResponse:
        """The experiments of the last days, and one of them (?name=, else the latest) with its arms."""
        self.require(request, Rank.VIEWER)
        seat = seat_of(request)
        if seat is None:
            raise PermissionDenied
        days = next((days for days in SHOWN_DAYS if str(days) == request.GET.get("days")), USUAL_DAYS)
        shown: dict[str, Any] = {"tenant": seat.tenant, "days": days, "choices": SHOWN_DAYS}
        if seat.tenant is not None:
            now = timezone.now()
            period = Period(seat.tenant.pk, now - timedelta(days=days), now)
            shown |= _shown(period, request.GET.get("name", ""))
        # In the frame it stands beside the calls, not below them.
        return self.page(request, "telemetry/experiments.html", "Experiments", opts=None, **shown)


def _shown(period: Period, name: str) -> dict[str, Any]:
    seen = experiments_seen(period)
    names = [each["name"] for each in seen["results"]]
    chosen = name or (names[0] if names else "")
    if not chosen:
        return {"names": names}
    try:
        found = experiment_report(period, chosen)
    except ExperimentMissing as error:
        raise Http404(error.message) from None
    return {
        "names": names,
        "found": found,
        "arms": [_arm_in_words(arm) for arm in found["arms"]],
        "routes": _routes(period.tenant_id, found["name"], found["routes"]),
    }


def _routes(tenant_id: int, experiment: str, seen: Sequence[str]) -> list[tuple[str, str]]:
    """Each route that shares, or has shared, its calls out in this experiment, and its page ("" where it is gone)."""
    known = CATALOG.current().routes.seen_by(tenant_id)
    names = sorted({*seen, *routes_of(tenant_id, experiment)} - {""})
    return [
        (name, reverse("admin:routing_route_change", args=[known[name].id]) if name in known else "") for name in names
    ]


def _arm_in_words(arm: dict[str, Any]) -> dict[str, Any]:
    return {
        **arm,
        "wanted": _percent(arm["share_wanted"]),
        "seen": _percent(arm["share_seen"]),
        "succeeded": _percent(arm["success_rate"]),
        "cost_per_call": "–" if arm["cost_per_call"] is None else f"${arm['cost_per_call']}",
        "p50": _milliseconds(arm["p50_ms"]),
        "p95": _milliseconds(arm["p95_ms"]),
        "rated": "–" if arm["quality"] is None else f"{arm['quality']:.2f}",
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"
