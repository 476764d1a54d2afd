"""Budgets with their live numbers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from budgets.admin.bars import draw, live_of
from budgets.admin.filters import InForceFilter
from budgets.admin.forms import BudgetForm, percent_field, rules_field, show_rule, thresholds_field, tools_field
from budgets.counters.drive import drive
from budgets.models import Budget, BudgetRaise
from budgets.resets import reset_budget
from budgets.scope_names import near_names
from spendhub.tenants.admin_fields import Labelled, show_share, show_usd
from spendhub.tenants.admin_inlines import ScopedInline
from spendhub.tenants.admin_scoping import ScopedAdmin, describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.seats import actor_of

STATE_COLOURS = {"active": "success", "warned": "warning", "degraded": "warning", "stopped": "danger"}


class RaiseInline(ScopedInline):
    """One-off raises: more room for a while."""

    model = BudgetRaise
    readonly_fields = ("shown_by",)
    verbose_name = "one-off raise"
    verbose_name_plural = "One-off raises: more room for a while, ending by themselves"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        amount = "by_nano_usd" if self.has_change_permission(request, obj) else "shown_by"
        return (amount, "starts_at", "ends_at", "reason")

    @display(description="By")
    def shown_by(self, one: BudgetRaise) -> str:
        return show_usd(one.by_nano_usd)


@admin.register(Budget)
class BudgetAdmin(ScopedAdmin):
    """Limits, and how full they are right now."""

    form = BudgetForm
    list_display = ("name", "shown_scope", "shown_live", "shown_state", "shown_every")
    list_filter = (
        ("scope_type", ChoicesDropdownFilter),
        ("period", ChoicesDropdownFilter),
        ("mode", ChoicesDropdownFilter),
        InForceFilter,
    )
    search_fields = ("name", "scope_key")
    list_per_page = 25
    inlines = (RaiseInline,)
    typed_as = {
        "soft_cap": percent_field,
        "hard_cap": percent_field,
        "downgrade_rules": rules_field,
        "disabled_tools": tools_field,
        "thresholds": thresholds_field,
    }
    shown_as = {
        "soft_cap": show_share,
        "hard_cap": show_share,
        "downgrade_rules": lambda rules: _lines([show_rule(rule) for rule in rules]),
        "disabled_tools": lambda tools: _lines(tools),
        "thresholds": lambda shares: ", ".join(show_share(share) for share in shares),
    }
    fieldsets = (
        ("Right now", {"fields": ("shown_now",)}),
        ("What is limited", {"fields": ("name", ("scope_type", "scope_key"), ("limit_nano_usd", "period"))}),
        (
            "When it gets tight",
            {
                "fields": (
                    ("soft_cap", "hard_cap"),
                    "mode",
                    ("strict", "patience_seconds"),
                    "downgrade_rules",
                    "disabled_tools",
                )
            },
        ),
        ("When to tell", {"fields": ("thresholds",)}),
        ("From when until when (empty: always)", {"fields": ("starts_at", "ends_at")}),
    )
    actions_detail = ("freeze", "unfreeze", "reset", "archive")

    # --- the list -------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        live = live_of(changelist.result_list, timezone.now())
        for budget in changelist.result_list:
            budget.live = live.get(budget.id)
        return changelist

    @display(description="Limits")
    def shown_scope(self, budget: Budget) -> str:
        limited = _limited(budget)
        if not budget.strict or budget.mode != Budget.Mode.ENFORCE:
            return limited
        return format_html("{}<br><span class='sh-muted'>Strict: no gateway call passes its cap</span>", limited)

    @display(description="Spent, held and left")
    def shown_live(self, budget: Budget) -> str:
        return draw(budget, budget.live)  # type: ignore[attr-defined]  # attached for the page by the changelist

    @display(description="State", label=STATE_COLOURS | {"frozen": "danger", "observing": "info"})
    def shown_state(self, budget: Budget) -> Labelled | None:
        if budget.archived_at is not None:
            return None
        if budget.is_frozen:
            return Labelled("frozen", "Frozen")
        windows = budget.live  # type: ignore[attr-defined]  # attached for the page by the changelist
        state = windows[0].state if windows else "active"
        if budget.mode == Budget.Mode.OBSERVE:
            return Labelled("observing", f"Observing ({state})")
        return Labelled(state, state.capitalize())

    @display(description="Every", ordering="period")
    def shown_every(self, budget: Budget) -> str:
        windows = budget.live  # type: ignore[attr-defined]  # attached for the page by the changelist
        text = str(budget.get_period_display()).split(" (")[0]
        if not windows or windows[0].window.ends_at is None:
            return text
        return format_html("{}<br><span class='sh-muted'>{} left</span>", text, _until(windows[0].window.ends_at))

    # --- the page of one ------------------------------------------------------------------------
    @display(description="Spent, held and left")
    def shown_now(self, budget: Budget) -> str:
        if budget.archived_at is not None:
            archived_on = date_format(timezone.localtime(budget.archived_at), "j M Y, H:i")
            return f"Archived on {archived_on}: it limits nothing, and its history stays."
        note = ""
        if budget.is_frozen:
            note = "Frozen: every call under it is stopped. "
        elif budget.mode == Budget.Mode.OBSERVE:
            note = "Observing: it stops nothing. "
        bars = draw(budget, live_of([budget], timezone.now()).get(budget.id), most=12)
        return format_html("<b>{}</b>{}", note, bars)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return [each for each in fieldsets if obj is not None or each[0] != "Right now"]

    def fixed_after_creation(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        # What a budget counts is what it is: another scope or period is another budget.
        return () if obj is None else ("scope_type", "scope_key", "period")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *self.fixed_after_creation(request, obj)]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj is not None else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        texts = {
            "name": "What you call it, such as “Support agents, monthly”.",
            "scope_type": "Whole account, or one kind of thing that calls are made for.",
            "scope_key": "Which one, such as support-bot; * gives each one the same allowance of its own. "
            "For an API key: the eight characters after sh_.",
            "limit_nano_usd": "In US dollars, per period.",
            "period": "Begins at midnight in your time zone.",
            "strict": "No call through the gateway passes its cap: each call is held at the most it can cost, asked "
            "for less output where that helps, and refused where a vendor could bill without a limit. Without it a "
            "bill above the estimate is booked in full. A budget that only observes is never strict.",
            "patience_seconds": "How long a call waits for money that is merely held by other calls; 0: it is refused "
            "at once. At most 60.",
        }
        if field is not None and db_field.name in texts:
            field.help_text = texts[db_field.name]
        return field

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, Budget) and obj.archived_at is not None:
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.counts_from = timezone.now()
            self._warn_of_unknown(request, obj)
        if obj.strict and obj.mode == Budget.Mode.OBSERVE:
            told = "It is not strict while it only observes: it stops no call, and holds no worst case."
            self.message_user(request, told, messages.WARNING)
        super().save_model(request, obj, form, change)

    def _warn_of_unknown(self, request: HttpRequest, budget: Budget) -> None:
        near = near_names(budget.tenant_id, budget.scope_type, budget.scope_key)
        if near is not None:
            hint = f" (near: {', '.join(near)})" if near else ""
            told = f"The catalog knows no {budget.scope_type} “{budget.scope_key}”{hint}: only calls that are reported "
            self.message_user(request, f"{told}under this very name count.", messages.WARNING)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        raises = formset.save(commit=False)
        for each in formset.deleted_objects:
            record_change(each.tenant_id, actor_of(request), "delete", each, describe_row(each), {})
            each.delete()
        for each in raises:
            is_new = each._state.adding
            before = {} if is_new else describe_row(BudgetRaise.objects.for_tenant(each.tenant_id).get(pk=each.pk))
            each.tenant_id = form.instance.tenant_id
            each.actor = actor_of(request)
            each.save()
            record_change(
                each.tenant_id, each.actor, "create" if is_new else "update", each, before, describe_row(each)
            )

    # --- what can be done to one -----------------------------------------------------------------
    @action(description="Freeze", icon="ac_unit", permissions=["change"])
    def freeze(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._set_frozen(
            request, object_id, True, "Every call under it is stopped, from now until you unfreeze it.", "Freeze it"
        )

    @action(description="Unfreeze", icon="play_arrow", permissions=["change"])
    def unfreeze(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._set_frozen(request, object_id, False, "Calls pass again where there is room.", "Unfreeze it")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        budget = self.get_object(request, str(object_id))
        hidden = {"unfreeze"} if budget is None or not budget.is_frozen else {"freeze"}
        if budget is None or budget.archived_at is not None:
            hidden = {"freeze", "unfreeze", "reset", "archive"}
        shown = super().get_actions_detail(request, object_id)
        return [each for each in shown if each.action_name.removeprefix("budgets_budget_") not in hidden]

    @action(description="Reset", icon="restart_alt", permissions=["change"])
    def reset(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, self.edit_rank)
        budget = self.get_row(request, object_id)
        if request.method == "POST":
            count = drive(reset_budget(budget.tenant_id, str(budget.pk), actor=actor_of(request), now=timezone.now()))
            record_change(budget.tenant_id, actor_of(request), "reset", budget, {}, {"windows": count})
            return self.go_to(budget, request, f"{budget.name} counts from zero again.")
        return self.ask(
            request,
            title=f"Reset {budget.name}?",
            text="Its current window counts from zero again. What was spent stays on record, with your name "
            "beside the reset.",
            button="Reset it",
        )

    @action(description="Archive", icon="archive", permissions=["change"])
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, self.edit_rank)
        budget = self.get_row(request, object_id)
        if request.method == "POST":
            self._edit(request, budget, "archive", archived_at=timezone.now())
            return self.go_to(budget, request, f"{budget.name} limits nothing any more; its history stays.")
        return self.ask(
            request,
            title=f"Archive {budget.name}?",
            text="It no longer limits anything. Its history stays; it cannot be taken back into use, but you can "
            "make a new one.",
            button="Archive it",
        )

    def _set_frozen(self, request: HttpRequest, object_id: str, frozen: bool, text: str, button: str) -> HttpResponse:
        self.require(request, self.edit_rank)
        budget = self.get_row(request, object_id)
        word = "freeze" if frozen else "unfreeze"
        if request.method == "POST":
            self._edit(request, budget, word, is_frozen=frozen)
            return self.go_to(budget, request, f"{budget.name} is {'frozen' if frozen else 'in force again'}.")
        return self.ask(request, title=f"{word.capitalize()} {budget.name}?", text=text, button=button)

    def _edit(self, request: HttpRequest, budget: Budget, verb: str, **values: Any) -> None:
        with transaction.atomic():
            before = describe_row(budget)
            for name, value in values.items():
                setattr(budget, name, value)
            budget.save(update_fields=list(values))
            record_change(budget.tenant_id, actor_of(request), verb, budget, before, describe_row(budget))


def _lines(values: list[str]) -> str:
    return "\n".join(values) or "–"


def _limited(budget: Budget) -> str:
    kind = budget.get_scope_type_display()
    if budget.scope_type == "tenant":
        return str(kind)
    return f"Each {kind.lower()}" if budget.scope_key == "*" else f"{kind}: {budget.scope_key}"


def _until(ends_at: int) -> str:
    seconds = max(0, ends_at - int(timezone.now().timestamp()))
    if seconds >= 86_400:
        days = seconds // 86_400
        return f"{days} day{'' if days == 1 else 's'}"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
