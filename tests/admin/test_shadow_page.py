"""Savings in the admin: what calls would have cost another way, beside what was thought of their answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from routing.models import Model, Route
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from tests import factories
from tests.telemetry.test_experiments import book, rate

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

PAGE = "/admin/telemetry/costspan/savings/"
NANO = 10**9
MTOK = 1_000_000


def see(browser: Client, query: str = "") -> str:
    refresh_all()
    answer = browser.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return " ".join(str(answer.content.decode()).split())


def model(name: str, dollars: int) -> Model:
    provider = factories.ProviderFactory(dialect="openai", base_url="https://vendor.example/v1")
    # Calls here are of a million tokens, so that prices are easy to add up.
    made: Model = factories.ModelFactory(name=name, provider=provider, context_tokens=10 * MTOK)
    factories.PriceFactory(model=made, input_nano_usd_per_mtok=dollars * NANO, output_nano_usd_per_mtok=dollars * NANO)
    return made


def call(tenant: Tenant, name: str, dollars: int) -> CostSpan:
    [span] = book(tenant, name, cost_nano_usd=dollars * NANO, input_tokens=MTOK)
    return span


def test_a_viewer_sees_what_one_model_would_have_cost_beside_what_was_thought_of_the_others(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    model("large", 8)
    model("small", 2)
    rate([call(acme, "large", 8)], 4.5, thumbs="up")
    call(acme, "large", 8)
    page = see(browser_of("ben"), "?model=small")
    assert "2 calls cost</span><b>$16.00" in page
    assert "They would have cost</span><b>$4.00" in page
    assert "Would have saved</span><b>$12.00" in page and "Would be cheaper by</span><b>75 %" in page
    assert "<span>$12.00 less <span" in page
    for column, shown in (("Quality of 5", "4.50"), ("Thumbs up", "100 %"), ("Ratings", "1")):
        assert f'<td data-label="{column}">{shown}</td>' in page
    assert 'title="small">small</span>' in page


def test_what_would_have_been_dearer_is_told_as_such(acme: Tenant, browser_of: BrowserOf) -> None:
    model("large", 8)
    model("small", 2)
    call(acme, "small", 2)
    page = see(browser_of("ben"), "?model=large&days=7")
    assert "Would have cost more</span><b>$6.00" in page and "Would be dearer by</span><b>300 %" in page
    assert '<option value="7" selected>' in page


def test_only_strategies_that_need_no_options_are_offered(acme: Tenant, browser_of: BrowserOf) -> None:
    page = see(browser_of("ben"))
    offered = re.findall(r'<option value="([a-z-]+)" title=', page)
    assert offered == ["cost-optimized", "latency-optimized", "judgment-based", "capability-based", "budget-aware"]


def test_calls_are_compared_with_what_a_route_of_ones_own_would_have_chosen(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    model("large", 8)
    model("small", 2)
    Route.objects.create(tenant=acme, name="steady", strategy="pinned", candidate_models=["small"])
    Route.objects.create(
        tenant=acme, name="shared out", strategy="weighted", options={"split": {"large": 0.5, "small": 0.5}}
    )
    Route.objects.create(tenant=globex, name="theirs", strategy="cost-optimized")
    call(acme, "large", 8)
    page = see(browser_of("ben"), "?strategy=route:steady")
    assert "They would have cost</span><b>$2.00" in page and 'title="small">small</span>' in page
    assert '<option value="route:steady" selected>' in page and '<option value="route:shared out">' in page
    assert "theirs" not in page
    assert "sh-error" not in see(browser_of("ben"), "?strategy=route:shared+out")
    assert "sh-error" in see(browser_of("ben"), "?strategy=route:theirs")


def test_that_only_the_test_provider_would_have_answered_is_said_plainly(acme: Tenant, browser_of: BrowserOf) -> None:
    model("large", 8)
    call(acme, "large", 8)
    warning = "built-in test provider, which gives canned answers"
    assert warning not in see(browser_of("ben"), "?model=large")
    sandbox = factories.ProviderFactory(name="sandbox", dialect="sandbox", base_url="")
    toy = factories.ModelFactory(name="toy", provider=sandbox, context_tokens=10 * MTOK)
    factories.PriceFactory(model=toy, input_nano_usd_per_mtok=NANO, output_nano_usd_per_mtok=NANO)
    assert warning not in see(browser_of("ben"))  # a vendor can be called
    assert warning in see(browser_of("ben"), "?model=toy")


def test_a_name_that_is_no_model_is_said_and_breaks_nothing(acme: Tenant, browser_of: BrowserOf) -> None:
    assert "sh-error" in see(browser_of("ben"), "?model=nonsense")
    assert "sh-error" in see(browser_of("ben"), "?strategy=nonsense&days=soon")


def test_without_calls_there_is_nothing_to_save_and_a_stranger_sees_nothing(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    model("large", 8)
    call(acme, "large", 8)
    assert "answered no call in this time" in see(browser_of("gil"))
    assert "Savings" in browser_of("gil").get("/admin/").content.decode()


def test_an_operator_above_all_accounts_is_asked_to_choose_one(acme: Tenant, browser_of: BrowserOf) -> None:
    factories.UserFactory(username="olga")
    get_user_model().objects.filter(username="olga").update(is_superuser=True)
    browser = browser_of("olga")
    browser.get("/admin/account/switch/")
    assert "switch to one first" in see(browser)
