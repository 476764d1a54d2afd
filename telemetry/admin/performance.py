"""How models have done, side by side, in the admin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from spendhub.tenants.admin_fields import show_number
from telemetry.admin.pages_of_days import PagesOfDays
from telemetry.call_samples import CallSample, Period
from telemetry.model_performance import FILTERS, GROUPS, performance_report

MOST_OFFERED = 200
FAULTS_IN_WORDS = {
    "broken_off": "broken off",
    "refused": "refused",
    "malformed": "unreadable tool call",
    "cut_off": "cut off",
    "empty": "empty",
}


class PerformancePages(PagesOfDays):
    """Adds the page below the calls' own."""

    def get_urls(self) -> Any:
        page = path("performance/", self.admin_site.admin_view(self.performance), name="telemetry_performance")
        return [page, *super().get_urls()]

    def performance(self, request: HttpRequest) -> HttpResponse:
        """Success, speed, cost and quality of the calls of the last ?days=, by ?by= (model, unless said); of those of
        one ?feature=, ?task= or ?source=, where said."""
        group_by = next((group for group in GROUPS if group == request.GET.get("by")), GROUPS[0])
        asked = {name: request.GET.get(name, "").strip() for name in FILTERS}
        return self.page_of_days(
            request, "telemetry/performance.html", "Performance", lambda period: _shown(period, group_by, asked)
        )


def _shown(period: Period, group_by: str, asked: Mapping[str, str]) -> dict[str, Any]:
    filters = {name: value for name, value in asked.items() if value}
    found = performance_report(replace(period, filters=filters), group_by)
    return {
        "filters": [(name, asked[name], _offered(period, name)) for name in FILTERS],
        "is_narrowed": bool(filters),
        "groups": GROUPS,
        "group_by": group_by,
        "sample": found["sample"],
        "lines": [_in_words(line) for line in found["results"]],
    }


def _offered(period: Period, name: str) -> list[str]:
    """What there is to choose from, among the calls that are looked at."""
    calls = CallSample(period).calls.exclude(**{name: ""})
    return list(calls.order_by(name).values_list(name, flat=True).distinct()[:MOST_OFFERED])


def _in_words(line: dict[str, Any]) -> dict[str, Any]:
    rules = line["rules"]
    return {
        "key": line["key"],
        "rank": _said(line["rank"]),
        "calls": f"{line['calls']:,}",
        "succeeded": _said(line["success_rate"] and 100 * line["success_rate"], ".1f", " %"),
        **{name: _said(line[f"{name}_ms"], ",.0f", " ms") for name in ("p50", "p95", "p99")},
        "cost_per_call": "–" if line["cost_per_call"] is None else f"${line['cost_per_call']}",
        "quality": _said(line["quality"], ".2f"),
        "ratings": f"{line['ratings']:,}",
        "rules": _said(rules["score"], ".2f"),
        "faults": ", ".join(f"{count:,} {FAULTS_IN_WORDS[name]}" for name, count in rules["faults"].items()),
        "blended": _said(line["blended_quality"], ".2f"),
        "per_usd": "–" if line["quality_per_usd"] is None else show_number(line["quality_per_usd"]),
    }


def _said(value: float | None, form: str = "", unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
