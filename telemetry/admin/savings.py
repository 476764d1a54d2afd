"""What the calls of some days would have cost another way, beside how good their answers were, in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from routing.snapshot import CATALOG
from routing.strategies.registry import STRATEGIES, strategy_called
from spendhub.errors import SpendHubError
from spendhub.money import parse_usd
from spendhub.tenants.admin_fields import show_usd
from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from spendhub.tenants.seats import Rank, seat_of
from spendhub.tenants.snapshot import ACCESS
from telemetry.feedback import QualityQuestion, quality_report
from telemetry.shadow import shadow_report

SHOWN_DAYS = (1, 7, 30, 90)
USUAL_DAYS = 30
USUAL_STRATEGY = "cost-optimized"


class SavingsPages(ReadOnlyAdmin):
    """Adds the page below the calls' own."""

    def get_urls(self) -> Any:
        page = path("savings/", self.admin_site.admin_view(self.savings), name="telemetry_savings")
        return [page, *super().get_urls()]

    def savings(self, request: HttpRequest) -> HttpResponse:
        """The calls of the last ?days= as they were, and with another strategy (?strategy=) or one model (?model=)."""
        self.require(request, Rank.VIEWER)
        seat = seat_of(request)
        if seat is None:
            raise PermissionDenied
        days = next((days for days in SHOWN_DAYS if str(days) == request.GET.get("days")), USUAL_DAYS)
        shown: dict[str, Any] = {"tenant": seat.tenant, "days": days, "choices": SHOWN_DAYS}
        if seat.tenant is not None:
            model = request.GET.get("model", "")
            strategy = request.GET.get("strategy", "") or USUAL_STRATEGY
            shown |= {
                "strategies": [(name, each.summary) for name, each in STRATEGIES.items()],
                "strategy": "" if model else strategy,
                "model": model,
                "models": _chat_models(seat.tenant.pk),
                **_compared(seat.tenant.pk, days, strategy, model),
            }
        # In the frame it stands beside the calls, not below them.
        return self.page(request, "telemetry/savings.html", "Savings", opts=None, **shown)


def _chat_models(tenant_id: int) -> list[str]:
    return sorted(model.name for model in CATALOG.current().models_of(tenant_id) if model.kind == "chat")


def _compared(tenant_id: int, days: int, strategy: str, model: str) -> dict[str, Any]:
    now = timezone.now()
    since = now - timedelta(days=days)
    tenant = ACCESS.refresh().tenants[tenant_id]
    try:
        asked = None if model else strategy_called(strategy).name
        found = shadow_report(tenant, since, now, strategy=asked, model=model or None)
    except SpendHubError as error:
        # A name that is no strategy or model any more, or a strategy that the tenant's routes have no options for.
        return {"problem": error.message}
    opinions = _opinions(tenant_id, since, now)
    return {
        "found": found,
        "sampled": f"{found['sample']['calls']:,}",
        "recorded": f"{found['sample']['recorded']:,}",
        "total": _in_words(found),
        "lines": [{**_in_words(line), **opinions.get(line["model"], {})} for line in found["by_model"]],
        "stand_ins": _shares(found["answered_by"].items()),
    }


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    savings = parse_usd(row["savings"].removeprefix("-"))
    is_loss = row["savings"].startswith("-")
    share = row["savings_share"]
    return {
        "model": row.get("model"),
        "calls": f"{row['calls']:,}",
        "unfit": row["no_model_fits"]["calls"],
        "cost": show_usd(parse_usd(row["actual_cost"])),
        "shadow_cost": show_usd(parse_usd(row["shadow_cost"])),
        "is_loss": is_loss,
        "saved": show_usd(savings),
        "share": "" if share is None else f"{abs(share) * 100:.0f} %",
    }


def _opinions(tenant_id: int, starts_at: datetime, ends_at: datetime) -> dict[str, dict[str, str]]:
    """What was thought of each model's answers, by its name."""
    question = QualityQuestion(tenant_id, starts_at, ends_at, {}, group_by="model")
    return {group["key"]: _opinion(group) for group in quality_report(question)["groups"]}


def _opinion(group: dict[str, Any]) -> dict[str, str]:
    overall, share = group["scores"]["overall"], group["thumbs"]["share"]
    return {
        "quality": "–" if overall is None else f"{overall:.2f}",
        "liked": "–" if share is None else f"{share * 100:.0f} %",
        "opinions": f"{group['count']:,}",
    }


def _shares(counts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    found = list(counts)
    most = max((calls for _, calls in found), default=1)
    return [{"model": name, "calls": f"{calls:,}", "width": max(1, round(calls * 100 / most))} for name, calls in found]
