"""What each role may do in the admin, and where people with several accounts sit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory

from spendhub.dashboard.theme import UNFOLD
from spendhub.tenants.models import ApiKey, Change, Membership, Tenant
from tests.factories import ApiKeyFactory, MembershipFactory, UserFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("who", "may_see_keys", "may_add_budgets", "may_add_people"),
    [("ben", False, False, False), ("ann", True, False, False), ("adam", True, True, False), ("ada", True, True, True)],
)
def test_a_role_opens_what_it_should_and_nothing_more(
    acme: Tenant, browser_of: BrowserOf, who: str, may_see_keys: bool, may_add_budgets: bool, may_add_people: bool
) -> None:
    browser = browser_of(who)
    assert browser.get("/admin/").status_code == 200
    assert browser.get("/admin/budgets/budget/").status_code == 200
    assert browser.get("/admin/telemetry/costspan/").status_code == 200
    assert (browser.get("/admin/tenants/apikey/").status_code == 200) is may_see_keys
    assert (browser.get("/admin/budgets/budget/add/").status_code == 200) is may_add_budgets
    assert (browser.get("/admin/tenants/membership/add/").status_code == 200) is may_add_people
    assert browser.get("/admin/auth/user/").status_code == 403
    assert browser.get("/admin/tenants/tenant/add/").status_code == 403


def test_someone_without_an_account_sees_a_word_of_welcome_and_no_rows(acme: Tenant, browser_of: BrowserOf) -> None:
    UserFactory(username="nobody-yet")
    browser = browser_of("nobody-yet")
    assert b"belong to no account yet" in browser.get("/admin/").content
    assert browser.get("/admin/budgets/budget/").status_code == 403


def test_a_person_with_two_accounts_sits_in_one_at_a_time(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    MembershipFactory(tenant=globex, user=get_user_model().objects.get(username="ada"), role=Membership.Role.VIEWER)
    acme_key, globex_key = ApiKeyFactory(tenant=acme, name="Acme bot"), ApiKeyFactory(tenant=globex, name="Globex bot")
    browser = browser_of("ada")
    assert acme_key.prefix.encode() in browser.get("/admin/tenants/apikey/").content
    browser.get("/admin/account/switch/globex/")
    # There she is a viewer only: her rights are those of where she sits.
    assert browser.get("/admin/tenants/apikey/").status_code == 403
    browser.get("/admin/account/switch/acme/")
    page = browser.get("/admin/tenants/apikey/").content
    assert acme_key.prefix.encode() in page
    assert globex_key.prefix.encode() not in page


def test_nobody_takes_a_seat_in_an_account_that_is_not_theirs(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    key = ApiKeyFactory(tenant=acme)
    browser = browser_of("gil")
    browser.get("/admin/account/switch/acme/")
    browser.get("/admin/account/switch/")
    assert key.prefix.encode() not in browser.get("/admin/tenants/apikey/").content


def test_an_owner_adds_somebody_new_and_sees_their_password_once(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ada")
    page = browser.post("/admin/tenants/membership/add/", {"username": "newcomer", "email": "", "role": "viewer"})
    newcomer = get_user_model().objects.get(username="newcomer")
    password = page.context["secret"]
    assert newcomer.check_password(password)
    assert Membership.objects.for_tenant(acme).get(user=newcomer).role == "viewer"
    assert password.encode() not in browser.get("/admin/tenants/membership/").content


def test_an_account_keeps_an_owner(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ada")
    ada = Membership.objects.for_tenant(acme).get(user__username="ada")
    browser.post(f"/admin/tenants/membership/{ada.pk}/change/", {"role": "viewer"})
    browser.post(f"/admin/tenants/membership/{ada.pk}/delete/", {"post": "yes"})
    ada.refresh_from_db()
    assert ada.role == "owner"


def test_a_key_is_shown_once_and_its_making_recorded(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    page = browser.post(
        "/admin/tenants/apikey/add/",
        {
            "name": "Support bot",
            "can_spend": "on",
            "attribution": "agent: support-bot",
            "expires_at_0": "",
            "expires_at_1": "",
        },
    )
    secret = page.context["secret"]
    assert secret.startswith("sh_")
    assert "no-store" in page["Cache-Control"]
    assert secret.encode() not in browser.get("/admin/tenants/apikey/").content
    change = Change.objects.for_tenant(acme).get(action="issue")
    assert (change.actor, change.after["attribution"]) == ("user:adam", {"agent": "support-bot"})


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_a_key_does_not_expire_in_a_year_that_cannot_be(acme: Tenant, browser_of: BrowserOf, day: str) -> None:
    typed = {"name": "Support bot", "attribution": "", "expires_at_0": day, "expires_at_1": "00:00"}
    answer = browser_of("adam").post("/admin/tenants/apikey/add/", typed)
    told = {"expires_at": ["Write a day between the years 1970 and 2999."]}
    assert answer.context["adminform"].form.errors == told
    assert not ApiKey.objects.for_tenant(acme).exists()


def test_an_accounts_currency_is_three_letters(acme: Tenant, browser_of: BrowserOf) -> None:
    typed = {"name": "Acme", "currency": "[[", "unpriced_models": "refuse"}
    answer = browser_of("ada").post(f"/admin/tenants/tenant/{acme.pk}/change/", typed)
    assert answer.context["adminform"].form.errors == {"currency": ["Write three capital letters, such as USD."]}


def test_who_is_added_to_no_account_is_told_once(operator: Client) -> None:
    answer = operator.post("/admin/tenants/membership/add/", {"username": "newcomer", "email": "", "role": "viewer"})
    assert answer.context["adminform"].form.errors == {"tenant": ["This field is required."]}


def test_revoking_asks_first_and_needs_a_post(acme: Tenant, browser_of: BrowserOf) -> None:
    key = ApiKeyFactory(tenant=acme)
    browser = browser_of("adam")
    assert browser.get(f"/admin/tenants/apikey/{key.pk}/revoke/").status_code == 200
    key.refresh_from_db()
    assert key.revoked_at is None
    browser.post(f"/admin/tenants/apikey/{key.pk}/revoke/")
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_an_owner_moves_the_account_to_another_time_zone(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ada")
    refused = browser.post(f"/admin/account/timezone/{acme.pk}/", {"timezone": "Europe/Atlantis"})
    assert b"is no time zone" in refused.content
    browser.post(f"/admin/account/timezone/{acme.pk}/", {"timezone": "Europe/Berlin"})
    acme.refresh_from_db()
    assert acme.timezone == "Europe/Berlin"
    assert browser_of("adam").post(f"/admin/account/timezone/{acme.pk}/", {"timezone": "UTC"}).status_code == 403


def test_a_suspended_account_is_closed_to_its_people(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ada")
    acme.status = Tenant.Status.SUSPENDED
    acme.save()
    assert browser.get("/admin/budgets/budget/").status_code == 403


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/admin/", "Overview"),
        ("/admin/routing/provider/", "Providers"),
        ("/admin/routing/provider/health/", "Vendor health"),
        ("/admin/telemetry/costspan/", "Spend"),
    ],
)
def test_the_sidebar_marks_the_one_page_that_is_open(path: str, title: str) -> None:
    request = RequestFactory().get(path)
    items = [item for group in UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]
    assert [item["title"] for item in items if item["active"](request)] == [title]
