"""Experiments in the admin: everybody with an account sees its arms and the verdict, and nobody another account's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from routing.models import Route
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from tests.factories import UserFactory
from tests.telemetry.test_experiments import book, set_up

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

PAGE = "/admin/telemetry/costspan/experiments/"


def see(browser: Client, query: str = "") -> str:
    answer = browser.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_viewer_sees_each_arm_and_what_can_be_said(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ben")
    assert "No call of this time took part in an experiment." in see(browser)
    assert "Experiments" in browser.get("/admin/").content.decode()
    set_up(acme)
    book(acme, "old", 180, rated=3)
    book(acme, "old", 20, status="error", cost_nano_usd=0)
    book(acme, "new", 120)
    book(acme, "new", 80, status="error")
    page = see(browser)
    for shown in ("75.0 %", "50.0 %", "90.0 %", "60.0 %", "$0.90", "100 ms", "3.00"):
        assert shown in page, shown
    assert "old is better: chance alone shows this in less than 0.1% (old 90.0%, new 60.0%)." in page
    assert "Too early to say: one of them has not been rated." in page


def test_one_of_several_is_chosen_and_the_days_too(acme: Tenant, browser_of: BrowserOf) -> None:
    book(acme, "old", metadata={"experiment": "a&b"})
    book(acme, "old", metadata={"experiment": "tone/1"})
    page = see(browser_of("ben"), "?name=a%26b&days=7")
    assert '<h2 class="sh-heading">a&amp;b' in page and "<b>7 days</b>" in page
    assert "?name=tone%2F1&amp;days=7" in page
    assert "<b>30 days</b>" in see(browser_of("ben"), "?days=soon")


def test_a_weighted_route_leads_to_its_experiment_and_the_experiment_back(acme: Tenant, browser_of: BrowserOf) -> None:
    set_up(acme, experiment="tone & style")
    route, browser = Route.objects.for_tenant(acme).get(), browser_of("ben")
    page, link = f"/admin/routing/route/{route.pk}/change/", f"/admin/routing/route/{route.pk}/see_experiment/"
    assert link in browser.get(page).content.decode()
    assert browser.get(link)["Location"] == f"{PAGE}?name=tone+%26+style"
    # Before its first call, and after it.
    assert f'href="{page}">support</a>' in see(browser, "?name=tone+%26+style")
    book(acme, "old", metadata={"experiment": "tone & style"})
    book(acme, "old", metadata={"experiment": "tone & style", "route": "former"})
    shown = see(browser, "?name=tone+%26+style")
    assert f'href="{page}">support</a>' in shown and "former (gone)" in shown


def test_a_route_without_an_experiment_leads_to_none(acme: Tenant, browser_of: BrowserOf) -> None:
    route = Route.objects.create(tenant=acme, name="plain", strategy="cost-optimized")
    shown = browser_of("ben").get(f"/admin/routing/route/{route.pk}/change/").content.decode()
    assert "see_experiment" not in shown


def test_nobody_reaches_an_experiment_through_anothers_route(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    set_up(acme)
    route = Route.objects.for_tenant(acme).get()
    assert browser_of("gil").get(f"/admin/routing/route/{route.pk}/see_experiment/").status_code == 404


def test_an_experiment_is_seen_at_once_after_its_route_was_saved(acme: Tenant, browser_of: BrowserOf) -> None:
    refresh_all()
    Route.objects.create(tenant=acme, name="fresh", strategy="weighted", options={"split": {"old": 0.5, "new": 0.5}})
    # This process has not looked again since.
    page = see(browser_of("ben"), "?name=fresh")
    assert '<h2 class="sh-heading">fresh' in page and ">new<" in page


def test_an_unknown_experiment_is_told_in_the_admins_frame(acme: Tenant, browser_of: BrowserOf) -> None:
    set_up(acme)
    book(acme, "old")
    answer = browser_of("ben").get(f"{PAGE}?name=nonsense%3Cb%3E")
    page = answer.content.decode()
    assert answer.status_code == 404
    assert "Demo" not in page and "sh-error" in page and 'href="/admin/telemetry/costspan/performance/"' in page
    assert "No experiment or weighted route is called &#x27;nonsense&lt;b&gt;&#x27; in this period." in page
    assert '?name=support"' in page  # those that there are


def test_a_stranger_sees_nothing_of_it(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    set_up(acme)
    book(acme, "old", 3)
    assert "No call of this time" in see(browser_of("gil"))
    assert browser_of("gil").get(f"{PAGE}?name=support").status_code == 404


def test_an_operator_above_all_accounts_is_asked_to_choose_one(acme: Tenant, browser_of: BrowserOf) -> None:
    UserFactory(username="olga")
    get_user_model().objects.filter(username="olga").update(is_superuser=True)
    browser = browser_of("olga")
    browser.get("/admin/account/switch/")
    assert "switch to one first" in see(browser)
