"""What the calls of some days would have cost another way, beside how good their answers were, in the admin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from routing.snapshot import CATALOG
from routing.strategies.registry import strategy_called
from spendhub.errors import SpendHubError
from spendhub.tenants.admin_fields import show_usd
from spendhub.tenants.snapshot import ACCESS
from telemetry.admin.pages_of_days import PagesOfDays
from telemetry.call_samples import Period
from telemetry.feedback import QualityQuestion, quality_report
from telemetry.shadow import USUAL_STRATEGY, Compared, find_shadow, strategies_at_hand

# Of ?strategy=: the name of a route follows, by whose own strategy and options the calls are compared.
BY_ROUTE = "route:"


class SavingsPages(PagesOfDays):
    """Adds the page below the calls' own."""

    def get_urls(self) -> Any:
        page = path("savings/", self.admin_site.admin_view(self.savings), name="telemetry_savings")
        return [page, *super().get_urls()]

    def savings(self, request: HttpRequest) -> HttpResponse:
        """The calls of the last ?days= as they were, and with one model (?model=), else with another strategy
        (?strategy=cost-optimized) or by one route (?strategy=route:NAME)."""
        strategy, model = request.GET.get("strategy", "") or USUAL_STRATEGY, request.GET.get("model", "").strip()
        return self.page_of_days(
            request, "telemetry/savings.html", "Savings", lambda period: _shown(period, strategy, model)
        )


def _shown(period: Period, strategy: str, model: str) -> dict[str, Any]:
    # A route that was saved a moment ago is among those to choose from.
    routes = CATALOG.refresh().routes.seen_by(period.tenant_id)
    return {
        "strategies": [(each.name, each.summary) for each in strategies_at_hand()],
        "routes": [(f"{BY_ROUTE}{name}", name) for name in sorted(routes) if routes[name].is_enabled],
        "strategy": "" if model else strategy,
        "model": model,
        "models": _chat_models(period.tenant_id),
        **_compared(period, strategy, model),
    }


def _chat_models(tenant_id: int) -> list[str]:
    return sorted(model.name for model in CATALOG.current().models_of(tenant_id) if model.kind == "chat")


def _compared(period: Period, strategy: str, model: str) -> dict[str, Any]:
    tenant = ACCESS.refresh().tenants[period.tenant_id]
    asked: dict[str, Any] = {"strategy": None, "model": model or None}
    if not model and strategy.startswith(BY_ROUTE):
        name = strategy.removeprefix(BY_ROUTE)
        asked["route"] = CATALOG.current().routes.seen_by(tenant.id).get(name)
        if asked["route"] is None:
            return {"problem": f"no route is called {name[:60]!r}"}
    try:
        if not model and "route" not in asked:
            asked["strategy"] = strategy_called(strategy).name
        found = find_shadow(tenant, period.starts_at, period.ends_at, **asked)
    except SpendHubError as error:
        # A name that is no strategy or model any more, or a strategy that the tenant's routes have no options for.
        return {"problem": error.message}
    opinions = _opinions(period)
    return {
        "found": found,
        "sampled": f"{found.total.calls:,}",
        "recorded": f"{found.recorded:,}",
        "total": _in_words(found.total),
        "lines": [
            {"model": name, **_in_words(compared), **opinions.get(name, {})} for name, compared in found.by_model
        ],
        "stand_ins": _shares(found.total.most_first()),
        "canned": _of_the_sandbox(period.tenant_id, found.total.answered_by),
    }


def _of_the_sandbox(tenant_id: int, names: Iterable[str]) -> list[str]:
    """Those models that are the built-in test provider's."""
    found = {name: CATALOG.current().resolve(tenant_id, name) for name in names}
    return sorted(name for name, model in found.items() if model is not None and model.provider.dialect == "sandbox")


def _in_words(compared: Compared) -> dict[str, Any]:
    share = compared.saved_share
    return {
        "calls": f"{compared.calls:,}",
        "unfit": compared.unfit_calls,
        "cost": show_usd(compared.actual_nano_usd),
        "shadow_cost": show_usd(compared.shadow_nano_usd),
        "is_loss": compared.saved_nano_usd < 0,
        "saved": show_usd(abs(compared.saved_nano_usd)),
        "share": "" if share is None else f"{abs(share) * 100:.0f} %",
    }


def _opinions(period: Period) -> dict[str, dict[str, str]]:
    """What was thought of each model's answers, by its name."""
    question = QualityQuestion(period.tenant_id, period.starts_at, period.ends_at, {}, group_by="model")
    return {group["key"]: _opinion(group) for group in quality_report(question)["groups"]}


def _opinion(group: dict[str, Any]) -> dict[str, str]:
    overall, share = group["scores"]["overall"], group["thumbs"]["share"]
    return {
        "quality": "–" if overall is None else f"{overall:.2f}",
        "liked": "–" if share is None else f"{share * 100:.0f} %",
        "opinions": f"{group['count']:,}",
    }


def _shares(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    most = max(counts.values(), default=1)
    return [
        {"model": name, "calls": f"{calls:,}", "width": max(1, round(calls * 100 / most))}
        for name, calls in counts.items()
    ]
