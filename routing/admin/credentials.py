"""Vendors' keys in the admin: typed once, known by their last characters afterwards, rotated by typing a new one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget

from routing.admin.provider_choices import TellsProvidersApart
from routing.credentials import MAX_SECRET_LENGTH, is_readable, is_usable_secret, put_secret
from routing.models import Credential, Provider
from spendhub.tenants.admin_scoping import ScopedAdmin, ScopedForm
from spendhub.tenants.seats import Rank

STATES = {"In use": "success", "Off": "warning", "Unreadable": "danger"}


class CredentialForm(ScopedForm):
    """A key on its way in. What was typed is never put back into the page."""

    secret = forms.CharField(
        label="Key",
        max_length=MAX_SECRET_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="As the vendor gave it to you. We encrypt it and never show it again.",
    )

    class Meta:
        model = Credential
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["secret"].required = False
            self.fields["secret"].label = "New key"
            self.fields[
                "secret"
            ].help_text = "Leave it empty to keep the one there is. A new one is used within seconds."

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret and not is_usable_secret(secret):
            raise forms.ValidationError("A vendor's key has plain visible characters only, and no spaces.")
        return secret

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        tenant = self.tenant
        provider = cleaned.get("provider") or (None if self.instance._state.adding else self.instance.provider)
        if provider is None:
            return cleaned
        if provider.dialect == Provider.Dialect.SANDBOX:
            self.add_error("provider", "The sandbox needs no key.")
        elif provider.tenant_id is not None and provider.tenant != tenant:
            self.add_error("provider", "This provider belongs to another account.")
        rows = Credential.objects.across_tenants().filter(Q(tenant=tenant), provider=provider)
        if rows.filter(name=cleaned.get("name")).exclude(pk=self.instance.pk).exists():
            self.add_error("name", "There is a key of this name already: rotate that one, or choose another name.")
        return cleaned


@admin.register(Credential)
class CredentialAdmin(TellsProvidersApart, ScopedAdmin):
    """An account's own keys at vendors; above all accounts, the installation's too."""

    view_rank = Rank.ADMIN
    form = CredentialForm
    list_display = ("provider", "name", "shown_hint", "shown_state", "weight", "created_at", "rotated_at")
    list_select_related = ("provider",)
    search_fields = ("name", "provider__name")
    when_empty = "Keys of your own at vendors are kept encrypted, and stand in place of the installation's."
    list_filter = ("is_enabled",)
    add_fieldsets = ((None, {"fields": ("provider", "name", "secret", ("weight", "is_enabled"))}),)
    fieldsets = (
        (None, {"fields": (("provider", "name"), ("shown_hint", "shown_state"), ("weight", "is_enabled"))}),
        ("Rotate it", {"fields": ("secret", ("created_at", "rotated_at"))}),
    )
    readonly_fields = ("created_at", "rotated_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            return fieldsets
        asked_for_tenant = [entry for entry in fieldsets if entry[1]["fields"] == ("tenant",)]
        return [*asked_for_tenant, *self.add_fieldsets]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_readonly_fields(request, obj)
        # Elsewhere it would be shown to another vendor.
        return names if obj is None else [*names, "provider"]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "tenant" and field is not None:
            field.help_text = (
                "Empty: the installation's, for every account that has none of its own. To the vendor these accounts "
                "are one: what it keeps for one of them (responses, files, caches), the others reach by its id."
            )
        return field

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    @display(description="Ends with")
    def shown_hint(self, credential: Credential) -> str:
        return f"…{credential.hint}" if credential.hint else "–"

    @display(description="State", label=STATES)
    def shown_state(self, credential: Credential) -> str:
        if not is_readable(credential):
            return "Unreadable"
        return "In use" if credential.is_enabled else "Off"

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """As ever, but no report of an error shows what was typed."""
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    def save_model(self, request: HttpRequest, obj: models.Model, form: Any, change: bool) -> None:
        assert isinstance(obj, Credential)
        secret = form.cleaned_data["secret"]
        if secret:
            put_secret(obj, secret)
            obj.rotated_at = timezone.now() if change else None
        super().save_model(request, obj, form, change)
