"""An account's people, and what each may do."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from spendhub.tenants.admin_fields import Labelled
from spendhub.tenants.admin_scoping import ScopedAdmin, ScopedForm
from spendhub.tenants.models import Membership
from spendhub.tenants.seats import Rank


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
