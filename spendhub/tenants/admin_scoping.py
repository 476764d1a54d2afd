"""What every admin page stands on: rows, choices and rights of the tenant one sits in, and no other's.

A page of tenant-owned rows is a `ScopedAdmin`; one of the catalog, whose shared rows everybody sees
and only the operator edits, is a `SharedRowsAdmin`. Each edit is recorded with who made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.decorators import display

from spendhub.tenants.admin_addresses import AddressedAdmin
from spendhub.tenants.admin_fields import show_exact_usd
from spendhub.tenants.admin_row_fields import bounded_field, typed_field, without_unit
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant
from spendhub.tenants.seats import Rank, actor_of, seat_of
from spendhub.tenants.stale_forms import WatchfulForm

# Beyond this many rows a list says "10,000+": counting millions for a page number helps nobody.
MAX_COUNTED_ROWS = 10_000
_NEVER_RECORDED = {"secret_sha256", "sealed", "edited_fields", "id", "created_at"}


class CappedPaginator(Paginator):
    """Counts rows up to a cap, by one query that stops there."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by().values("pk")[: MAX_COUNTED_ROWS + 1].count()


def describe_row(row: models.Model) -> dict[str, Any]:
    """A row's own fields, for the record of changes; money in USD."""
    described: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        if field.name in _NEVER_RECORDED or isinstance(field, models.BinaryField):
            continue
        value = getattr(row, field.attname)
        if "_nano_usd" in field.name:
            described[field.name.replace("_nano_usd", "_usd")] = None if value is None else show_exact_usd(value)
        else:
            described[field.name] = value
    return described


def tenant_id_of(row: Any) -> int | None:
    """Whose row it is; None for shared ones."""
    found: int | None = row.pk if isinstance(row, Tenant) else row.tenant_id
    return found


class ScopedForm(WatchfulForm):
    """A form whose new row already belongs to its maker's tenant when it is checked, so that a second
    row of the same name is told in words and not by the database."""

    seat_tenant: Tenant | None = None
    seat_is_operators = False

    def _post_clean(self) -> None:
        if self.instance._state.adding and self.seat_tenant is not None and hasattr(self.instance, "tenant_id"):
            self.instance.tenant = self.seat_tenant
        super()._post_clean()

    def _get_validation_exclusions(self) -> set[str]:
        excluded = set(super()._get_validation_exclusions())  # type: ignore[misc]  # as above
        # Where nobody was chosen, the field has said so.
        return excluded if "tenant" in self.errors else excluded - {"tenant"}

    @property
    def tenant(self) -> Tenant | None:
        """Whose row it is or will be; None for a shared one (or while nobody has been chosen)."""
        if self.seat_tenant is not None and self.instance._state.adding:
            return self.seat_tenant
        chosen: Tenant | None = self.cleaned_data.get("tenant") or getattr(self.instance, "tenant", None)
        return chosen


