"""The catalog: vendors, their models, and what tokens cost from which day on."""

from __future__ import annotations

from copy import copy
from functools import partial
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

from routing.admin.breakers import VendorHealthPages
from routing.admin.model_choices import ChosenModel, ModelChoices, is_hidden_from, label_of_model
from routing.admin.named_rows import NamedRowForm
from routing.admin.provider_choices import TellsProvidersApart
from routing.admin.told_after_saving import DECIDES_WHERE_CALLS_GO, told_of_model, told_of_provider
from routing.model_names import problems_of_names
from routing.models import CAPABILITIES, Model, Price, Provider, problem_of_sizes
from routing.own_models import delete_model, give_back, own_prices, shared_twin, was_called, why_kept, why_named
from routing.own_upstreams import (
    UpstreamNotAllowed,
    check_own_address,
    check_own_key,
    key_prefix_of,
    problem_of_address,
)
from routing.price_changes import FORM_GRACE, end_price, rewrites_past, set_price
from routing.price_specs import COLUMNS, KINDS, PriceSpec
from routing.provider_names import problem_of_provider_name
from routing.snapshot import CATALOG, ModelFacts
from spendhub.money import TOKENS_PER_MTOK
from spendhub.tenants.admin_fields import LinesField, WordsField, show_usd
from spendhub.tenants.admin_scoping import ScopedForm, SeenFilter, SharedRowsAdmin, describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import Rank, actor_of, seat_of

# Between the question and its answer.
SET_JUST_NOW = "something that needs it was set just now"
OWNERS = {"Shared": "info", "Yours": "success", "Replaced by yours": "warning"}


class ProviderSeenFilter(SeenFilter):
    title = "provider"
    parameter_name = "provider"
    path = "provider_id"
    label_path = "provider__name"


class ServiceTierFilter(SeenFilter):
    title = "service tier"
    parameter_name = "service_tier"
    path = label_path = "service_tier"


