"""A choice among models: each says whose it is, and one that an account's own of the same name hides is not offered."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest

from routing.models import Model
from spendhub.tenants.admin_addresses import ChosenRow
from spendhub.tenants.seats import Seat, seat_of


class ChosenModel(ChosenRow):
    """A model chosen by typing."""

    url_name = "%s:routing_model_choices"


class ModelChoices(AutocompleteJsonView):
    """What such a field offers, as JSON."""

    request: HttpRequest

    def process_request(self, request: HttpRequest) -> tuple[Any, ...]:
        """What is asked for. Raises PermissionDenied for a field that leads to something else than a model."""
        found: tuple[Any, ...] = super().process_request(request)
        _, _, source_field, _ = found
        if source_field.remote_field.model is not Model:
            raise PermissionDenied
        return found

    def get_queryset(self) -> QuerySet[Model]:
        """The models that may be chosen from this seat."""
        rows: QuerySet[Model] = super().get_queryset().select_related("tenant")
        seat = seat_of(self.request)
        if seat is not None and seat.tenant is not None:
            hidden = Model.objects.for_tenant(seat.tenant).values("name")
            rows = rows.exclude(tenant=None, name__in=hidden)
        return rows.order_by("name", F("tenant__name").asc(nulls_first=True))

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        """One of them, with whose it is."""
        return super().serialize_result(obj, to_field_name) | {"text": label_of_model(seat_of(self.request), obj)}


def label_of_model(seat: Seat | None, model: Model) -> str:
    """How the model is called in a choice among shared ones and one's own."""
    if model.tenant is None:
        return f"{model.name} (shared)"
    is_above_accounts = seat is not None and seat.tenant is None
    return f"{model.name} ({model.tenant.name if is_above_accounts else 'yours'})"


def is_hidden_from(tenant_id: int, model: Model) -> bool:
    """Whether no call of the account comes to the shared model, for its own of that name stands before it."""
    return model.tenant_id is None and Model.objects.across_tenants().filter(tenant=tenant_id, name=model.name).exists()
