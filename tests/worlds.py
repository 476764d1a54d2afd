"""A tenant with one row in every table that belongs to tenants, made from the models themselves.

All its texts hold `MARK` and all its amounts are `AMOUNT_NANO_USD`, so that one look at an answer tells
whether any of it has got out; its numeric ids begin where nobody else's reach.
"""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models

from spendhub.money import format_usd
from spendhub.tenants.models import Tenant

MARK = "acmes-own"
AMOUNT_NANO_USD = 4_711_471_147
SIGNS = (MARK, format_usd(AMOUNT_NANO_USD))
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

Row = models.Model


def tenant_models() -> list[type[Row]]:
    """Every model that belongs to a tenant."""
    return [model for model in apps.get_models() if _has_tenant(model)]


def _has_tenant(model: type[Row]) -> bool:
    return any(field.name == "tenant" and field.related_model is Tenant for field in model._meta.fields)


def build_world(tenant: Tenant) -> dict[type[Row], Row]:
    """One marked row of `tenant` in each table."""
    # So far apart that no row made later, in whichever table, gets the id of one of these.
    ids = itertools.count(7_000_000, 10_000)
    rows: dict[type[Row], Row] = {}

    def build(model: type[Row]) -> Row:
        if model not in rows:
            values = {f.attname: value for f in model._meta.concrete_fields if (value := fill(model, f)) is not None}
            row = model(**values)
            # The database's own rules hold; forms and validators are not what is tested here.
            row.save(force_insert=True)
            rows[model] = row
        return rows[model]

    def fill(model: type[Row], field: Any) -> Any:
        if isinstance(field, models.ForeignKey):
            target = field.related_model
            if target is Tenant:
                return tenant.pk
            if target is model:
                return None
            if target is get_user_model():
                return target.objects.get_or_create(username=MARK)[0].pk
            return build(target).pk if _has_tenant(target) else None
        if field.primary_key:
            return uuid.uuid4() if isinstance(field, models.UUIDField) else next(ids)
        return fill_plain(field)

    def fill_plain(field: Any) -> Any:
        match field:
            case _ if field.choices:
                return field.default if field.has_default() else field.choices[0][0]
            case models.CharField() if "sha256" in field.name:
                return "ab" * 32
            case models.CharField(name="currency"):
                return "USD"
            case models.URLField():
                return f"https://{MARK}.example"
            case models.CharField() | models.TextField():
                return MARK[: field.max_length]
            case _ if field.name.endswith("_nano_usd") or "_nano_usd_" in field.name:
                return AMOUNT_NANO_USD
            case _ if field.has_default() or field.null:
                return field.get_default()
            case models.BooleanField():
                return False
            case models.DateTimeField():
                return NOW
            case models.UUIDField():
                return uuid.uuid4()
            case models.IntegerField():
                return 1
        return None

    for model in tenant_models():
        build(model)
    return rows


def dump(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Every row of `tenant`, in full, by table. (`last_used_at` of keys moves by itself and is left out.)"""
    return {
        model._meta.label: [
            {name: value for name, value in row.items() if name != "last_used_at"}
            for row in model._base_manager.filter(tenant=tenant).order_by("pk").values()
        ]
        for model in tenant_models()
    }


def references_to(tenant: Tenant) -> list[str]:
    """Rows of other tenants that point at a row of `tenant`."""
    found = []
    for model in tenant_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, models.ForeignKey) and _has_tenant(field.related_model):
                strangers = model._base_manager.exclude(tenant=tenant).filter(**{f"{field.name}__tenant": tenant})
                found += [f"{model._meta.label} {pk} by {field.name}" for pk in strangers.values_list("pk", flat=True)]
    return found