class ScopedAdmin(AddressedAdmin):
    """A page of rows that belong to a tenant.

    `view_rank` and `edit_rank` say which role may look and which may change. Field names in
    `typed_as` get that form field instead of Django's; amounts (`*_nano_usd*`) are always USD.
    `shown_as` says how a field reads when it is not editable, `when_empty` what would be seen on a page without rows.
    """

    view_rank = Rank.VIEWER
    edit_rank = Rank.ADMIN
    typed_as: dict[str, Callable[..., forms.Field]] = {}
    shown_as: dict[str, Callable[[Any], Any]] = {}
    when_empty = ""

    form = ScopedForm
    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = True
    paginator = CappedPaginator
    compressed_fields = True
    warn_unsaved_form = True
    change_form_before_template = "tenants/as_shown.html"

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        for field in model._meta.concrete_fields:
            show = self.shown_as.get(field.name)
            if show is None and "_nano_usd" in field.name:
                show = show_exact_usd
            if show is not None:
                setattr(self, f"shown_{field.name}", _shown(field.name, str(field.verbose_name), show))

    # --- rows -----------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request)
        seat = seat_of(request)
        if seat is None:
            return rows.none()
        return rows if seat.tenant is None else self.rows_of(rows, seat.tenant)

    def rows_of(self, rows: models.QuerySet[Any], tenant: Tenant) -> models.QuerySet[Any]:
        """Those of `rows` that `tenant` may see."""
        return rows.filter(tenant=tenant)

    def get_row(self, request: HttpRequest, object_id: str) -> Any:
        """The row, if it may be seen from this seat; else 404."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404(f"no {self.opts.verbose_name} {object_id}")
        return row

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        related = self.admin_site._registry.get(db_field.remote_field.model)
        if "queryset" not in kwargs:
            # The other page knows what may be seen from here; without a page there is nothing to choose.
            kwargs["queryset"] = (
                related.get_queryset(request) if related else db_field.remote_field.model._base_manager.none()
            )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if lookup.startswith(("secret", "sealed", "tenant__")):
            return False
        return super().lookup_allowed(lookup, value, request)

    # --- whose rows, above all accounts ----------------------------------------------------------
    @display(description="Account", ordering="tenant__name")
    def shown_account(self, row: Any) -> str:
        """Whose row it is, for who looks at all accounts at once."""
        return "Shared" if row.tenant is None else str(row.tenant.name)

    def get_list_display(self, request: HttpRequest) -> Any:
        names = super().get_list_display(request)
        if not self._is_above_accounts(request) or "tenant" in names:
            return names
        return (*(name for name in names if name != "shown_owner"), "shown_account")

    def get_list_select_related(self, request: HttpRequest) -> Any:
        names = super().get_list_select_related(request)
        return (*(names or ()), "tenant") if self._is_above_accounts(request) else names

    def _is_above_accounts(self, request: HttpRequest) -> bool:
        seat = seat_of(request)
        return seat is not None and seat.tenant is None and self._asks_for_tenant()

    # --- rights ---------------------------------------------------------------------------------
    def may(self, request: HttpRequest, rank: Rank) -> bool:
        """Whether whoever asks has at least `rank` where they sit."""
        seat = seat_of(request)
        return seat is not None and seat.rank >= rank

    def require(self, request: HttpRequest, rank: Rank) -> None:
        """Raises PermissionDenied below `rank`."""
        if not self.may(request, rank):
            raise PermissionDenied

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, self.view_rank)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.view_rank)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.edit_rank)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.edit_rank)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> Any:
        # Django's bulk delete bypasses save()/delete(), and so the snapshots and the record of changes.
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- forms ----------------------------------------------------------------------------------
    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return typed_field(self, db_field) or bounded_field(
            super().formfield_for_dbfield(db_field, request, **kwargs), db_field
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        seat = seat_of(request)
        form.seat_tenant = None if seat is None else seat.tenant
        form.seat_is_operators = seat is not None and seat.rank >= Rank.OPERATOR
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = [(title, dict(options)) for title, options in super().get_fieldsets(request, obj)]
        if self._is_above_accounts(request):
            fieldsets.insert(0, (None, {"fields": ("tenant" if obj is None else "shown_account",)}))
        fixed = self._fixed_fields(request, obj)
        for _, options in fieldsets:
            options["fields"] = _replace(options["fields"], lambda name: self._as_shown(name, fixed))
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = list(super().get_readonly_fields(request, obj))
        return [*names, *(name for name in dir(self) if name.startswith("shown_"))]

    def _fixed_fields(self, request: HttpRequest, obj: Any) -> set[str] | None:
        if obj is not None and not self.has_change_permission(request, obj):
            return None
        return set(super().get_readonly_fields(request, obj)) | set(self.fixed_after_creation(request, obj))

    def fixed_after_creation(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        """Fields that may be chosen when the row is made, and never again."""
        return ()

    def _as_shown(self, name: str, fixed: set[str] | None) -> str:
        is_fixed = fixed is None or name in fixed
        return f"shown_{name}" if is_fixed and hasattr(self, f"shown_{name}") else name

    def _asks_for_tenant(self) -> bool:
        return any(field.name == "tenant" for field in self.model._meta.concrete_fields)

    # --- edits ----------------------------------------------------------------------------------
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = describe_row(type(obj)._base_manager.get(pk=obj.pk)) if change else {}
        if not change:
            self.give_tenant(request, obj)
        super().save_model(request, obj, form, change)
        after = describe_row(obj)
        if before != after:
            record_change(tenant_id_of(obj), actor_of(request), "update" if change else "create", obj, before, after)

    def give_tenant(self, request: HttpRequest, obj: Any) -> None:
        """Sets a new row's tenant to where its maker sits (an operator above all tenants chooses)."""
        seat = seat_of(request)
        if seat is None:
            raise PermissionDenied
        if seat.tenant is not None:
            obj.tenant = seat.tenant

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        record_change(tenant_id_of(obj), actor_of(request), "delete", obj, describe_row(obj), {})
        super().delete_model(request, obj)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The record of changes of this one row."""
        self.require(request, self.view_rank)
        row = self.get_row(request, object_id)
        query = f"subject_type={row._meta.label_lower}&subject_id={row.pk}"
        return HttpResponseRedirect(f"{reverse('admin:tenants_change_changelist')}?{query}")

    # --- pages of our own -----------------------------------------------------------------------
    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        """A page in the admin's frame."""
        response = TemplateResponse(
            request,
            template,
            {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **context},
        )
        response["Cache-Control"] = "no-store"
        return response

    def ask(
        self,
        request: HttpRequest,
        *,
        title: str,
        text: str,
        button: str,
        form: forms.Form | None = None,
        back: str = "",
    ) -> TemplateResponse:
        """A page that asks before something is done: changes are made by POST only."""
        back = back or reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return self.page(request, "tenants/ask.html", title, text=text, button=button, form=form, back=back)

    def go_to(self, row: models.Model, request: HttpRequest, message: str) -> HttpResponseRedirect:
        """Back to the row's page, with a word on what was done."""
        messages.success(request, message)
        return HttpResponseRedirect(
            reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
        )


class SharedRowsAdmin(ScopedAdmin):
    """A page of the catalog: shared rows are seen by all and edited by the operator; a tenant edits its own."""

    def rows_of(self, rows: models.QuerySet[Any], tenant: Tenant) -> models.QuerySet[Any]:
        return rows.filter(models.Q(tenant=tenant) | models.Q(tenant__isnull=True))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, models.Model) and tenant_id_of(obj) is None and not self.may(request, Rank.OPERATOR):
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if hasattr(obj, "edited_fields") and obj.tenant_id is None:
            obj.edited_fields = sorted({*obj.edited_fields, *form.changed_data} - {"tenant"})
        super().save_model(request, obj, form, change)


class ReadOnlyAdmin(ScopedAdmin):
    """A page of things that happened: looked at, never edited."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _shown(name: str, label: str, show: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def shown(row: Any) -> Any:
        return show(getattr(row, name))

    shown.short_description = without_unit(label).capitalize()  # type: ignore[attr-defined]  # how Django's admin reads a label
    shown.admin_order_field = name  # type: ignore[attr-defined]  # as above
    return shown


def _replace(names: Any, replaced: Callable[[str], str]) -> tuple[Any, ...]:
    return tuple(_replace(name, replaced) if isinstance(name, (tuple, list)) else replaced(name) for name in names)
