"""A choice among providers: one's own may be called as a shared one is, and then says whose it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.http import HttpRequest

from routing.models import Provider
from spendhub.tenants.seats import seat_of


class TellsProvidersApart:
    """Mixed into pages whose rows have a provider, before their `ScopedAdmin`."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """As ever; of two providers with one name each says whose it is."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # a mixin of pages
        if db_field.name == "provider" and field is not None:
            field.queryset = field.queryset.select_related("tenant").order_by("name", "pk")
            field.label_from_instance = _Labels(field.queryset, request)
        return field


class _Labels:
    def __init__(self, providers: Any, request: HttpRequest) -> None:
        self._counts = Counter(providers.order_by().values_list("name", flat=True))
        self._seat = seat_of(request)

    def __call__(self, provider: Provider) -> str:
        if self._counts[provider.name] < 2:
            return provider.name
        if provider.tenant is None:
            return f"{provider.name} (shared)"
        is_above_accounts = self._seat is not None and self._seat.tenant is None
        return f"{provider.name} ({provider.tenant.name if is_above_accounts else 'yours'})"
