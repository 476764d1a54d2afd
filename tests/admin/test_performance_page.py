"""Performance in the admin: success, times, cost and quality side by side; and the weights of quality."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from spendhub.tenants.models import Tenant
from telemetry.models import QualityWeights
from tests import factories
from tests.telemetry.test_experiments import book

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

PAGE = "/admin/telemetry/costspan/performance/"
WEIGHTS = "/admin/telemetry/qualityweights/"
TYPED = {
    "caller_weight": "2", "judge_weight": "1", "rules_weight": "0.5", "cut_off_points": "2", "refused_points": "5",
    "malformed_points": "4", "empty_points": "5", "broken_off_points": "4",
}  # fmt: skip


def see(browser: Client, query: str = "") -> str:
    answer = browser.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_viewer_sees_each_models_success_times_cost_quality_and_faults(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("ben")
    assert "No call was recorded in this time." in see(browser)
    assert PAGE in browser.get("/admin/").content.decode()
    for milliseconds in (1_000, 2_000, 3_000):
        ending = "length" if milliseconds == 3_000 else "stop"
        book(acme, "small", duration_ms=milliseconds, output_tokens=9, rated=3, metadata={"finish_reason": ending})
    book(acme, "small", status="error", cost_nano_usd=0)
    book(acme, "unrated", duration_ms=77)
    page = see(browser)
    # 2 of 15 points are lost: 4.33 are left, and half of 13.3 % goes off 3. 2.8 for 0.75 USD a call.
    for shown in ("75.0 %", "2,000 ms", "2,900 ms", "2,980 ms", "$0.75", "3.00", "4.33", "1 cut off", "2.80", "3.733"):
        assert f">{shown}<" in page.replace("</span>", "<").replace(" <span", "<span"), shown
    assert page.index(">small<") < page.index(">unrated<")
    assert ">1<" in page and ">77 ms<" in page


def test_it_may_be_told_by_provider_feature_or_task(acme: Tenant, browser_of: BrowserOf) -> None:
    book(acme, "small", feature="faq", provider="vendor")
    book(factories.globex(), "theirs", feature="secret")
    page = see(browser_of("ben"), "?by=feature&days=7")
    assert ">faq<" in page and "secret" not in page
    assert "<b>feature</b>" in page and "?by=feature&amp;days=1" in page
    assert "<b>model</b>" in see(browser_of("ben"), "?by=colour")


def test_quality_per_dollar_is_told_in_plain_numbers(acme: Tenant, browser_of: BrowserOf) -> None:
    book(acme, "cheap", rated=5, cost_nano_usd=49_055)
    assert ">101,900<" in see(browser_of("ben"))


def test_it_is_narrowed_to_the_calls_of_one_feature_task_or_source(acme: Tenant, browser_of: BrowserOf) -> None:
    book(acme, "small", feature="faq", task="t-1")
    book(acme, "large", feature="faq", task="t-2")
    book(acme, "other", feature="chat", task="t-1", source="api")
    browser = browser_of("ben")

    def models(query: str) -> list[str]:
        page = see(browser, query)
        return [name for name in ("small", "large", "other") if f'<td class="sh-name">{name}</td>' in page]

    assert models("?feature=faq") == ["small", "large"]
    assert models("?feature=faq&task=t-2") == ["large"]
    assert models("?task=t-1") == ["small", "other"]
    assert models("?source=api") == ["other"]
    assert models("?feature=%20faq%20&task=") == ["small", "large"]
    page = see(browser, "?feature=faq&task=t-2&days=7&by=provider")
    # The other choices stay, and each can be made again.
    assert 'name="feature" value="faq"' in page and 'name="task" value="t-2"' in page
    assert (
        '<input type="hidden" name="days" value="7">' in page
        and '<input type="hidden" name="by" value="provider">' in page
    )
    assert "?feature=faq&amp;task=t-2&amp;days=7&amp;by=task" in page
    assert '<option value="chat">' in page and '<option value="t-1">' in page
    assert "No call was recorded in this time." not in see(browser, "?feature=nobody")
    assert "No call of this time fits." in see(browser, "?feature=nobody")


def test_an_admin_sets_one_row_of_weights_and_a_viewer_does_not(acme: Tenant, browser_of: BrowserOf) -> None:
    assert browser_of("ben").post(f"{WEIGHTS}add/", TYPED).status_code == 403
    browser = browser_of("adam")
    assert browser.post(f"{WEIGHTS}add/", TYPED).status_code == 302
    assert QualityWeights.objects.for_tenant(acme).get().caller_weight == 2
    assert browser.post(f"{WEIGHTS}add/", TYPED | {"caller_weight": "3"}).status_code == 403
    assert QualityWeights.objects.for_tenant(acme).get().caller_weight == 2
    row = QualityWeights.objects.for_tenant(acme).get()
    answer = browser.post(f"{WEIGHTS}{row.pk}/change/", TYPED | {"judge_weight": "11"})
    assert "less than or equal to 10" in answer.content.decode()
