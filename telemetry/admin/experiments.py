"""How experiments have turned out, in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse

from routing.snapshot import CATALOG
from telemetry.admin.pages_of_days import PagesOfDays
from telemetry.call_samples import Period
from telemetry.experiments import ExperimentMissing, experiment_report, experiments_seen, routes_of


class ExperimentPages(PagesOfDays):
    """Adds the page below the calls' own."""

    def get_urls(self) -> Any:
        page = path("experiments/", self.admin_site.admin_view(self.experiments), name="telemetry_experiments")
        return [page, *super().get_urls()]

    def experiments(self, request: HttpRequest) -> HttpResponse:
        """The experiments of the last days, and one of them (?name=, else the latest) with its arms; 404 where none is
        called so."""
        response = self.page_of_days(
            request,
            "telemetry/experiments.html",
            "Experiments",
            lambda period: _shown(period, request.GET.get("name", "")),
        )
        if response.context_data is not None and "problem" in response.context_data:
            response.status_code = 404
        return response


def _shown(period: Period, name: str) -> dict[str, Any]:
    # A route that was saved a moment ago leads here.
    CATALOG.refresh()
    seen = experiments_seen(period)
    names = [each["name"] for each in seen["results"]]
    chosen = name or (names[0] if names else "")
    if not chosen:
        return {"names": names}
    try:
        found = experiment_report(period, chosen)
    except ExperimentMissing as error:
        return {"names": names, "problem": error.message}
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
