"""The keys of an account's agents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget

from spendhub.tenants.admin_fields import AttributionField
from spendhub.tenants.admin_scoping import ScopedAdmin
from spendhub.tenants.keys import PERMISSIONS, KeyNotInForce, is_in_force, issue_key, revoke_key, rotate_key
from spendhub.tenants.models import ApiKey
from spendhub.tenants.seats import Rank, actor_of


class GraceForm(forms.Form):
    """How long the old key goes on working."""

    grace = forms.TypedChoiceField(
        coerce=int,
        label="The old key still works for",
        choices=[(0, "no time: it ends now"), (3600, "1 hour"), (86_400, "1 day"), (604_800, "7 days")],
        initial=86_400,
        widget=UnfoldAdminSelectWidget(),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """Keys of agents: shown once when made, then known by their first characters only."""

    view_rank = Rank.ANALYST
    list_display = ("name", "shown_prefix", "shown_state", "shown_permissions", "last_used_at", "created_at")
    search_fields = ("name", "prefix")
    typed_as = {"attribution": AttributionField}
    fieldsets = (
        (None, {"fields": ("name", ("can_spend", "can_read", "can_manage"))}),
        ("What its calls are for, when they do not say", {"fields": ("attribution",)}),
        ("Until when", {"fields": ("expires_at",)}),
    )
    actions_detail = ("rotate", "revoke")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "attribution":
            field.help_text = "One a line, such as “agent: support-bot” or “feature: chat”."
        return field

    @display(description="Begins with")
    def shown_prefix(self, key: ApiKey) -> str:
        return format_html("<code>sh_{}_…</code>", key.prefix)

    @display(description="State", label={"In force": "success", "Revoked": "danger", "Expired": "warning"})
    def shown_state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "Revoked"
        return "In force" if is_in_force(key, timezone.now()) else "Expired"

    @display(description="May")
    def shown_permissions(self, key: ApiKey) -> str:
        return ", ".join(name for name in PERMISSIONS if getattr(key, f"can_{name}")) or "nothing"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, ApiKey) and obj.revoked_at is not None:
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        self.give_tenant(request, obj)
        made, secret = issue_key(
            obj.tenant,
            obj.name,
            [name for name in PERMISSIONS if getattr(obj, f"can_{name}")],
            attribution=obj.attribution,
            expires_at=obj.expires_at,
            actor=actor_of(request),
        )
        obj.__dict__.update(made.__dict__)
        request._new_secret = secret  # type: ignore[attr-defined]  # shown by response_add, kept nowhere

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_secret(request, obj, request._new_secret)  # type: ignore[attr-defined]  # set by save_model

    def _show_secret(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        return self.page(
            request,
            "tenants/shown_once.html",
            f"Key for {key.name}",
            secret=secret,
            label="API key",
            text="Copy it now into your agent's settings. We keep only a fingerprint of it and cannot show it again; "
            "a lost key is simply rotated.",
            back=reverse("admin:tenants_apikey_changelist"),
        )

    @action(description="Rotate", icon="autorenew", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, self.edit_rank)
        key = self.get_row(request, object_id)
        form = GraceForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            grace = timedelta(seconds=form.cleaned_data["grace"])
            try:
                successor, secret = rotate_key(key, grace, actor=actor_of(request), now=timezone.now())
            except KeyNotInForce as error:
                messages.error(request, f"Nothing to rotate: {error.message}.")
                return HttpResponseRedirect(reverse("admin:tenants_apikey_changelist"))
            return self._show_secret(request, successor, secret)
        return self.ask(
            request,
            title=f"Rotate {key.name}?",
            text="A new key with the same rights takes over. Both work until the old one ends.",
            button="Make the new key",
            form=form,
        )

    @action(description="Revoke", icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, self.edit_rank)
        key = self.get_row(request, object_id)
        if request.method == "POST":
            revoke_key(key, actor_of(request), timezone.now())
            return self.go_to(key, request, f"{key.name} is revoked: it opens nothing any more.")
        return self.ask(
            request,
            title=f"Revoke {key.name}?",
            text="Agents that use it are refused within two seconds. This cannot be undone.",
            button="Revoke it",
        )
