"""Before the first call an operator is told that the package which signs it is missing."""

from __future__ import annotations

import sys

import pytest
from django.core.checks import run_checks

from routing.credentials import put_secret
from routing.models import Credential, Provider
from tests.fakes.bedrock_upstream import ACCESS_KEY

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("without_botocore")]


@pytest.fixture
def without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(tenant=None, name="aws", dialect="bedrock", api_key_env="AWS_KEY")


def told() -> list[str]:
    return [message.msg for message in run_checks(databases=["default"]) if message.id == "spendhub.W005"]


def test_a_key_in_the_environment_that_signs_needs_the_package(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told() == []
    monkeypatch.setenv("AWS_KEY", ACCESS_KEY)
    assert told() == ["Calls to aws must be signed, and botocore is not installed."]
    monkeypatch.delitem(sys.modules, "botocore")
    assert told() == []


def test_a_vendor_key_that_signs_needs_it_too(provider: Provider) -> None:
    credential = Credential(provider=provider, name="aws", tenant=None)
    put_secret(credential, ACCESS_KEY)
    credential.save()
    assert told() == ["Calls to aws must be signed, and botocore is not installed."]


def test_an_api_key_needs_nothing(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_KEY", "ABSKQmVkcm9jaw==")
    assert told() == []
