"""Rows that are edited on the page of the row they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.admin import TabularInline

from spendhub.tenants.admin_row_fields import bounded_field, typed_field
from spendhub.tenants.seats import Rank, seat_of
from spendhub.tenants.stale_forms import AS_SHOWN, WatchfulForm


class ScopedInline(TabularInline):
    """Rows of the same tenant, on the page of the row they belong to; its rights are theirs."""

    edit_rank = Rank.ADMIN
    form = WatchfulForm
    extra = 0
    typed_as: dict[str, Callable[..., forms.Field]] = {}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if not self.has_change_permission(request, obj):
            return fieldsets
        return [*fieldsets, (None, {"fields": (AS_SHOWN,)})]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return typed_field(self, db_field) or bounded_field(
            super().formfield_for_dbfield(db_field, request, **kwargs), db_field
        )

    def _may(self, request: HttpRequest, rank: Rank) -> bool:
        seat = seat_of(request)
        return seat is not None and seat.rank >= rank

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, Rank.VIEWER)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.edit_rank)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.edit_rank)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.edit_rank)
