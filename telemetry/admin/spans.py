"""Recorded calls: looked at, summed, and corrected where they were only estimated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, FieldTextFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from budgets.counters.drive import drive
from budgets.periods import as_datetime, window_at
from spendhub.money import parse_usd
from spendhub.tenants.admin_fields import Labelled, UsdField, show_usd
from spendhub.tenants.changes import record_change
from spendhub.tenants.seats import Rank, actor_of, seat_of
from telemetry.admin.experiments import ExperimentPages
from telemetry.admin.performance import PerformancePages
from telemetry.admin.savings import SavingsPages
from telemetry.corrections import correct_span
from telemetry.models import CostSpan, costs_over_hold
from telemetry.reports import totals_of

STATUS_COLOURS = {"ok": "success", "error": "danger", "aborted": "warning", "interrupted": "warning"}


class WhenFilter(DropdownFilter):
    """The last 30 days, unless something else is asked for: no list begins by reading years."""

    title = "when"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        days = [("today", "Today"), ("7", "Last 7 days"), ("30", "Last 30 days")]
        return [*days, ("month", "This month"), ("all", "Always")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now, chosen = timezone.now(), self.value() or "30"
        if chosen == "all":
            return queryset
        if chosen in ("7", "30"):
            return queryset.filter(occurred_at__gte=now - timedelta(days=int(chosen)))
        seat = seat_of(request)
        zone = seat.tenant.timezone if seat is not None and seat.tenant is not None else "UTC"
        window = window_at("month" if chosen == "month" else "day", now, zone)
        return queryset.filter(occurred_at__gte=as_datetime(window.starts_at))


class OverHoldFilter(DropdownFilter):
    """Calls that cost more than was held for them, which is their estimate also where no budget applies: those by
    which an enforced budget was carried past its cap are among them."""

    title = "what was held"
    parameter_name = "over_hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "Cost more than was held"), ("false", "Cost no more than was held")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        is_over = {"true": True, "false": False}.get(self.value() or "")
        return queryset if is_over is None else queryset.filter(costs_over_hold(is_over))


class CorrectionForm(forms.Form):
    """What a call really cost, and how one knows."""

    cost_nano_usd = UsdField(label="What it really cost", help_text="In US dollars, from the vendor's bill.")
    reason = forms.CharField(label="How you know", max_length=200, widget=UnfoldAdminTextInputWidget())


@admin.register(CostSpan)
class CostSpanAdmin(ExperimentPages, PerformancePages, SavingsPages):
    """Each recorded call and what it cost."""

    list_display = (
        "occurred_at", "model", "shown_who", "shown_tokens", "shown_cost", "shown_status", "shown_duration",
    )  # fmt: skip
    list_display_links = ("occurred_at",)
    list_filter = (
        WhenFilter,
        ("status", ChoicesDropdownFilter),
        ("model", FieldTextFilter),
        ("agent", FieldTextFilter),
        ("user", FieldTextFilter),
        ("feature", FieldTextFilter),
        "is_estimated",
        OverHoldFilter,
    )
    search_fields = ("user", "agent", "feature", "model", "request_id")
    search_help_text = "User, agent, feature, model or request id"
    when_empty = "Calls over /v1 and spans that are sent in are listed here, with what each has cost."
    list_before_template = "telemetry/totals.html"
    actions_detail = ("correct",)
    fieldsets = (
        ("The call", {"fields": (("occurred_at", "recorded_at"), ("status", "source"), "request_id")}),
        (
            "What it cost",
            {
                "fields": (
                    "shown_cost",
                    "shown_breakdown",
                    ("shown_held", "shown_worst_case"),
                    "shown_over_hold",
                    "shown_corrections",
                )
            },
        ),
        (
            "Model",
            {"fields": (("provider", "model"), "requested_model", ("duration_ms", "first_token_ms"), "error_code")},
        ),
        ("For whom", {"fields": (("user", "agent"), ("org", "feature"), ("session", "task"), "api_key")}),
        (
            "Tokens",
            {
                "fields": (
                    ("input_tokens", "output_tokens"),
                    ("cache_read_tokens", "reasoning_tokens"),
                    ("cache_write_tokens", "cache_write_1h_tokens"),
                )
            },
        ),
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            totals = totals_of(context["cl"].queryset)
            context["totals"] = totals
            context["total_cost"] = show_usd(totals.cost_nano_usd)
        return response

    @display(description="For")
    def shown_who(self, span: CostSpan) -> str:
        return " · ".join(key for key in (span.agent, span.user, span.feature) if key) or "–"

    @display(description="Tokens in / out")
    def shown_tokens(self, span: CostSpan) -> str:
        read = span.input_tokens + span.cache_read_tokens + span.cache_write_tokens + span.cache_write_1h_tokens
        return f"{read:,} / {span.output_tokens:,}"

    @display(description="Cost", ordering="cost_nano_usd")
    def shown_cost(self, span: CostSpan) -> str:
        return f"{show_usd(span.cost_nano_usd)}{' (estimated)' if span.is_estimated else ''}"

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, span: CostSpan) -> Labelled:
        return Labelled(span.status, str(span.get_status_display()).split(":")[0])

    @display(description="Took", ordering="duration_ms")
    def shown_duration(self, span: CostSpan) -> str:
        return "–" if span.duration_ms is None else f"{span.duration_ms / 1000:.1f} s"

    @display(description="Of which")
    def shown_breakdown(self, span: CostSpan) -> str:
        parts = [(kind.replace("_", " "), show_usd(nano_usd)) for kind, nano_usd in span.breakdown.items()]
        return format_html_join(", ", "{} {}", parts) or "–"

    @display(description="Held")
    def shown_held(self, span: CostSpan) -> str:
        return show_usd(span.reserved_nano_usd)

    @display(description="More than was held")
    def shown_over_hold(self, span: CostSpan) -> str:
        return show_usd(span.over_hold_nano_usd)

    @display(description="Could have cost at most")
    def shown_worst_case(self, span: CostSpan) -> str:
        return show_usd(None if span.worst_case_cost is None else parse_usd(span.worst_case_cost))

    @display(description="Corrections")
    def shown_corrections(self, span: CostSpan) -> str:
        rows = [
            (show_usd(each.from_nano_usd), show_usd(each.to_nano_usd), each.actor.removeprefix("user:"), each.reason)
            for each in span.corrections.all()
        ]
        return format_html_join(", ", "{} → {} by {}: {}", rows) or "none"

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        span = self.get_object(request, str(object_id))
        shown = super().get_actions_detail(request, object_id)
        return shown if span is not None and _can_be_corrected(span) and self.may(request, Rank.ANALYST) else []

    @action(description="Correct the cost", icon="edit", permissions=["view"])
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, Rank.ANALYST)
        span = self.get_row(request, object_id)
        if not _can_be_corrected(span):
            return self.go_to(span, request, "This cost was computed from the vendor's own count: nothing to correct.")
        form = CorrectionForm(request.POST or None, initial={"cost_nano_usd": span.cost_nano_usd})
        if request.method == "POST" and form.is_valid():
            cost, reason = form.cleaned_data["cost_nano_usd"], form.cleaned_data["reason"]
            actor = actor_of(request)
            drive(correct_span(span.tenant_id, span.pk, cost, actor=actor, reason=reason, now=timezone.now()))
            record_change(
                span.tenant_id,
                actor,
                "correct",
                span,
                {"cost_usd": show_usd(span.cost_nano_usd)},
                {"cost_usd": show_usd(cost), "reason": reason},
            )
            return self.go_to(span, request, "Corrected; the budgets it counts in have followed.")
        return self.ask(
            request,
            title="Correct what this call cost?",
            text="It was only estimated. Its budgets follow at once; the old amount and your name are kept.",
            button="Correct it",
            form=form,
        )


def _can_be_corrected(span: CostSpan) -> bool:
    return span.is_estimated or span.status == CostSpan.Status.INTERRUPTED
