"""The page of idempotency keys: what was called under one, never what was answered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from spendhub.tenants.models import Change, Tenant
from telemetry.models import KeyedCall

pytestmark = pytest.mark.django_db

PAGE = "/admin/telemetry/keyedcall/"
BrowserOf = Callable[[str], Client]


def call_of(tenant: Tenant) -> KeyedCall:
    now = timezone.now()
    return KeyedCall.objects.create(
        tenant=tenant, key_sha256="a" * 64, request_sha256="b" * 64, api_key="ab12cd34", claim_id=uuid.uuid4(),
        claimed_at=now, answered_at=now, ends_at=now + timedelta(days=1), request_id="request-1",
        cost_nano_usd=4_200_000, answer=b"a secret of acme's",
    )  # fmt: skip


def test_a_call_is_listed_with_its_cost_and_without_its_answer(acme: Tenant, browser_of: BrowserOf) -> None:
    row = call_of(acme)
    for address in (PAGE, f"{PAGE}{row.pk}/change/"):
        page = browser_of("ann").get(address).content.decode()
        assert "request-1" in page
        assert "0.0042" in page
        assert "secret of acme" not in page


def test_an_admin_makes_an_answer_forgotten_and_the_record_does_not_keep_it(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    row = call_of(acme)
    assert browser_of("ann").post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser_of("adam").post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not KeyedCall.objects.for_tenant(acme).exists()
    change = Change.objects.for_tenant(acme).get(action="delete")
    assert change.before["request_id"] == "request-1"
    assert "answer" not in change.before
