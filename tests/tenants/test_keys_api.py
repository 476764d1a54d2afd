"""/api/v1/keys: keys are made, edited, rotated and revoked within the caller's own rights."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from spendhub.tenants.models import ApiKey, Change
from spendhub.tenants.snapshot import ACCESS
from tests.factories import ApiKeyFactory, TenantFactory, UserFactory, acme, globex

pytestmark = pytest.mark.django_db


def client_with(key: str) -> APIClient:
    ACCESS.refresh()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


@pytest.fixture
def manager() -> APIClient:
    return client_with(ApiKeyFactory(name="Manager").secret)


def make(client: APIClient, **body: Any) -> Any:
    return client.post("/api/v1/keys", {"name": "Bot"} | body, format="json")


def test_a_new_key_is_shown_once_and_works(manager: APIClient) -> None:
    made = make(manager, permissions=["read"], attribution={"agent": "bot"})
    assert made.status_code == 201
    shown = made.json()
    assert shown["key"].startswith(f"sh_{shown['prefix']}_")
    assert (shown["permissions"], shown["attribution"]) == (["read"], {"agent": "bot"})
    assert "key" not in manager.get(f"/api/v1/keys/{shown['id']}").json()
    assert shown["key"] not in manager.get("/api/v1/keys").content.decode()
    assert client_with(shown["key"]).get("/api/v1/keys").status_code == 200


def test_a_key_never_grants_more_than_it_has() -> None:
    limited = client_with(ApiKeyFactory(permissions=["read", "manage"]).secret)
    refused = make(limited, permissions=["spend"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "more_than_own")
    assert make(limited).json()["permissions"] == ["read"]
    assert ApiKey.objects.for_tenant(TenantFactory(slug="acme")).count() == 2


def test_a_key_never_touches_a_stronger_one() -> None:
    strong = ApiKeyFactory()
    limited = client_with(ApiKeyFactory(permissions=["read", "manage"]).secret)
    address = f"/api/v1/keys/{strong.pk}"
    assert limited.patch(address, {"permissions": ["read"]}, format="json").status_code == 403
    assert limited.delete(address).status_code == 403
    assert limited.post(f"{address}/rotate", {}, format="json").status_code == 403
    strong.refresh_from_db()
    assert (strong.can_spend, strong.revoked_at, strong.expires_at) == (True, None, None)


def test_an_edit_is_recorded_with_who_made_it(manager: APIClient) -> None:
    key = ApiKeyFactory(name="Bot")
    edited = manager.patch(f"/api/v1/keys/{key.pk}", {"name": "Robot", "permissions": ["spend"]}, format="json")
    assert (edited.status_code, edited.json()["name"], edited.json()["permissions"]) == (200, "Robot", ["spend"])
    change = Change.objects.for_tenant(key.tenant).filter(action="update").get()
    assert change.actor.startswith("key:")
    assert change.before == {"name": "Bot", "permissions": ["spend", "read", "manage"]}
    assert change.after == {"name": "Robot", "permissions": ["spend"]}


def test_a_deleted_key_is_revoked_stays_on_the_list_and_opens_nothing(manager: APIClient) -> None:
    key = ApiKeyFactory()
    assert manager.delete(f"/api/v1/keys/{key.pk}").status_code == 204
    assert manager.get(f"/api/v1/keys/{key.pk}").json()["revoked_at"] is not None
    answer = client_with(key.secret).get("/api/v1/keys")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_revoked")
    assert manager.patch(f"/api/v1/keys/{key.pk}", {"name": "x"}, format="json").status_code == 409


def test_a_rotation_gives_a_successor_and_a_day_of_grace(manager: APIClient) -> None:
    key = ApiKeyFactory(name="Bot")
    answer = manager.post(f"/api/v1/keys/{key.pk}/rotate", {"grace_seconds": 3600}, format="json")
    assert (answer.status_code, answer.json()["replaces"]) == (201, key.pk)
    assert client_with(answer.json()["key"]).get("/api/v1/keys").status_code == 200
    key.refresh_from_db()
    assert timedelta(minutes=59) < key.expires_at - timezone.now() <= timedelta(hours=1)
    assert manager.post(f"/api/v1/keys/{key.pk}/rotate", {}, format="json").status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"permissions": []}, "permissions"),
        ({"permissions": ["everything"]}, "permissions"),
        ({"permissions": [{}]}, "permissions"),
        ({"attribution": {"planet": "mars"}}, "attribution"),
        ({"attribution": [1]}, "attribution"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"tenant": 1}, "tenant"),
        ({"can_manage": True}, "can_manage"),
    ],
)
def test_a_malformed_key_is_refused_by_name_and_not_made(manager: APIClient, body: dict[str, Any], field: str) -> None:
    answer = make(manager, **body)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["details"]["fields"]
    assert ApiKey.objects.across_tenants().count() == 1


def test_what_was_read_can_be_sent_back_as_it_came(manager: APIClient) -> None:
    key = ApiKeyFactory(name="Bot")
    shown = manager.get(f"/api/v1/keys/{key.pk}").json()
    assert manager.put(f"/api/v1/keys/{key.pk}", shown, format="json").json() == shown


def test_a_list_comes_in_pages_newest_first(manager: APIClient) -> None:
    for number in range(4):
        ApiKeyFactory(name=f"Bot {number}")
    first = manager.get("/api/v1/keys?limit=3").json()
    assert [key["name"] for key in first["results"]] == ["Bot 3", "Bot 2", "Bot 1"]
    second = manager.get(first["next"]).json()
    assert [key["name"] for key in second["results"]] == ["Bot 0", "Manager"]
    assert second["next"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=", "limit=9" + "9" * 50, "cursor=x"]
)
def test_a_page_that_cannot_be_is_refused(manager: APIClient, query: str) -> None:
    assert manager.get(f"/api/v1/keys?{query}").status_code == 400


def test_a_signed_in_owner_may_manage_and_a_viewer_only_read() -> None:
    acme()
    globex()
    client = APIClient()
    client.force_login(UserFactory(username="ada"))
    assert make(client).status_code == 201
    client.force_login(UserFactory(username="ben"))
    assert client.get("/api/v1/keys").status_code == 200
    assert make(client).status_code == 403
    assert client.get("/api/v1/keys", HTTP_X_SPENDHUB_TENANT="globex").status_code == 403


def test_a_signed_in_person_cannot_write_without_the_csrf_token() -> None:
    acme()
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(UserFactory(username="ada"))
    assert make(client).status_code == 403
    assert ApiKey.objects.across_tenants().count() == 0
