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
from spendhub.tenants.admin_fields import Labelled, UsdField, show_exact_usd, show_usd
from spendhub.tenants.changes import record_change
from spendhub.tenants.seats import Rank, actor_of, seat_of
from telemetry.admin.experiments import ExperimentPages
from telemetry.admin.performance import PerformancePages
from telemetry.admin.savings import SavingsPages
from telemetry.admin.told_calls import (
    FACTS,
    PART_COLOURS,
    breakdown_of,
    facts_of,
    other_answer,
    part_of,
    request_table,
    saved_by_memory,
    sent_with,
    told,
)
from telemetry.corrections import correct_span
from telemetry.models import CostSpan, costs_over_hold
from telemetry.reports import totals_of

STATUS_COLOURS = {"ok": "success", "error": "danger", "aborted": "warning", "interrupted": "warning"}


# Fields of a call's page that are left out where they would say nothing.
ONLY_WHERE_SO = ("shown_memory", "shown_request", "shown_review_of", "shown_escalated_from", "shown_sent")


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


class PartFilter(DropdownFilter):
    """What a call was in its request: the answer of a vendor or of memory, a review, another try."""

    title = "what it was"
    parameter_name = "part"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("memory", "From memory"),
            ("vendor", "Not from memory"),
            ("review", "Reviews and scores of samples"),
            ("again", "Later attempts and judges' answers"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        if chosen == "memory":
            return queryset.filter(source="gateway", cost_nano_usd=0, metadata__cache="hit")
        if chosen == "vendor":
            return queryset.exclude(source="gateway", metadata__has_key="cache")
        if chosen == "review":
            return queryset.filter(source="gateway", metadata__has_key="review_of")
        if chosen == "again":
            return queryset.filter(source="gateway", metadata__has_any_keys=["attempt", "escalated_from"])
        return queryset


class CorrectionForm(forms.Form):
    """What a call really cost, and how one knows."""

    cost_nano_usd = UsdField(label="What it really cost", help_text="In US dollars, from the vendor's bill.")
    reason = forms.CharField(label="How you know", max_length=200, widget=UnfoldAdminTextInputWidget())


def _field_of(name: str, label: str) -> Any:
    @display(description=label)
    def shown(span: CostSpan) -> str:
        return told(span, name)

    return shown


@admin.register(CostSpan)
class CostSpanAdmin(ExperimentPages, PerformancePages, SavingsPages):
    """Each recorded call and what it cost."""

    list_display = (
        "occurred_at", "model", "shown_who", "shown_tokens", "shown_cost", "shown_status", "shown_part",
        "shown_duration",
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
        PartFilter,
        ("trace_id", FieldTextFilter),
    )
    search_fields = ("user", "agent", "feature", "model", "request_id")
    search_help_text = "User, agent, feature, model or request id"
    when_empty = "Calls over /v1 and spans that are sent in are listed here, with what each has cost."
    list_before_template = "telemetry/totals.html"
    actions_detail = ("correct",)
    fieldsets = (
        (
            "The call",
            {
                "fields": (
                    ("occurred_at", "recorded_at"),
                    ("status", "source"),
                    "request_id",
                    "shown_memory",
                    "shown_request",
                )
            },
        ),
        (
            "What it cost",
            {
                "fields": (
                    "shown_exact_cost",
                    "shown_breakdown",
                    ("shown_held", "shown_worst_case"),
                    "shown_over_hold",
                    ("shown_service_tier", "shown_web_searches"),
                    ("shown_list_price_cost", "shown_not_priced"),
                    "shown_corrections",
                )
            },
        ),
        (
            "Why this model answered",
            {
                "fields": (
                    ("shown_review_of", "shown_is_sample"),
                    ("shown_escalated_from", "shown_answer_confidence"),
                    ("shown_route", "shown_strategy"),
                    "shown_reason",
                    ("shown_confidence", "shown_attempt"),
                    ("shown_experiment", "shown_arm"),
                    ("shown_needs", "shown_complexity"),
                    ("shown_estimate_nano_usd", "shown_alternatives"),
                )
            },
        ),
        (
            "Model",
            {"fields": (("provider", "model"), "requested_model", ("duration_ms", "first_token_ms"), "error_code")},
        ),
        (
            "How it ended",
            {
                "fields": (
                    ("shown_finish_reason", "shown_clamped_to"),
                    ("shown_ended", "shown_ended_by"),
                    ("shown_response_id", "shown_client_request_id"),
                    "shown_stream",
                )
            },
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
        ("What came with it", {"fields": ("shown_sent",)}),
    )

    def __init__(self, model: type[CostSpan], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        for name, fact in FACTS.items():
            setattr(self, f"shown_{name}", _field_of(name, fact.label))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the fields that say nothing of this call."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets
        known = facts_of(obj)
        absent = {f"shown_{name}" for name in FACTS if name not in known}
        absent |= {name for name in ONLY_WHERE_SO if not getattr(self, name)(obj)}
        kept = [(title, {**options, "fields": _without(options["fields"], absent)}) for title, options in fieldsets]
        return [(title, options) for title, options in kept if options["fields"]]

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

    @display(description="What it was", label=PART_COLOURS)
    def shown_part(self, span: CostSpan) -> Labelled | None:
        return part_of(span)

    @display(description="From memory")
    def shown_memory(self, span: CostSpan) -> str:
        return saved_by_memory(span)

    @display(description="Together")
    def shown_request(self, span: CostSpan) -> str:
        return request_table(span)

    @display(description="Reviews the answer of")
    def shown_review_of(self, span: CostSpan) -> str:
        return other_answer(span, "review_of")

    @display(description="In place of the answer of")
    def shown_escalated_from(self, span: CostSpan) -> str:
        return other_answer(span, "escalated_from")

    @display(description="Sent with it")
    def shown_sent(self, span: CostSpan) -> str:
        return sent_with(span)

    @display(description="Cost")
    def shown_exact_cost(self, span: CostSpan) -> str:
        return f"{show_exact_usd(span.cost_nano_usd)}{' (estimated)' if span.is_estimated else ''}"

    @display(description="Of which")
    def shown_breakdown(self, span: CostSpan) -> str:
        return breakdown_of(span)

    @display(description="Held")
    def shown_held(self, span: CostSpan) -> str:
        return show_exact_usd(span.reserved_nano_usd)

    @display(description="More than was held")
    def shown_over_hold(self, span: CostSpan) -> str:
        return show_exact_usd(span.over_hold_nano_usd)

    @display(description="Could have cost at most")
    def shown_worst_case(self, span: CostSpan) -> str:
        return show_exact_usd(None if span.worst_case_cost is None else parse_usd(span.worst_case_cost))

    @display(description="Corrections")
    def shown_corrections(self, span: CostSpan) -> str:
        rows = [
            (
                show_exact_usd(each.from_nano_usd),
                show_exact_usd(each.to_nano_usd),
                each.actor.removeprefix("user:"),
                each.reason,
            )
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
                {"cost_usd": show_exact_usd(span.cost_nano_usd)},
                {"cost_usd": show_exact_usd(cost), "reason": reason},
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


def _without(fields: Any, absent: set[str]) -> tuple[Any, ...]:
    """The names of a fieldset without some of them, pairs kept together."""
    rows = (tuple(name for name in row if name not in absent) if isinstance(row, tuple) else row for row in fields)
    return tuple(row for row in rows if row and row not in absent)
