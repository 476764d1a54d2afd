"""An account that asks the native API, for tests of what a row may be called."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from spendhub.tenants.models import Tenant
from tests.factories import ApiKeyFactory
from tests.factories import acme as make_acme


def acme_with_key() -> Tenant:
    """acme, with a key of its own."""
    tenant = make_acme()
    tenant.secret = ApiKeyFactory(tenant=tenant).secret
    return tenant


def ask(tenant: Tenant, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One call of the native API with the account's key: the status, and what is answered."""
    given = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
    answer = getattr(Client(), method)(f"/api/v1/{path}", headers={"authorization": f"Bearer {tenant.secret}"}, **given)
    return answer.status_code, answer.json() if answer.content else None