class OwnedRowAdmin(SharedRowsAdmin):
    """Shared rows beside one's own, which stand before shared ones of the same name (`stands_for_shared_by_name`).
    `own_copy_text` says what it means to have a copy of one's own, for pages that
    list the action `make_own`."""

    own_copy_text = ""
    stands_for_shared_by_name = True

    @display(description="Whose", label=OWNERS)
    def shown_owner(self, row: Any) -> str:
        if row.tenant_id is not None:
            return "Yours"
        return "Replaced by yours" if getattr(row, "is_replaced", False) else "Shared"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist, seat = super().get_changelist_instance(request), seat_of(request)
        if seat is not None and seat.tenant is not None and self.stands_for_shared_by_name:
            own = set(self.model.objects.for_tenant(seat.tenant).values_list("name", flat=True))
            changelist.result_list = list(changelist.result_list)
            for row in changelist.result_list:
                row.is_replaced = row.tenant_id is None and row.name in own
        return changelist

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.get_object(request, str(object_id))
        shown = super().get_actions_detail(request, object_id)
        seat = seat_of(request)
        may_copy = row is not None and row.tenant_id is None and seat is not None and seat.tenant is not None
        return shown if may_copy else [each for each in shown if not each.action_name.endswith("_make_own")]

    @action(description="Make it mine", icon="content_copy", permissions=["add"])
    def make_own(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks, then gives the account a copy of the shared row."""
        self.require(request, self.edit_rank)
        row, seat = self.get_row(request, object_id), seat_of(request)
        if seat is None or seat.tenant is None or row.tenant_id is not None:
            raise PermissionDenied
        own = type(row).objects.for_tenant(seat.tenant).filter(name=row.name).first()
        if own is not None:
            return self.go_to(own, request, f"You already have your own {row.name}.")
        if request.method != "POST":
            return self.ask(request, title=f"Make {row.name} yours?", text=self.own_copy_text, button="Make it mine")
        _give_copy(row, seat.tenant)
        record_change(seat.tenant, actor_of(request), "create", row, {}, describe_row(row))
        return self.go_to(row, request, f"{row.name} is yours now.")


class UpstreamAdmin(OwnedRowAdmin):
    """Rows that say where calls are sent, and with which key."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field, seat = super().formfield_for_dbfield(db_field, request, **kwargs), seat_of(request)
        tenant_id = None if seat is None or seat.rank >= Rank.OPERATOR else seat.tenant_id
        if field is not None and db_field.name == "api_key_env" and tenant_id is not None:
            field.help_text = own_key_help(tenant_id)
        return field

    @display(description="Address", ordering="base_url")
    def shown_base_url(self, row: Any) -> str:
        return row.base_url or "–"

    @display(description="Key variable", ordering="api_key_env")
    def shown_api_key_env(self, row: Any) -> str:
        return row.api_key_env or "–"


def own_key_help(tenant_id: int) -> str:
    """What an account is told of the variable in which a key of its own may be."""
    return (
        "Better empty, with the key under Vendor keys. Else the name of an environment variable that the operator has "
        f"set aside for you, such as {key_prefix_of(tenant_id)}OPENAI_API_KEY."
    )


class OwnUpstreamForm(NamedRowForm):
    """Checks the address and key variable that a tenant enters, as the API does."""

    class Meta:
        labels = {
            "base_url": "Address", "api_key_env": "Key variable", "auth_header": "Key header",
            "timeout_seconds": "Timeout (seconds)",
        }  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant = self.tenant
        if tenant is None or self.seat_is_operators:
            return cleaned
        if cleaned.get("dialect") == Provider.Dialect.SANDBOX:
            self.add_error("dialect", "The sandbox is built in and cannot be added.")
        try:
            check_own_address(cleaned.get("base_url") or "")
        except UpstreamNotAllowed as error:
            self.add_error("base_url", f"It {error.must}.")
        try:
            check_own_key(tenant.pk, cleaned.get("api_key_env") or "")
        except UpstreamNotAllowed as error:
            self.add_error("api_key_env", f"It {error.must}.")
        return cleaned


class ProviderForm(OwnUpstreamForm):
    """Checks what a provider is called, as the API does."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant, name = self.tenant, cleaned.get("name")
        row = None if self.instance._state.adding else self.instance
        if name and (problem := problem_of_provider_name(None if tenant is None else tenant.pk, row, name)):
            self.add_error("name", f"{problem}.")
        if "base_url" in cleaned and (
            problem := problem_of_address(
                cleaned.get("dialect", ""), cleaned["base_url"], None if row is None else row.base_url
            )
        ):
            self.add_error("base_url", f"It {problem}.")
        return cleaned


@admin.register(Provider)
class ProviderAdmin(VendorHealthPages, UpstreamAdmin):
    """Where calls are sent."""

    form = ProviderForm

    list_display = ("name", "short_dialect", "shown_base_url", "shown_api_key_env", "is_enabled", "shown_owner")
    list_filter = (("dialect", ChoicesDropdownFilter), "is_enabled")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "dialect", "base_url", "has_responses")}),
        ("Access", {"fields": ("api_key_env", "auth_header")}),
        ("Limits", {"fields": (("timeout_seconds", "is_enabled"),)}),
    )
    actions_detail = ("make_own",)
    own_copy_text = (
        "Your account gets its own copy, which stands before the shared one. It needs a key of your own: enter one "
        "under Vendor keys."
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or DECIDES_WHERE_CALLS_GO.intersection(form.changed_data):
            warn(request, told_of_provider(obj))

    @display(description="Dialect", ordering="dialect")
    def short_dialect(self, provider: Provider) -> str:
        return str(provider.get_dialect_display()).split(" (")[0]


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


class PriceForm(ScopedForm):
    """A price for a model of the same owner, or for a shared one."""

    class Meta:
        model = Price
        fields: tuple[str, ...] = ()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        model, tenant = cleaned.get("model"), self.tenant
        if model is not None and model.tenant_id is not None and model.tenant_id != getattr(tenant, "pk", None):
            self.add_error("model", "This model belongs to another account.")
        if model is not None and tenant is not None and is_hidden_from(tenant.pk, model):
            self.add_error("model", f"Your own {model.name} stands before this one: choose that.")
        first, last = cleaned.get("daily_from_minute"), cleaned.get("daily_until_minute")
        if first is not None and last is not None and first >= last:
            self.add_error("daily_until_minute", "The last minute comes after the first.")
        if model is not None and cleaned.get("valid_from") is not None:
            now = timezone.now()
            spec = PriceSpec(
                input=0,
                output=0,
                service_tier=cleaned.get("service_tier") or "",
                valid_from=cleaned["valid_from"],
                min_context_tokens=cleaned.get("min_context_tokens") or 0,
                daily_from_minute=first or 0,
            )
            if now - spec.valid_from > FORM_GRACE and rewrites_past(model, spec, tenant=tenant, now=now):
                self.add_error(
                    "valid_from", "Another price already holds from then on: let this one begin now or later."
                )
        return cleaned

    def validate_constraints(self) -> None:
        """A price for the very same moment is a new row all the same: `set_price` sees to it."""


@admin.register(Price)
class PriceAdmin(OwnedRowAdmin):
    """What tokens cost. A new price is a new row: what was recorded with the old one stands."""

    form = PriceForm
    stands_for_shared_by_name = False
    list_display = (
        "model",
        "service_tier",
        "shown_input",
        "shown_output",
        "shown_context",
        "valid_from",
        "valid_until",
        "shown_owner",
    )
    list_select_related = ("model",)
    list_filter = (ServiceTierFilter, "is_custom")
    search_fields = ("model__name",)
    autocomplete_fields = ("model",)
    ordering = ("model__name", "service_tier", "-valid_from", "min_context_tokens")
    fieldsets = (
        (None, {"fields": ("model", "valid_from")}),
        (
            "US dollars per million tokens, of searches per thousand (empty: no price of its own)",
            {
                "fields": (
                    ("input_nano_usd_per_mtok", "output_nano_usd_per_mtok"),
                    ("cache_read_nano_usd_per_mtok", "cache_write_nano_usd_per_mtok"),
                    ("cache_write_1h_nano_usd_per_mtok", "reasoning_nano_usd_per_mtok"),
                    "web_search_nano_usd_per_thousand",
                )
            },
        ),
        (
            "Only for some calls",
            {
                "fields": ("service_tier", "min_context_tokens", ("daily_from_minute", "daily_until_minute")),
                "classes": ("collapse",),
            },
        ),
        ("Where it is from", {"fields": ("source",)}),
    )
    actions_detail = ("end_now",)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "model":
            kwargs["widget"] = ChosenModel(db_field, self.admin_site)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "model" and field is not None:
            field.queryset = field.queryset.select_related("tenant")
            field.label_from_instance = partial(label_of_model, seat_of(request))
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = {"valid_from": timezone.now(), **super().get_changeform_initial_data(request)}
        return initial

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Asked without a row, the answer also opens the list's actions; a row itself is never edited.
        return False if isinstance(obj, models.Model) else super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Input", ordering="input_nano_usd_per_mtok")
    def shown_input(self, price: Price) -> str:
        return show_usd(price.input_nano_usd_per_mtok)

    @display(description="Output", ordering="output_nano_usd_per_mtok")
    def shown_output(self, price: Price) -> str:
        return show_usd(price.output_nano_usd_per_mtok)

    @display(description="Context from", ordering="min_context_tokens")
    def shown_context(self, price: Price) -> str:
        return f"{price.min_context_tokens:,}" if price.min_context_tokens else "–"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        seat = seat_of(request)
        if change or seat is None:
            raise PermissionDenied
        tenant: Tenant | None = seat.tenant if seat.tenant is not None else obj.tenant
        spec = PriceSpec(
            **{kind: getattr(obj, COLUMNS[kind]) for kind in KINDS},
            service_tier=obj.service_tier,
            valid_from=obj.valid_from,
            min_context_tokens=obj.min_context_tokens,
            daily_from_minute=obj.daily_from_minute,
            daily_until_minute=obj.daily_until_minute,
            source=obj.source or f"set by {request.user.get_username()}",
        )
        made = set_price(obj.model, spec, tenant=tenant, now=timezone.now())
        record_change(tenant, actor_of(request), "create", made, {}, describe_row(made))
        obj.__dict__.update(made.__dict__)

    @action(description="End it now", icon="event_busy", permissions=["add"])
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        price = self.get_row(request, object_id)
        if not SharedRowsAdmin.has_change_permission(self, request, price):
            raise PermissionDenied
        now = timezone.now()
        has_begun = price.valid_from <= now
        if request.method == "POST":
            before = describe_row(price)
            verb, after = ("end", before | {"valid_until": now}) if has_begun else ("delete", {})
            record_change(price.tenant_id, actor_of(request), verb, price, before, after)
            end_price(price, now)
            told = "no longer holds; what was counted with it stands" if has_begun else "is taken back"
            messages.success(request, f"The price {told}.")
            return HttpResponseRedirect(reverse("admin:routing_price_changelist"))
        if not has_begun:
            return self.ask(
                request,
                title=f"Take back the price of {price.model}?",
                text="It has not begun: it is removed, and the price before it, where there is one, holds on.",
                button="Take it back",
            )
        return self.ask(
            request,
            title=f"End the price of {price.model}?",
            text="From now on the shared price holds, where there is one, and a later one of yours from its day on. "
            "While there is none, the model has no price. What was counted with this one stands.",
            button="End it",
        )


def warn(request: HttpRequest, told: str) -> None:
    """Shows `told` beside what was done; nothing for ""."""
    if told:
        messages.warning(request, told)


def _give_copy(row: Any, tenant: Tenant) -> None:
    """Turns a shared row into the tenant's own copy of it, a model with the prices that hold for the tenant."""
    prices = list(Price.objects.across_tenants().filter(model=row, tenant=None)) if isinstance(row, Model) else []
    own_prices = list(Price.objects.for_tenant(tenant).filter(model=row)) if isinstance(row, Model) else []
    now = timezone.now()
    row.pk, row.tenant, row._state.adding, row.edited_fields = None, tenant, True, []
    # The installation's keys stay the installation's: the copy may be pointed elsewhere.
    row.api_key_env = ""
    row.save()
    for price in own_prices or prices:
        if price.valid_until is None or price.valid_until > now:
            price.pk, price.tenant, price.model, price._state.adding = None, tenant, row, True
            price.save()
