"""What tests of the spending API share: a client with acme's key, and budgets in two words."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient

from budgets.models import Budget
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from tests.factories import ApiKeyFactory

NANO = 10**9


def client_of(tenant: Tenant, **facts: Any) -> APIClient:
    """A client that presents a key of the tenant's; `permissions` and `attribution` may be given."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiKeyFactory(tenant=tenant, **facts).secret}")
    refresh_all()
    return client


def define(tenant: Tenant, scope: str, dollars: float, **facts: Any) -> Budget:
    """A budget on `scope` ("user:ada"), per month unless said otherwise, in force at once."""
    scope_type, _, scope_key = scope.partition(":")
    budget = Budget.objects.create(
        tenant=tenant,
        name=facts.pop("name", scope),
        scope_type=scope_type,
        scope_key=scope_key or "*",
        limit_nano_usd=round(dollars * NANO),
        **facts,
    )
    refresh_all()
    return budget


def post(client: APIClient, path: str, body: Any = None, status: int = 200, **headers: str) -> dict[str, Any]:
    """POSTs JSON below /api/ and answers the body; the status must be as said."""
    response = client.post(f"/api/{path}", body, format="json", **headers)
    assert response.status_code == status, (response.status_code, response.content)
    told: dict[str, Any] = response.json()
    return told


def get(client: APIClient, path: str, status: int = 200, /, **query: Any) -> dict[str, Any]:
    """GETs below /api/ and answers the body; the status must be as said."""
    response = client.get(f"/api/{path}", query)
    assert response.status_code == status, (response.status_code, response.content)
    told: dict[str, Any] = response.json()
    return told
