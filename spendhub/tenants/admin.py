"""Accounts, their people, their agents' keys, and the record of changes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from spendhub.tenants.admin_addresses import AddressedAdmin
from spendhub.tenants.admin_fields import AttributionField, Labelled
from spendhub.tenants.admin_filters import MomentsFilter
from spendhub.tenants.admin_scoping import ReadOnlyAdmin, ScopedAdmin, ScopedForm
from spendhub.tenants.keys import PERMISSIONS, KeyNotInForce, is_in_force, issue_key, revoke_key, rotate_key
from spendhub.tenants.models import ApiKey, Change, Membership, Tenant
from spendhub.tenants.seats import Rank, actor_of
from spendhub.tenants.told_changes import Names, names_in, told_value

admin.site.unregister(Group)
admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(UserAdmin, AddressedAdmin):
    """Sign-ins of the whole installation: the operator's page. Owners invite people on "People"."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_superuser", "is_active", "last_login")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("About", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    list_filter = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)


@admin.register(Tenant)
class AccountAdmin(ScopedAdmin):
    """Accounts: the operator makes them, an owner keeps their own in order."""

    edit_rank = Rank.OWNER
    list_display = ("name", "slug", "timezone", "shown_status", "created_at")
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("name", "slug", "timezone", "currency")}),
        ("Calls to models without a known price", {"fields": ("unpriced_models",)}),
        ("Access", {"fields": ("status",)}),
    )
    prepopulated_fields = {"slug": ("name",)}
    actions_detail = ("move_timezone",)

    @display(description="Status", label={"Active": "success", "Suspended": "danger"})
    def shown_status(self, tenant: Tenant) -> str:
        return "Active" if tenant.status == Tenant.Status.ACTIVE else "Suspended"

    def rows_of(self, rows: models.QuerySet[Any], tenant: Tenant) -> models.QuerySet[Any]:
        return rows.filter(pk=tenant.pk)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Rank.OPERATOR)

    def fixed_after_creation(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        if obj is None:
            return ()
        # The zone cuts the windows: moving it would tear counts from the days they were made in.
        return ("slug", "timezone") if self.may(request, Rank.OPERATOR) else ("slug", "timezone", "status")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *self.fixed_after_creation(request, obj)]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj is not None else self.prepopulated_fields

    @action(description="Change time zone", icon="schedule", permissions=["change"])
    def move_timezone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        # Budgets must be cut anew with it, and they are above this app: the dashboard has the page.
        return HttpResponseRedirect(reverse("dashboard:timezone", args=[self.get_row(request, object_id).pk]))

    def give_tenant(self, request: HttpRequest, obj: Any) -> None:
        """An account belongs to itself."""


class MembershipForm(ScopedForm):
    """Names a person by the name they sign in with; someone new gets a sign-in of their own."""

    username = forms.CharField(
        max_length=150,
        label="Name to sign in with",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Somebody who has a sign-in here keeps it; somebody new gets a password, shown to you once.",
    )
    email = forms.EmailField(required=False, widget=UnfoldAdminEmailInputWidget())

    class Meta:
        model = Membership
        fields = ("role",)

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"].strip()
        User.username_validator(username)
        return username


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """People and what they may do here."""

    view_rank = Rank.ANALYST
    edit_rank = Rank.OWNER
    form = MembershipForm
    list_display = ("user", "shown_role", "created_at")
    list_display_links = ("user",)
    list_select_related = ("user", "tenant")
    list_filter = (("role", ChoicesDropdownFilter),)
    search_fields = ("user__username",)
    add_fieldsets = ((None, {"fields": ("username", "email", "role")}),)
    fieldsets = ((None, {"fields": ("user", "role")}),)
    readonly_fields = ("user",)

    @display(
        description="Role",
        ordering="role",
        label={"owner": "success", "admin": "info", "analyst": "warning", "viewer": "default"},
    )
    def shown_role(self, membership: Membership) -> Labelled:
        return Labelled(membership.role, membership.role.capitalize())

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = ScopedForm
        return super().get_form(request, obj, change=change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.edit_rank)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            self.give_tenant(request, obj)
            username = form.cleaned_data["username"]
            person, is_new = get_user_model().objects.get_or_create(
                username=username, defaults={"email": form.cleaned_data["email"], "is_staff": True}
            )
            if is_new:
                password = secrets.token_urlsafe(12)
                person.set_password(password)
                person.save()
                request._new_password = password  # type: ignore[attr-defined]  # shown by response_add, kept nowhere
            elif not person.is_staff:
                person.is_staff = True
                person.save(update_fields=["is_staff"])
            obj.user = person
            existing = Membership.objects.for_tenant(obj.tenant).filter(user=person).first()
            if existing is not None:
                obj.pk, obj.created_at, change = existing.pk, existing.created_at, True
                obj._state.adding = False
        if change and obj.role != Membership.Role.OWNER and self._is_last_owner(obj):
            obj.role = Membership.Role.OWNER
            messages.warning(request, "An account needs an owner: make somebody else one first.")
            return
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        if self._is_last_owner(obj):
            messages.warning(request, f"{obj.user} stays: an account needs an owner. Make somebody else one first.")
            return
        super().delete_model(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        if Membership.objects.across_tenants().filter(pk=obj_id).exists():
            return HttpResponseRedirect(reverse("admin:tenants_membership_changelist"))
        return super().response_delete(request, obj_display, obj_id)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        password = getattr(request, "_new_password", None)
        if password is None:
            return super().response_add(request, obj, post_url_continue)
        return self.page(
            request,
            "tenants/shown_once.html",
            f"{obj.user} can sign in",
            secret=password,
            label=f"Password of {obj.user}",
            text="Give it to them safely; they can change it after signing in. It is shown this once.",
            back=reverse("admin:tenants_membership_changelist"),
        )

    def _is_last_owner(self, membership: Membership) -> bool:
        others = Membership.objects.for_tenant(membership.tenant_id).filter(role=Membership.Role.OWNER)
        held = Membership.objects.for_tenant(membership.tenant_id).filter(pk=membership.pk).first()
        is_owner = held is not None and held.role == Membership.Role.OWNER
        return is_owner and not others.exclude(pk=membership.pk).exists()


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


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """Who changed what, when."""

    view_rank = Rank.ANALYST
    list_display = ("at", "actor", "action", "subject", "shown_what")
    list_display_links = ("at",)
    list_filter = (("at", MomentsFilter),)
    search_fields = ("actor", "subject", "action")
    ordering = ("-id",)
    fields = ("at", "actor", "action", "subject", "subject_type", "shown_what")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        names = names_in(changelist.result_list)
        for change in changelist.result_list:
            change.names = names
        return changelist

    @display(description="What changed")
    def shown_what(self, change: Change) -> str:
        known: Names = getattr(change, "names", None) or names_in([change])
        names = list(dict.fromkeys([*change.before, *change.after]))
        if change.action in ("create", "issue"):
            names = [name for name in names if change.after.get(name) not in (None, "", [], {}, False)]
        return format_html_join(
            SafeString("<br>"),
            "<span class='sh-muted'>{}:</span> {}{}",
            (
                (
                    name.replace("_", " "),
                    format_html("{} → ", told_value(change, name, change.before[name], known))
                    if name in change.before
                    else "",
                    told_value(change, name, change.after.get(name), known),
                )
                for name in names[:12]
            ),
        )
