"""What was already spent in a window, per key: what a new budget begins with."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection
from django.db.models import Q, Sum

from budgets.periods import Window, as_datetime
from routing.model_uses import CalledModel
from spendhub.tenants.attribution import DIMENSIONS
from telemetry.models import CostSpan

_COLUMN_OF_SCOPE = {dimension: dimension for dimension in (*DIMENSIONS, "api_key", "provider", "model")}


class RecordedSpans:
    """budgets.openings.Recorded, out of the spans."""

    def hold_still(self) -> None:
        """On PostgreSQL this conflicts with the lock that every INSERT and UPDATE of a span takes by itself, so
        writers pay nothing for it; SQLite's transactions run one after the other anyway."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE telemetry_costspan IN SHARE ROW EXCLUSIVE MODE")

    def spend(self, tenant_id: int, scope_type: str, scope_key: str, window: Window) -> Mapping[str, int]:
        return _spend(tenant_id, scope_type, scope_key, window)


def was_called(model: CalledModel) -> bool:
    """routing.model_uses.was_called, out of the spans. It may read all that the account has recorded since the model
    was made, so it is for who deletes one, and for no call."""
    is_of_it = Q(model__in=model.names)
    if model.tenant_id is None:
        spans = CostSpan.objects.across_tenants()
    else:
        spans = CostSpan.objects.for_tenant(model.tenant_id)
        # One's own may have been called something else then; spans that were told us with their cost have names alone.
        is_of_it |= Q(metadata__own_model_id=model.id)
    if model.since is not None:
        spans = spans.filter(occurred_at__gte=model.since)
    return spans.filter(is_of_it).order_by().exists()


def _spend(tenant_id: int, scope_type: str, scope_key: str, window: Window) -> Mapping[str, int]:
    spans = CostSpan.objects.for_tenant(tenant_id).filter(occurred_at__gte=as_datetime(window.starts_at)).order_by()
    if window.ends_at is not None:
        spans = spans.filter(occurred_at__lt=as_datetime(window.ends_at))
    if scope_type == "tenant":
        return {"*": spans.aggregate(total=Sum("cost_nano_usd"))["total"] or 0}
    column = _COLUMN_OF_SCOPE[scope_type]
    if scope_key != "*":
        spans = spans.filter(**{column: scope_key})
    rows = spans.exclude(**{column: ""}).values_list(column).annotate(total=Sum("cost_nano_usd"))
    return {key: total for key, total in rows if total}
