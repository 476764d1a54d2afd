"""Vendors' keys over the API: each tenant's own, written and never read."""

from __future__ import annotations

from typing import Any

import pytest

from routing.credentials import open_sealed
from routing.models import Credential, Provider
from routing.snapshot import CATALOG
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Change
from tests.factories import ModelFactory, ProviderFactory, TenantFactory
from tests.routing.test_catalog_api import Caller
from tests.routing.test_credentials import NEW_KEY, OLD_KEY, give_key

pytestmark = pytest.mark.django_db

SECRET = "sk-live-0123456789-abcdEFGH"


@pytest.fixture
def acme() -> Caller:
    return Caller(TenantFactory(slug="acme"))


@pytest.fixture
def globex() -> Caller:
    return Caller(TenantFactory(slug="globex"))


@pytest.fixture
def vendor() -> Provider:
    provider: Provider = ProviderFactory(name="openai", base_url="https://api.example/v1", api_key_env="NO_SUCH_KEY")
    return provider


def body(**changes: Any) -> dict[str, Any]:
    return {"provider": "openai", "name": "main", "secret": SECRET} | changes


def changes_of(caller: Caller) -> list[Change]:
    return list(Change.objects.for_tenant(caller.tenant).filter(subject_type="routing.credential").order_by("pk"))


def test_a_key_is_entered_and_only_its_end_is_ever_shown(acme: Caller, vendor: Provider) -> None:
    status, made = acme.call("post", "credentials", body(weight=3))
    assert status == 201, made
    assert {name: made[name] for name in made if name not in ("id", "created_at")} == {
        "provider": "openai", "name": "main", "hint": "EFGH", "weight": 3, "is_enabled": True, "is_readable": True,
        "rotated_at": None,
    }  # fmt: skip
    assert acme.call("get", f"credentials/{made['id']}") == (200, made)
    assert acme.call("get", "credentials")[1]["results"] == [made]
    row = Credential.objects.for_tenant(acme.tenant).get()
    assert open_sealed(row.sealed) == SECRET
    (change,) = changes_of(acme)
    assert (change.action, change.actor) == ("create", f"key:{acme.secret[3:11]}")
    assert change.after == {"provider": "openai", "name": "main", "hint": "EFGH", "weight": 3, "is_enabled": True}


def test_calls_of_its_tenant_use_it(acme: Caller, vendor: Provider) -> None:
    ModelFactory(provider=vendor)
    acme.call("post", "credentials", body())
    facts = CATALOG.refresh().resolve(acme.tenant.pk, "small")
    assert facts is not None
    assert [key.secret and key.secret.reveal() for key in facts.credentials] == [SECRET]


def test_a_new_secret_rotates_the_key_and_everything_else_stays(acme: Caller, vendor: Provider) -> None:
    _, made = acme.call("post", "credentials", body(weight=2))
    status, rotated = acme.call("patch", f"credentials/{made['id']}", {"secret": "sk-next-0123456789-WXYZ"})
    assert status == 200
    assert rotated["rotated_at"] is not None
    assert rotated | {"rotated_at": None, "hint": "EFGH"} == made
    assert rotated["hint"] == "WXYZ"
    assert open_sealed(Credential.objects.for_tenant(acme.tenant).get().sealed) == "sk-next-0123456789-WXYZ"
    assert [change.action for change in changes_of(acme)] == ["create", "rotate"]


def test_weight_name_and_state_are_edited_without_the_secret(acme: Caller, vendor: Provider) -> None:
    _, made = acme.call("post", "credentials", body())
    status, edited = acme.call(
        "patch", f"credentials/{made['id']}", {"weight": 9, "name": "spare", "is_enabled": False}
    )
    assert (status, edited["weight"], edited["name"], edited["is_enabled"]) == (200, 9, "spare", False)
    assert (edited["rotated_at"], edited["hint"]) == (None, "EFGH")
    assert changes_of(acme)[-1].after == {"name": "spare", "weight": 9, "is_enabled": False}
    assert acme.call("delete", f"credentials/{made['id']}") == (204, None)
    assert acme.call("get", f"credentials/{made['id']}")[0] == 404
    assert changes_of(acme)[-1].action == "delete"


