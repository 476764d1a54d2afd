"""Vendor health in the admin: everybody sees how vendors do, and only the operator overrules it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from routing.breakers import BREAKERS, Circuit, breaker_key_of
from routing.models import Model
from routing.performance import forget_observed, set_observed, summarize
from routing.snapshot import CATALOG
from spendhub.tenants.models import Change, Tenant
from tests.factories import ModelFactory, ProviderFactory, UserFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

HEALTH = "/admin/routing/provider/health/"
FORCE = f"{HEALTH}force/"
KEY = "vendor/small"


@pytest.fixture(autouse=True)
def all_closed(db: None) -> Iterator[None]:
    BREAKERS.forget()
    forget_observed()
    ModelFactory(provider=ProviderFactory(name="vendor"), name="small")
    yield
    BREAKERS.forget()
    forget_observed()


def see(browser: Client, query: str = "") -> str:
    CATALOG.refresh()
    answer = browser.get(f"{HEALTH}{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def open_up(key: str = KEY, now: float | None = None) -> None:
    for _ in range(5):
        BREAKERS.note_failure(key, time.time() if now is None else now)


def test_a_model_in_trouble_is_seen_by_everybody_with_an_account(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ben")
    assert "none is in trouble" in see(browser)
    assert "small" in see(browser, "?all=1")
    BREAKERS.note_failure(KEY, time.time())
    assert "Some failures" in see(browser)
    open_up()
    page = see(browser)
    assert "Left alone" in page and "sh-state-stopped" in page
    assert "Send no calls" not in page and "Let calls through" not in page
    assert "Vendor health" in browser.get("/admin/").content.decode()


def test_each_state_is_said_in_plain_words(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ben")
    open_up(now=time.time() - 60)
    assert "with the next call" in see(browser)
    BREAKERS.admit(KEY, time.time())
    page = see(browser)
    assert "Being tried" in page and "sh-state-warned" in page
    BREAKERS.force(KEY, "open", time.time())
    page = see(browser)
    assert "Stopped by hand" in page and "until somebody lets calls through" in page
    BREAKERS.force(KEY, "closed", time.time())
    page = see(browser)
    assert "Working" in page and "sh-state-active" in page


def test_how_long_calls_took_and_how_many_failed_stand_beside_it(acme: Tenant, browser_of: BrowserOf) -> None:
    set_observed({"small": summarize([500.0] * 18 + [2_500.0] * 2, failures=5)})
    page = see(browser_of("ben"))
    for shown in ("500 ms", "2.5 s", "20.0 %", ">25</td>"):
        assert shown in page


def test_what_was_let_through_and_has_only_failed_is_not_said_to_work(acme: Tenant, browser_of: BrowserOf) -> None:
    set_observed({"small": summarize([], failures=5)})
    open_up()
    BREAKERS.force(KEY, "closed", time.time())
    page = see(browser_of("ben"))
    assert ">Calls pass<" in page and ">Working<" not in page and "sh-state-warned" in page
    set_observed({"small": summarize([500.0] * 5, failures=5)})
    assert ">Working<" in see(browser_of("ben"))


def test_the_page_says_what_is_now_and_what_is_of_the_last_hours(acme: Tenant, browser_of: BrowserOf) -> None:
    BREAKERS.note_failure(KEY, time.time())
    page = see(browser_of("ben"))
    assert '<th colspan="4">Now</th><th colspan="4">Calls of the last 6 hours</th>' in page
    assert "read anew every 15 seconds" in page


def test_who_may_not_overrule_a_breaker_reads_who_can(acme: Tenant, operator: Client, browser_of: BrowserOf) -> None:
    told = "Only an operator of this installation (a superuser) stops calls to a model by hand, and lets them through."
    open_up()
    for who in ("ben", "adam", "ada"):
        assert told in see(browser_of(who))
    assert told not in see(operator)


def test_a_stranger_sees_no_model_of_another_account(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    Model.objects.create(tenant=acme, provider=ProviderFactory(name="vendor"), name="acmes-own")
    facts = CATALOG.refresh().resolve(acme.pk, "acmes-own")
    assert facts is not None
    open_up(breaker_key_of(facts))
    assert "acmes-own" in see(browser_of("ada"))
    assert "acmes-own" not in see(browser_of("gil"), "?all=1")


@pytest.mark.parametrize("who", ["ben", "adam", "ada"])
def test_only_the_operator_overrules_a_breaker(acme: Tenant, browser_of: BrowserOf, who: str) -> None:
    browser = browser_of(who)
    for state in ("open", "closed"):
        assert browser.get(f"{FORCE}?key={KEY}&state={state}").status_code == 403
        assert browser.post(f"{FORCE}?key={KEY}&state={state}").status_code == 403
    assert BREAKERS.standing() == {}


def test_opening_asks_first_holds_and_is_kept_on_record(operator: Client) -> None:
    assert "Send no calls" in see(operator, "?all=1")
    asked = operator.get(f"{FORCE}?key={KEY}&state=open")
    assert ">Send no calls to small at vendor?</h2>" in asked.content.decode()
    assert BREAKERS.standing() == {}
    answer = operator.post(f"{FORCE}?key={KEY}&state=open", follow=True)
    assert "No calls go to small at vendor until you let them through." in answer.content.decode()
    assert BREAKERS.standing()[KEY].is_forced
    assert not BREAKERS.admit(KEY, time.time() + 10_000)
    change = Change.objects.across_tenants().get(action="open breaker")
    assert (change.tenant_id, change.actor, change.subject) == (None, "user:olga", "vendor")
    assert change.after == {"breaker": "open, by hand"}
    assert change.before == {"model": "small", "breaker": "closed"}


def test_closing_asks_first_and_lets_calls_through(operator: Client) -> None:
    open_up()
    assert "Let calls through" in see(operator)
    assert "Let calls through to small at vendor?" in operator.get(f"{FORCE}?key={KEY}&state=closed").content.decode()
    assert BREAKERS.standing()[KEY].state == "open"
    operator.post(f"{FORCE}?key={KEY}&state=closed")
    assert BREAKERS.admit(KEY, time.time())
    assert BREAKERS.standing()[KEY] == Circuit(changed_at=BREAKERS.standing()[KEY].changed_at)


@pytest.mark.parametrize("query", ["", "?key=vendor/small", "?key=vendor/small&state=half-open", "?key=x/y&state=open"])
def test_only_a_breaker_that_exists_is_forced_and_only_open_or_closed(operator: Client, query: str) -> None:
    assert operator.post(f"{FORCE}{query}").status_code == 404
    assert BREAKERS.standing() == {}


def test_a_name_with_strange_characters_can_be_forced_from_its_link(operator: Client) -> None:
    ModelFactory(name="meta/llama 3 & co?", provider=ProviderFactory(name="vendor"))
    page = see(operator, "?all=1")
    link = "?key=vendor%2Fmeta%2Fllama+3+%26+co%3F&amp;state=open"
    assert link in page
    assert operator.post(f"{FORCE}{link.replace('&amp;', '&')}").status_code == 302
    assert BREAKERS.standing()["vendor/meta/llama 3 & co?"].is_forced


def test_without_redis_the_page_says_whose_breakers_it_shows(
    acme: Tenant, browser_of: BrowserOf, settings: Settings
) -> None:
    settings.REDIS_URL = None
    assert "each server process keeps its own breakers" in see(browser_of("ben"))


def test_someone_without_an_account_sees_nothing(browser_of: BrowserOf) -> None:
    UserFactory(username="nobody-yet")
    assert browser_of("nobody-yet").get(HEALTH).status_code == 403
