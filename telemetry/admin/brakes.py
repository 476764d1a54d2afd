"""Brakes, and what they have stopped: with a button that lets it go on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, FieldTextFilter
from unfold.decorators import action, display

from spendhub.tenants.admin_fields import Labelled
from spendhub.tenants.admin_filters import MomentsFilter
from spendhub.tenants.admin_scoping import ReadOnlyAdmin, ScopedAdmin
from spendhub.tenants.seats import Rank, actor_of
from telemetry.brake_stops import in_force_at, is_in_force, is_open_at, resume
from telemetry.models import Brake, BrakeStop

ACTION_COLOURS = {"warn": "info", "slow": "warning", "pause": "danger"}
FROM_LIST = "from_list"  # posted by the button of the list, which is where one goes back to


@admin.register(Brake)
class BrakeAdmin(ScopedAdmin):
    """What agents may not do for long."""

    list_display = ("name", "shown_acts_on", "shown_scope", "shown_action", "is_enabled")
    list_filter = (("action", ChoicesDropdownFilter), "is_enabled")
    search_fields = ("name",)
    when_empty = "A brake warns, slows or pauses agents that go in circles, or spend many times the usual."
    fieldsets = (
        (
            "What is too much",
            {
                "fields": (
                    "name", ("scope_type", "within_seconds"), ("repeats", "compares"),
                    ("spend_factor", "spend_least_nano_usd"),
                )
            },
        ),
        ("What then happens", {"fields": ("action", ("slow_seconds", "pause_seconds"), "is_enabled")}),
    )  # fmt: skip

    @display(description="Too much")
    def shown_acts_on(self, brake: Brake) -> str:
        limits = []
        if brake.repeats is not None:
            limits.append(f"more than {brake.repeats} times the same")
        if brake.spend_factor is not None:
            limits.append(f"{brake.spend_factor.normalize():f} × the usual spend")
        return f"{' or '.join(limits)} within {brake.within_seconds:,} s"

    @display(description="Of", ordering="scope_type")
    def shown_scope(self, brake: Brake) -> str:
        return str(brake.get_scope_type_display())

    @display(description="Then", ordering="action", label=ACTION_COLOURS)
    def shown_action(self, brake: Brake) -> Labelled:
        return Labelled(brake.action, str(brake.get_action_display()).split(":")[0])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.ADMIN)


class InForceNowFilter(DropdownFilter):
    """Those that hold now, or those that are over."""

    title = "in force"
    parameter_name = "in_force"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "In force"), ("no", "Over")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen, holds = self.value(), in_force_at(timezone.now())
        if chosen == "yes":
            return queryset.filter(holds)
        return queryset.exclude(pk__in=queryset.filter(holds).values("pk")) if chosen == "no" else queryset


@admin.register(BrakeStop)
class BrakeStopAdmin(ReadOnlyAdmin):
    """What brakes have stopped, slowed or warned."""

    list_display = ("since", "brake_name", "shown_whose", "shown_action", "shown_state", "reason")
    list_display_links = ("since",)
    list_filter = (
        InForceNowFilter,
        ("action", ChoicesDropdownFilter),
        ("cause", ChoicesDropdownFilter),
        ("scope_key", FieldTextFilter),
        ("since", MomentsFilter),
    )
    search_fields = ("brake_name", "scope_key")
    when_empty = "Each time that a brake warns, slows or pauses somebody is listed here, with a button to let it go on."
    list_select_related = ("brake",)
    actions_detail = ("resume",)
    fieldsets = (
        ("What happened", {"fields": ("brake_name", ("shown_whose", "shown_action"), "reason", ("since", "ends_at"))}),
        ("How it stands", {"fields": ("shown_state", ("resumed_at", "resumed_by"))}),
    )

    @display(description="Whose calls", ordering="scope_key")
    def shown_whose(self, stop: BrakeStop) -> str:
        return f"{stop.scope_type.replace('_', ' ')}: {stop.scope_key}"

    @display(description="Action", ordering="action", label=ACTION_COLOURS)
    def shown_action(self, stop: BrakeStop) -> Labelled:
        return Labelled(stop.action, str(stop.get_action_display()).split(":")[0])

    @display(description="State", label={"on": "danger", "over": "success"})
    def shown_state(self, stop: BrakeStop) -> Labelled:
        if is_in_force(stop, timezone.now()):
            return Labelled("on", "In force")
        return Labelled("over", "Resumed" if stop.resumed_at is not None else "Over")

    @display(description="You may")
    def resume_button(self, stop: BrakeStop) -> str:
        if not is_in_force(stop, timezone.now()):
            return "–"
        # The list stands in a form, whose token goes with it.
        return format_html(
            '<button class="sh-button sh-button-small" formaction="{}" name="{}" value="1">Resume</button>',
            reverse("admin:telemetry_brakestop_resume", args=[stop.pk]),
            FROM_LIST,
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        names = super().get_list_display(request)
        return (*names, "resume_button") if self.may(request, Rank.ADMIN) else names

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        stop = self.get_object(request, str(object_id))
        shown = super().get_actions_detail(request, object_id)
        may_resume = stop is not None and is_in_force(stop, timezone.now()) and self.may(request, Rank.ADMIN)
        return shown if may_resume else []

    @action(description="Resume", icon="play_arrow", permissions=["view"])
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, Rank.ADMIN)
        stop = self.get_row(request, object_id)
        if not is_open_at(stop, timezone.now()):
            return self._go_back(stop, request, "It is over already: nothing to resume.")
        if request.method == "POST":
            resume(stop, actor_of(request), timezone.now())
            return self._go_back(stop, request, "Resumed: calls pass again, and the brake counts anew.")
        return self.ask(
            request,
            title=f"Let {self.shown_whose(stop)} go on?",
            text="Its calls pass again at once. The brake stays, and counts anew.",
            button="Resume",
        )

    def _go_back(self, stop: BrakeStop, request: HttpRequest, message: str) -> HttpResponseRedirect:
        if FROM_LIST not in request.POST:
            return self.go_to(stop, request, message)
        messages.success(request, message)
        return HttpResponseRedirect(reverse("admin:telemetry_brakestop_changelist"))
