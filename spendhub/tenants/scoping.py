"""The query path that cannot forget the tenant.

Every model that belongs to a tenant takes `objects = TenantManager()`. It answers only to
`for_tenant(tenant)` and, where a job truly spans the installation, to `across_tenants()`;
`objects.all()` and its like raise `TenantNotNamed`. Django's own machinery (admin, relations,
migrations) uses `unscoped`, which our code may not: tests/test_house_rules.py sees to it.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class TenantNotNamed(RuntimeError):
    """A query on tenant-owned rows was begun without saying whose."""


class TenantManager(models.Manager[Row], Generic[Row]):
    """Gives rows of one named tenant, or of all when that is said aloud."""

    def for_tenant(self, tenant: Any) -> models.QuerySet[Row]:
        """Rows of `tenant`, a Tenant or its primary key."""
        return super().get_queryset().filter(tenant=tenant)

    def across_tenants(self) -> models.QuerySet[Row]:
        """Rows of every tenant: for the worker, snapshots and installation-wide jobs only."""
        return super().get_queryset()

    def get_queryset(self) -> models.QuerySet[Row]:
        raise TenantNotNamed(f"{self.model.__name__}: begin with objects.for_tenant(...) or objects.across_tenants()")

    def create(self, **values: Any) -> Row:
        """Creates a row; its tenant is among `values`, or the row is shared and says None."""
        if "tenant" not in values and "tenant_id" not in values:
            raise TenantNotNamed(f"{self.model.__name__}: create(...) needs a tenant")
        return super().get_queryset().create(**values)
