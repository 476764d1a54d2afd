"""How a model goes again: deleted where nothing needs it, or given back where a shared one takes its place."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from routing import model_uses
from routing.model_names import told_uses, uses_of_model
from routing.model_uses import CalledModel
from routing.models import Model, Price
from routing.snapshot import CATALOG
from spendhub.tenants.changes import made_at


def why_named(row: Model) -> str:
    """What names the model and would find no other without it, as a sentence's words; "" for nothing."""
    uses = uses_of_model(CATALOG.refresh(), row)
    return told_uses(row, uses, ", and would find no other") if uses else ""


def why_kept(row: Model) -> str:
    """Why the model cannot be deleted, as a sentence's words; "" where it can."""
    return why_named(row) or _why_prices_stand(row)


def was_called(row: Model) -> bool:
    """Whether calls of it are on record, whatever it was called then."""
    names = frozenset((row.name, *row.aliases))
    return model_uses.was_called(CalledModel(row.pk, row.tenant_id, names, made_at(row)))


def own_prices(row: Model) -> list[Price]:
    """The prices that go with the model when it is deleted: those of its owner."""
    prices = Price.objects.across_tenants().filter(model=row, tenant=row.tenant_id)
    return list(prices.select_related("model").order_by("pk"))


def delete_model(row: Model) -> None:
    """Deletes the model and its prices; ask `why_kept` first."""
    with transaction.atomic():
        for price in own_prices(row):
            price.delete()
        row.delete()


def shared_twin(row: Model) -> Model | None:
    """The shared model that takes the place of a tenant's own one when that goes; None where there is none."""
    if row.tenant_id is None:
        return None
    return Model.objects.across_tenants().filter(tenant=None, name=row.name).first()


def give_back(row: Model, now: datetime) -> None:
    """Lets the shared model of that name answer again. One's own is deleted; where it was called it makes room under
    another name, for its prices are history. Ask `why_named` first."""
    if not was_called(row):
        delete_model(row)
        return
    row.name = f"{row.name[:80]} (given back {timezone.localtime(now):%Y-%m-%d}, no. {row.pk})"
    row.aliases, row.is_enabled = [], False
    row.save(update_fields=["name", "aliases", "is_enabled"])


def _why_prices_stand(row: Model) -> str:
    prices = Price.objects.across_tenants().filter(model=row)
    if prices.exclude(tenant=row.tenant_id).exists():
        return "accounts have prices of their own for it: switch it off instead"
    if prices.exists() and was_called(row):
        instead = "switch it off instead"
        if shared_twin(row) is not None:
            instead = "rename it, or give it back in the admin, and the shared model answers again"
        return f"calls of it are on record, counted with its prices: {instead}"
    return ""
