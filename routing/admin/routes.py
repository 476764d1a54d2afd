"""Routes in the admin, and the box in which a request is tried."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display

from routing.admin.left_out import by_reason
from routing.admin.owned_rows import OwnedRowAdmin
from routing.admin.read_as import read_as
from routing.admin.route_forms import (
    DryRunForm,
    RouteForm,
    RuleField,
    fallback_field,
    models_field,
    options_field,
    rule_field,
    strategy_field,
)
from routing.admin.told_after_saving import told_of_route
from routing.dry_run import DryRun, dry_run
from routing.errors import InvalidRoute, UnknownStrategy
from routing.models import Route
from routing.route_options import options_of
from routing.route_serializers import read_described
from routing.routes import route_facts
from routing.snapshot import CATALOG
from routing.strategies.judgment_based import JudgmentSettings
from routing.strategies.registry import STRATEGIES
from routing.strategies.weighted import Weighted
from spendhub.errors import SpendHubError
from spendhub.tenants.admin_fields import show_number, show_usd
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import seat_of
from spendhub.tenants.snapshot import ACCESS

MOST_OF_NAME, MOST_OF_RULE = 32, 48
ROLES = {"chosen": "Chosen", "fallback": "Tried next", "cheaper": "If no budget has room", "ranked": "Could do it"}


@admin.register(Route)
class RouteAdmin(OwnedRowAdmin):
    """Names for a choice of models, and rules for calls of a kind."""

    form = RouteForm
    list_display = ("short_name", "strategy", "shown_models", "shown_when", "priority", "is_enabled", "shown_owner")
    list_filter = ("is_enabled",)
    search_fields = ("name", "strategy")
    ordering = ("-priority", "name")
    typed_as = {
        "candidate_models": models_field,
        "fallback": fallback_field,
        "match": rule_field,
        "options": options_field,
        "strategy": strategy_field,
    }
    shown_as = {
        "candidate_models": lambda names: ", ".join(map(str, names)) or "every model that can do it",
        "fallback": lambda names: ", ".join(map(str, names)) or "the next two best",
        "match": lambda match: RuleField().lines(match) or "–",
        "options": lambda options: options_field().prepare_value(options) or "–",
        "strategy": lambda name: f"{name}: {STRATEGIES[name].summary}" if name in STRATEGIES else str(name),
    }
    fieldsets = (
        (None, {"fields": (("name", "is_enabled"),)}),
        ("Which model answers", {"fields": ("strategy", "candidate_models", "fallback")}),
        ("For which calls it is a rule", {"fields": ("match", "priority")}),
        ("Fine print", {"fields": ("options",)}),
    )
    actions_detail = ("see_experiment", "make_own")
    own_copy_text = (
        "Your account gets its own copy, which stands before the shared one: choose other models, another strategy, "
        "or switch it off."
    )
    actions_list = ("try_request",)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        shown = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id))
        is_experiment = row is not None and row.strategy == Weighted.name
        return shown if is_experiment else [each for each in shown if not each.action_name.endswith("_see_experiment")]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        texts = {"priority": "0 to 1000. Where several rules apply, the highest is used."}
        if field is not None and db_field.name in texts:
            field.help_text = texts[db_field.name]
        labels = {"candidate_models": "Models", "match": "Used for calls of", "fallback": "When it fails"}
        if field is not None and db_field.name in labels:
            field.label = labels[db_field.name]
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for told in told_of_route(obj):
            messages.warning(request, told)
        if form.kept_experiment:
            messages.info(
                request,
                f"The experiment goes on as “{form.kept_experiment}”: it stands in the options now, so nobody draws "
                "another model.",
            )

    @display(description="Name", ordering="name")
    def short_name(self, route: Route) -> str:
        return cut(route.name, MOST_OF_NAME)

    @display(description="Models")
    def shown_models(self, route: Route) -> str:
        names, are_all = models_chosen_among(route)
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return cut(listed, MOST_OF_RULE) if are_all else f"{listed} and others that can" if names else "All that can"

    @display(description="Rule for")
    def shown_when(self, route: Route) -> str:
        return cut(RuleField().lines(route.match).replace("\n", "; ") or "–", MOST_OF_RULE)

    @action(description="See how it turns out", icon="query_stats", permissions=["view"])
    def see_experiment(self, request: HttpRequest, object_id: str) -> HttpResponse:
        route = self.get_row(request, object_id)
        name = route.options.get("experiment") or route.name
        return HttpResponseRedirect(f"{reverse('admin:telemetry_experiments')}?{urlencode({'name': name})}")

    @action(description="Try a request", icon="science", permissions=["view"])
    def try_request(self, request: HttpRequest) -> HttpResponse:
        """Paste a request, see which model would answer and why. Nothing is sent or recorded."""
        self.require(request, self.view_rank)
        seat = seat_of(request)
        if seat is None:
            raise PermissionDenied
        form = DryRunForm(request.POST if request.method == "POST" else None)
        shown: dict[str, Any] = {"form": form, "tenant": seat.tenant}
        if seat.tenant is not None and request.method == "POST" and form.is_valid():
            try:
                shown |= {"note": form.note()} | _tried(form, seat.tenant)
            except SpendHubError as error:
                form.add_error(None, f"{_begun(error)}.")
        # In the frame it stands below the routes, by its own name.
        return self.page(request, "routing/dry_run.html", "Try a request", opts=None, model_admin=self, **shown)


def cut(text: str, most: int) -> str:
    """`text`, or its beginning, and all of it where one points at that."""
    if len(text) <= most:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[: most - 1])


def models_chosen_among(row: Route) -> tuple[list[str], bool]:
    """The models that the route names, in its options where it has no others, and whether it chooses among them
    alone."""
    route = route_facts(row)
    if route.models:
        return list(route.models), True
    try:
        options = options_of(route)
    except (InvalidRoute, UnknownStrategy):
        return [], False  # it was saved around the checks, and answers no call
    names = options.strategy.candidates_in(options.settings)
    fills_a_pool = isinstance(options.settings, JudgmentSettings) and not options.settings.names_both_pools
    return list(names), bool(names) and not fills_a_pool


def _tried(form: DryRunForm, tenant: Tenant) -> dict[str, Any]:
    catalog, described = CATALOG.refresh(), form.described()
    read = read_described(described, ACCESS.refresh().tenants[tenant.pk], timezone.now())
    return {"read_as": read_as(read.wanted, is_body="body" in described)} | _shown(dry_run(catalog, read))


def _shown(found: DryRun) -> dict[str, Any]:
    lines = [
        {
            "role": ROLES[line.role],
            "is_chosen": line.role == "chosen",
            "name": line.option.name,
            "provider": line.option.model.provider.name,
            "estimate": show_usd(line.option.estimate_nano_usd),
            "score": None if line.score is None else show_number(line.score),
            "quality": f"{line.option.quality:.1f}",
            "p95_ms": round(line.option.p95_ms),
            "is_measured": line.option.observed.calls > 0,
        }
        for line in found.lines
    ]
    return {
        "found": found,
        "chosen": None if found.plan is None else found.plan.candidates[0].model.name,
        "why_none": "" if found.error is None else _begun(found.error),
        "lines": lines,
        "fell_out": by_reason(found.fell_out),
    }


def _begun(error: SpendHubError) -> str:
    """The error's words as a sentence begins; the name of a field stays as it is written."""
    field = str(error.details.get("field") or "")
    return error.message if field and error.message.startswith(field) else error.message[:1].upper() + error.message[1:]
