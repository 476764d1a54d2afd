"""The record of who changed what: one row per edit, written in the transaction of the edit itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from spendhub.tenants.models import Change, Tenant


def record_change(
    tenant: Tenant | int | None,
    actor: str,
    action: str,
    subject: models.Model,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Change:
    """Keeps one edit of `subject`, a saved row.

    `tenant` is None for shared rows. `actor` is `user:NAME`, `key:PREFIX` or `system`; `action` a
    verb such as create, update, delete, revoke. Only what differs between `before` and `after` is
    kept; dates, decimals and UUIDs are kept as text.
    """
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return Change.objects.create(
        tenant_id=tenant.pk if isinstance(tenant, Tenant) else tenant,
        actor=actor[:200],
        action=action,
        subject_type=subject._meta.label_lower,
        subject_id=str(subject.pk),
        subject=str(subject)[:200],
        before=_plain({name: before[name] for name in differing if name in before}),
        after=_plain({name: after[name] for name in differing if name in after}),
    )


def made_at(subject: models.Model) -> datetime | None:
    """When the row was made, as far as that is on record."""
    changes = Change.objects.across_tenants().filter(subject_type=subject._meta.label_lower, subject_id=str(subject.pk))
    return changes.filter(action="create").order_by("pk").values_list("at", flat=True).first()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return plain
