"""Who sits in front of the admin: acme's people, each with a browser of their own, and gil of globex."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from spendhub.tenants.models import Membership, Tenant
from tests import factories


@pytest.fixture
def acme(db: None) -> Tenant:
    tenant = factories.acme()
    for username, role in (("ann", Membership.Role.ANALYST), ("adam", Membership.Role.ADMIN)):
        factories.MembershipFactory(tenant=tenant, user=factories.UserFactory(username=username), role=role)
    return tenant


@pytest.fixture
def globex(db: None) -> Tenant:
    return factories.globex()


@pytest.fixture
def browser_of(db: None) -> Callable[[str], Client]:
    """`browser_of("ada")`: a signed-in test client."""

    def sign_in(username: str) -> Client:
        client = Client()
        client.force_login(get_user_model().objects.get(username=username))
        return client

    return sign_in


@pytest.fixture
def operator(acme: Tenant, globex: Tenant, browser_of: Callable[[str], Client]) -> Client:
    """Olga, who looks at the whole installation."""
    factories.UserFactory(username="olga")
    get_user_model().objects.filter(username="olga").update(is_superuser=True)
    browser = browser_of("olga")
    browser.get("/admin/account/switch/")
    return browser
