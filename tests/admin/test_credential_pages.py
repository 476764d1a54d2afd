"""Vendors' keys in the admin: typed once, never shown again, and only by those who manage the account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.test import Client

from routing.credentials import open_sealed
from routing.models import Credential, Provider
from spendhub.tenants.models import Change, Tenant
from tests.factories import ProviderFactory, UserFactory
from tests.routing.test_credentials import NEW_KEY, OLD_KEY, give_key

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

LIST = "/admin/routing/credential/"
ADD = "/admin/routing/credential/add/"
SECRET = "sk-typed-0123456789-abcdEFGH"


@pytest.fixture
def vendor(db: None) -> Provider:
    provider: Provider = ProviderFactory(name="openai")
    return provider


def typed(provider: Provider | None = None, **changes: str) -> dict[str, str]:
    given = {"name": "main", "weight": "1", "is_enabled": "on", "secret": SECRET} | changes
    return given if provider is None else given | {"provider": str(provider.pk)}


def page_of(credential: Credential) -> str:
    return f"{LIST}{credential.pk}/change/"


def only_key(tenant: Tenant) -> Credential:
    return Credential.objects.for_tenant(tenant).get()


@pytest.mark.parametrize(("who", "may"), [("ben", False), ("ann", False), ("adam", True), ("ada", True)])
def test_only_admins_and_owners_see_and_enter_keys(
    acme: Tenant, vendor: Provider, browser_of: BrowserOf, who: str, may: bool
) -> None:
    credential, browser = give_key(acme, vendor), browser_of(who)
    for address in (LIST, ADD, page_of(credential)):
        assert (browser.get(address).status_code == 200) is may
    assert (browser.post(ADD, typed(vendor, name="second")).status_code == 302) is may
    assert (browser.post(page_of(credential), typed(name="renamed", secret="")).status_code == 302) is may
    names = sorted(Credential.objects.for_tenant(acme).values_list("name", flat=True))
    assert names == (["renamed", "second"] if may else ["main"])
    assert (b"Vendor keys" in browser.get("/admin/").content) is may


def test_a_key_that_was_entered_shows_only_how_it_ends(acme: Tenant, vendor: Provider, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    answer = browser.post(ADD, typed(vendor, weight="3"), follow=True)
    credential = only_key(acme)
    assert (open_sealed(credential.sealed), credential.weight, credential.rotated_at) == (SECRET, 3, None)
    for content in (answer.content, browser.get(page_of(credential)).content):
        assert b"EFGH" in content
        assert SECRET.encode() not in content
    field = browser.get(page_of(credential)).context["adminform"].form["secret"]
    assert 'type="password"' in str(field)
    assert "value=" not in str(field)
    change = Change.objects.for_tenant(acme).get(action="create")
    assert (change.actor, change.after["hint"]) == ("user:adam", "EFGH")
    assert "sealed" not in change.after and "secret" not in change.after
    assert SECRET not in str(LogEntry.objects.values_list("change_message", "object_repr"))


def test_a_new_secret_rotates_the_key_and_an_empty_one_keeps_it(
    acme: Tenant, vendor: Provider, browser_of: BrowserOf
) -> None:
    credential, browser = give_key(acme, vendor, SECRET), browser_of("adam")
    browser.post(page_of(credential), typed(secret="", weight="7"))
    credential = only_key(acme)
    assert (open_sealed(credential.sealed), credential.weight, credential.rotated_at) == (SECRET, 7, None)
    browser.post(page_of(credential), typed(secret="sk-next-0123456789-WXYZ"))
    credential = only_key(acme)
    assert (open_sealed(credential.sealed), credential.hint) == ("sk-next-0123456789-WXYZ", "WXYZ")
    assert credential.rotated_at is not None
    change = Change.objects.for_tenant(acme).latest("id")
    assert (change.before["hint"], change.after["hint"]) == ("EFGH", "WXYZ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secret": ""}, "This field is required"),
        ({"secret": "two words"}, "no spaces"),
        ({"secret": "schlüssel"}, "plain visible characters"),
        ({"weight": "0"}, "greater than or equal to 1"),
        ({"name": "main"}, "There is a key of this name already"),
    ],
)
def test_what_cannot_be_is_told_in_words_and_the_key_is_not_repeated(
    acme: Tenant, vendor: Provider, browser_of: BrowserOf, changes: dict[str, str], told: str
) -> None:
    give_key(acme, vendor)
    answer = browser_of("adam").post(ADD, typed(vendor, **({"name": "second"} | changes)))
    assert (answer.status_code, told in answer.content.decode()) == (200, True)
    assert SECRET.encode() not in answer.content and b"schl" not in answer.content
    assert only_key(acme).name == "main"


def test_a_key_goes_to_no_provider_of_another_account_and_not_to_the_sandbox(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    theirs, sandbox = ProviderFactory(name="theirs", tenant=globex), ProviderFactory(name="sandbox", dialect="sandbox")
    browser = browser_of("adam")
    assert b"theirs" not in browser.get(ADD).content
    for provider in (theirs, sandbox):
        assert browser.post(ADD, typed(provider)).status_code == 200
    assert not Credential.objects.across_tenants().exists()


def test_a_key_stays_with_its_provider(acme: Tenant, vendor: Provider, browser_of: BrowserOf) -> None:
    other, credential = ProviderFactory(name="other"), give_key(acme, vendor)
    browser_of("adam").post(page_of(credential), typed(other, secret=""))
    assert only_key(acme).provider == vendor


def test_a_stranger_and_a_tenant_see_nothing_of_other_keys(
    acme: Tenant, globex: Tenant, vendor: Provider, browser_of: BrowserOf
) -> None:
    theirs, shared = give_key(acme, vendor), give_key(None, vendor, "sk-installation-01")
    for browser in (browser_of("gil"), browser_of("adam")):
        assert b"n-01" not in browser.get(LIST).content
        assert browser.get(page_of(shared), follow=True).redirect_chain
    browser = browser_of("gil")
    assert b"EFGH" not in browser.get(LIST).content
    assert browser.post(page_of(theirs), typed(name="mine now", secret=SECRET), follow=True).redirect_chain
    assert browser.post(f"{LIST}{theirs.pk}/delete/", {"post": "yes"}, follow=True).redirect_chain
    assert only_key(acme).name == "main"


def test_a_key_that_cannot_be_read_is_marked_until_it_is_typed_again(
    acme: Tenant, vendor: Provider, browser_of: BrowserOf, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    credential, browser = give_key(acme, vendor), browser_of("adam")
    assert "In use" in browser.get(LIST).content.decode()
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    for address in (LIST, page_of(credential)):
        assert "Unreadable" in browser.get(address).content.decode()
    browser.post(page_of(credential), typed())
    page = browser.get(LIST).content.decode()
    assert "Unreadable" not in page and "In use" in page
    browser.post(page_of(credential), {name: value for name, value in typed().items() if name != "is_enabled"})
    assert "Off" in browser.get(LIST).content.decode()


def test_a_key_is_deleted_and_that_is_kept_on_record(acme: Tenant, vendor: Provider, browser_of: BrowserOf) -> None:
    credential = give_key(acme, vendor)
    browser_of("adam").post(f"{LIST}{credential.pk}/delete/", {"post": "yes"})
    assert not Credential.objects.for_tenant(acme).exists()
    assert Change.objects.for_tenant(acme).get(action="delete").before["hint"] == "EFGH"


def test_the_operator_enters_the_installations_key_or_one_for_an_account(
    acme: Tenant, globex: Tenant, vendor: Provider, browser_of: BrowserOf
) -> None:
    UserFactory(username="olga")
    get_user_model().objects.filter(username="olga").update(is_superuser=True)
    browser = browser_of("olga")
    browser.get("/admin/account/switch/")
    page = browser.get(ADD).content.decode()
    assert "for every account that has none of its own" in page
    assert "what it keeps for one of them (responses, files, caches), the others reach by its id" in page
    assert browser.post(ADD, typed(vendor, tenant="")).status_code == 302
    assert browser.post(ADD, typed(vendor, tenant=str(globex.pk))).status_code == 302
    assert browser.post(ADD, typed(vendor, tenant="")).status_code == 200  # the name is taken
    owners = Credential.objects.across_tenants().order_by("pk").values_list("tenant", flat=True)
    assert list(owners) == [None, globex.pk]
    acmes = ProviderFactory(name="acmes", tenant=acme)
    for tenant in ("", str(globex.pk)):
        answer = browser.post(ADD, typed(acmes, tenant=tenant))
        assert "belongs to another account" in answer.content.decode()