def test_a_key_stays_with_its_provider(acme: Caller, vendor: Provider) -> None:
    ProviderFactory(name="other")
    _, made = acme.call("post", "credentials", body())
    status, told = acme.call("patch", f"credentials/{made['id']}", {"provider": "other"})
    assert (status, "stays with its provider" in told["error"]["message"]) == (400, True)
    assert acme.call("put", f"credentials/{made['id']}", body(name="renamed"))[0] == 200


def test_a_name_is_taken_once_per_provider_and_tenant(acme: Caller, globex: Caller, vendor: Provider) -> None:
    assert acme.call("post", "credentials", body())[0] == 201
    status, told = acme.call("post", "credentials", body())
    assert (status, told["error"]["code"]) == (409, "already_exists")
    assert globex.call("post", "credentials", body())[0] == 201
    ProviderFactory(name="other")
    assert acme.call("post", "credentials", body(provider="other"))[0] == 201


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": ""},
        {"secret": "two words"},
        {"secret": "über"},
        {"secret": "a\nb"},
        {"secret": 5},
        {"secret": None},
        {"secret": "x" * 4001},
        {"weight": 0},
        {"weight": 1001},
        {"weight": "1"},
        {"name": ""},
        {"name": "x" * 61},
        {"provider": "nobody"},
        {"provider": "sandbox"},
        {"hint": "1234", "colour": "red"},
        {"is_enabled": "yes"},
    ],
)
def test_what_cannot_be_is_refused_without_repeating_it(
    acme: Caller, vendor: Provider, changes: dict[str, Any]
) -> None:
    ProviderFactory(name="sandbox", dialect="sandbox")
    status, told = acme.call("post", "credentials", body(**changes))
    assert (status, told["error"]["code"]) == (400, "invalid")
    secret = body(**changes)["secret"]
    assert not (isinstance(secret, str) and secret and secret in str(told))
    assert not Credential.objects.for_tenant(acme.tenant).exists()


def test_a_secret_is_needed_for_a_new_key(acme: Caller, vendor: Provider) -> None:
    assert acme.call("post", "credentials", {"provider": "openai", "name": "main"})[0] == 400


def test_a_stranger_finds_nothing_of_it(acme: Caller, globex: Caller, vendor: Provider) -> None:
    _, made = acme.call("post", "credentials", body())
    assert globex.call("get", "credentials")[1]["results"] == []
    assert globex.call("get", "credentials?provider=openai")[1]["results"] == []
    for method in ("get", "patch", "delete"):
        assert globex.call(method, f"credentials/{made['id']}", {} if method == "patch" else None)[0] == 404
    ProviderFactory(name="acmes-server", tenant=acme.tenant)
    assert globex.call("post", "credentials", body(provider="acmes-server"))[0] == 400
    assert Credential.objects.for_tenant(acme.tenant).get().name == "main"


def test_keys_take_the_permission_to_manage_even_to_be_listed(acme: Caller, vendor: Provider) -> None:
    for caller in [Caller(acme.tenant, permissions=permissions) for permissions in (("read",), ("spend",))]:
        assert caller.call("get", "credentials")[0] == 403
        assert caller.call("post", "credentials", body())[0] == 403


def test_of_the_installations_keys_a_tenant_learns_only_that_there_are_some(
    acme: Caller, vendor: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_key() -> bool:
        CATALOG.refresh()
        (row,) = acme.call("get", "providers?name=openai")[1]["results"]
        found: bool = row["has_installation_key"]
        return found

    assert not has_key()
    monkeypatch.setenv("NO_SUCH_KEY", "sk-env-0123456789")
    assert has_key()
    monkeypatch.delenv("NO_SUCH_KEY")
    shared = give_key(None, vendor)
    assert has_key()
    assert acme.call("get", "credentials")[1]["results"] == []
    assert acme.call("get", f"credentials/{shared.pk}")[0] == 404
    shared.is_enabled = False
    shared.save()
    assert not has_key()


def test_an_own_provider_never_has_the_installations_key(acme: Caller) -> None:
    _, made = acme.call("post", "providers", {"name": "own", "base_url": "https://llm.acme.example/v1"})
    assert made["has_installation_key"] is False
    assert acme.call("post", "credentials", body(provider="own"))[0] == 201


def test_a_key_that_cannot_be_read_says_so(acme: Caller, vendor: Provider, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    _, made = acme.call("post", "credentials", body())
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    assert acme.call("get", f"credentials/{made['id']}")[1]["is_readable"] is False
    refresh_all()
    assert acme.call("patch", f"credentials/{made['id']}", {"secret": SECRET})[1]["is_readable"] is True
