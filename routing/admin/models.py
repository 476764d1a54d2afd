"""Models agents may ask for: the shared ones and the account's own."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import path, reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from routing.admin.model_choices import ModelChoices
from routing.admin.owned_rows import OwnUpstreamForm, UpstreamAdmin, warn
from routing.admin.provider_choices import TellsProvidersApart
from routing.admin.told_after_saving import told_of_model
from routing.model_facts import ModelFacts
from routing.model_names import problems_of_names
from routing.models import CAPABILITIES, Model, Price, problem_of_sizes
from routing.own_models import delete_model, give_back, own_prices, shared_twin, was_called, why_kept, why_named
from routing.snapshot import CATALOG
from spendhub.money import TOKENS_PER_MTOK
from spendhub.tenants.admin_fields import LinesField, WordsField, show_usd
from spendhub.tenants.admin_filters import SeenFilter
from spendhub.tenants.admin_scoping import describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.seats import actor_of, seat_of

# Between the question and its answer.
SET_JUST_NOW = "something that needs it was set just now"


class ProviderSeenFilter(SeenFilter):
    title = "provider"
    parameter_name = "provider"
    path = "provider_id"
    label_path = "provider__name"


class ModelForm(OwnUpstreamForm):
    """Checks what a model is called, as the API does."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        problem = problem_of_sizes(cleaned.get("context_tokens"), cleaned.get("max_output_tokens"))
        # A row that is odd from before may be edited elsewhere.
        if problem and not {"context_tokens", "max_output_tokens"}.isdisjoint(self.changed_data):
            self.add_error("max_output_tokens", f"It {problem}.")
        if {"name", "aliases", "provider"} - set(cleaned):
            return cleaned  # a field of its own is wrong already
        tenant, row = self.tenant, None if self.instance._state.adding else self.instance
        problems = problems_of_names(
            None if tenant is None else tenant.pk,
            row,
            name=cleaned["name"],
            aliases=cleaned["aliases"],
            provider=cleaned["provider"],
        )
        for field, told in problems.items():
            for problem in told:
                self.add_error(field, f"{problem[:1].upper()}{problem[1:]}.")
        return cleaned


