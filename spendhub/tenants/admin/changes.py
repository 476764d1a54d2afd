"""Who changed what, and when."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from spendhub.tenants.admin_filters import MomentsFilter
from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from spendhub.tenants.models import Change
from spendhub.tenants.seats import Rank
from spendhub.tenants.told_changes import Names, names_in, told_value


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
