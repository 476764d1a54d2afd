"""Pages that belong to no single table: switching accounts, and moving one to another time zone."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget

from budgets.timezones import change_timezone
from spendhub.tenants.admin import AccountAdmin
from spendhub.tenants.admin_scoping import describe_row
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Tenant, validate_timezone
from spendhub.tenants.seats import actor_of, take_seat


class TimezoneForm(forms.Form):
    """A zone of the IANA database."""

    timezone = forms.CharField(
        label="Time zone",
        max_length=60,
        widget=UnfoldAdminTextInputWidget(),
        validators=[validate_timezone],
        help_text="Such as Europe/Berlin or America/New_York.",
    )


def switch(request: HttpRequest, slug: str = "") -> HttpResponse:
    """Takes a seat in another account, if it is open to this person, and shows its overview."""
    if not take_seat(request, slug):
        messages.error(request, "That account is not open to you.")
    return HttpResponseRedirect(reverse("admin:index"))


def move_timezone(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """Moves an account to another time zone; its budgets are cut anew and keep what was spent."""
    page = admin.site._registry[Tenant]
    assert isinstance(page, AccountAdmin)
    tenant = page.get_row(request, str(tenant_id))
    if not page.has_change_permission(request, tenant):
        raise PermissionDenied
    form = TimezoneForm(request.POST or None, initial={"timezone": tenant.timezone})
    if request.method == "POST" and form.is_valid():
        before = describe_row(tenant)
        try:
            change_timezone(tenant, form.cleaned_data["timezone"], timezone.now())
        except ValidationError as error:
            form.add_error("timezone", error)
        else:
            record_change(tenant, actor_of(request), "update", tenant, before, describe_row(tenant))
            return page.go_to(tenant, request, f"Days now begin at midnight in {tenant.timezone}.")
    return page.ask(
        request,
        title=f"Change the time zone of {tenant.name}?",
        text="Days, weeks and months of your budgets will begin at midnight there. Budgets are cut anew and count what "
        "was spent in their new windows.",
        button="Change it",
        form=form,
        back=reverse("admin:tenants_tenant_change", args=[tenant.pk]),
    )