@admin.register(Model)
class ModelAdmin(TellsProvidersApart, UpstreamAdmin):
    """Models agents may ask for."""

    form = ModelForm

    list_display = ("name", "provider", "shown_price", "quality", "shown_context", "is_enabled", "shown_owner")
    list_select_related = ("provider",)
    list_filter = (
        ProviderSeenFilter,
        ("kind", ChoicesDropdownFilter),
        ("quality", ChoicesDropdownFilter),
        "is_enabled",
    )
    search_fields = ("name", "aliases", "provider__name")
    typed_as = {
        "aliases": lambda **kwargs: LinesField(**{**kwargs, "help_text": "Other names for it, one a line."}),
        "capabilities": lambda **kwargs: WordsField(CAPABILITIES, **{**kwargs, "required": False}),
    }
    shown_as = {
        "aliases": lambda names: ", ".join(names) or "–",
        "capabilities": lambda words: ", ".join(words) or "–",
    }
    own_copy_text = (
        "Your account gets its own copy with today's prices, which stands before the shared one: switch it off, "
        "rename it, or send it elsewhere. You can give it back."
    )
    fieldsets = (
        (None, {"fields": (("provider", "name"), "aliases", ("kind", "quality", "is_enabled"), "shown_price")}),
        (
            "What it can do",
            {"fields": (("context_tokens", "max_output_tokens"), "capabilities", "region", "retires_at")},
        ),
        ("Where it lives, if not where its provider does", {"fields": ("upstream_name", "base_url", "api_key_env")}),
        ("Where these facts are from", {"fields": (("source", "checked_on"),)}),
    )
    actions_detail = ("make_own", "give_back")

    def get_urls(self) -> Any:
        choices = path("choices/", self.admin_site.admin_view(self.choices_view), name="routing_model_choices")
        return [choices, *super().get_urls()]

    def choices_view(self, request: HttpRequest) -> HttpResponseBase:
        """The models that a form offers while one types, as JSON."""
        return ModelChoices.as_view(admin_site=self.admin_site)(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        warn(request, told_of_model(obj, timezone.now()))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.get_object(request, str(object_id))
        shown = super().get_actions_detail(request, object_id)
        is_copy = row is not None and shared_twin(row) is not None
        return shown if is_copy else [each for each in shown if not each.action_name.endswith("_give_back")]

    @action(description="Give it back", icon="undo", permissions=["add"])
    def give_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks, then lets the shared model answer again in place of one's own copy."""
        self.require(request, self.edit_rank)
        row = self.get_row(request, object_id)
        twin = shared_twin(row)
        if twin is None:
            raise PermissionDenied
        if request.method != "POST":
            becomes = (
                "calls of it are on record, so it stays, switched off and under another name, with its prices"
                if was_called(row)
                else "it was never called, so it is deleted with its prices"
            )
            text = f"Calls of {row.name} go to the shared model again, at its prices. As to your own: {becomes}."
            return self.ask(request, title=f"Give {row.name} back?", text=text, button="Give it back")
        needed = why_named(row)
        if needed:
            return self._keep(request, row, needed)
        try:
            self._give_back(request, row)
        except models.ProtectedError:
            return self._keep(request, row, SET_JUST_NOW)
        return self.go_to(twin, request, f"You use the shared {twin.name} again.")

    def _give_back(self, request: HttpRequest, row: Model) -> None:
        subject, prices = copy(row), own_prices(row)
        with transaction.atomic():
            give_back(row, timezone.now())
            is_deleted = row.pk is None
            if is_deleted:
                self._record_deleted(request, prices)
            after = {} if is_deleted else describe_row(row)
            record_change(subject.tenant_id, actor_of(request), "give back", subject, describe_row(subject), after)

    def _record_deleted(self, request: HttpRequest, prices: list[Price]) -> None:
        for price in prices:
            record_change(price.tenant_id, actor_of(request), "delete", price, describe_row(price), {})

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, str(object_id))
        if row is not None and self.has_delete_permission(request, row):
            needed = why_kept(row)
            if needed:
                return self._keep(request, row, needed)
        try:
            response: HttpResponse = super().delete_view(request, object_id, extra_context)
        except models.ProtectedError:
            return self._keep(request, row, SET_JUST_NOW)
        return response

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Prices are never deleted by themselves; those of a model that was never called go with it.
        listed, counts, missing, _ = super().get_deleted_objects(objs, request)
        prices = [f"Price: {price}" for row in objs for price in row.prices.all()]
        return [*listed, *prices], counts, missing - {Price._meta.verbose_name}, []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record_deleted(request, own_prices(obj))
        record_change(obj.tenant_id, actor_of(request), "delete", obj, describe_row(obj), {})
        delete_model(obj)

    def _keep(self, request: HttpRequest, row: Model, reason: str) -> HttpResponse:
        messages.error(request, f"{row.name} stays: {reason}.")
        return HttpResponseRedirect(reverse("admin:routing_model_change", args=[row.pk]))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        catalog = CATALOG.refresh()
        seat = seat_of(request)
        facts = {each.id: each for each in catalog.models_of(seat.tenant_id if seat else None)}
        for row in changelist.result_list:
            row.facts = facts.get(row.pk)
        return changelist

    @display(description="Million tokens, in / out")
    def shown_price(self, row: Model) -> str:
        facts: ModelFacts | None = getattr(row, "facts", None)
        if facts is None and row.pk is not None:
            facts = {each.id: each for each in CATALOG.refresh().models_of(row.tenant_id)}.get(row.pk)
        price = facts.price_at(timezone.now()) if facts is not None else None
        if price is None:
            return "no price"
        rates = price.rates_for(TOKENS_PER_MTOK // 1000)
        return f"{show_usd(rates.input)} / {show_usd(rates.output)}"

    @display(description="Context", ordering="context_tokens")
    def shown_context(self, row: Model) -> str:
        return f"{row.context_tokens:,}" if row.context_tokens else "–"
