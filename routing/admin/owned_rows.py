"""Shared rows of the catalog beside those of one's own, which stand before them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import action, display

from routing.admin.named_rows import NamedRowForm
from routing.models import Model, Price, Provider
from routing.own_upstreams import (
    UpstreamNotAllowed,
    check_own_address,
    check_own_key,
    key_prefix_of,
)
from spendhub.tenants.admin_scoping import SharedRowsAdmin, describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import Rank, actor_of, seat_of

OWNERS = {"Shared": "info", "Yours": "success", "Replaced by yours": "warning"}


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
