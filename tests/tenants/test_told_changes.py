"""What the record of changes says of a value: names of rows, but never those of another account."""

from __future__ import annotations

from typing import Any

import pytest

from routing.models import Provider
from spendhub.tenants.models import Change, Tenant
from spendhub.tenants.told_changes import names_in, told_value
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def told(tenant: Tenant, field: str, value: Any, subject_type: str = "routing.Model") -> str:
    change = Change(tenant=tenant, subject_type=subject_type, before={}, after={field: value})
    return told_value(change, field, value, names_in([change]))


def provider_of(tenant: Tenant | None, name: str) -> Provider:
    return Provider.objects.create(tenant=tenant, name=name, dialect="openai", base_url="http://127.0.0.1:1/v1")


def test_a_row_is_told_by_its_name(acme: Tenant) -> None:
    assert told(acme, "provider", provider_of(acme, "own").pk) == "own"
    assert told(acme, "provider", provider_of(None, "shared-by-all").pk) == "shared-by-all"


def test_a_row_of_another_account_is_told_by_its_number_alone(acme: Tenant) -> None:
    globex = factories.globex()
    theirs = provider_of(globex, "globex-secret-vendor")
    assert told(acme, "provider", theirs.pk) == f"no. {theirs.pk}"
    assert told(acme, "tenant", globex.pk) == f"no. {globex.pk}"


def test_a_name_that_looks_like_a_key_is_a_name(acme: Tenant) -> None:
    theirs = provider_of(factories.globex(), "globex-secret-vendor")
    assert told(acme, "provider", str(theirs.pk)) == str(theirs.pk)
    assert told(acme, "provider", "9" * 30) == "9" * 30


@pytest.mark.parametrize("name", ["2024-13-01T00:00:00Z", "2024-12-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_name_that_looks_like_a_moment_is_a_name(acme: Tenant, name: str) -> None:
    assert told(acme, "name", name) == name


@pytest.mark.parametrize("moment", ["2024-13-01T00:00:00Z", "not a moment"])
def test_what_is_no_moment_is_told_as_it_was_kept(acme: Tenant, moment: str) -> None:
    assert told(acme, "retires_at", moment) == moment
