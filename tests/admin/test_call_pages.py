"""A call's page in the admin: why this model answered, what it cost to the last decimal, and what else its request took."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from spendhub.tenants.models import Change, Tenant
from telemetry.models import CostSpan

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

LIST = "/admin/telemetry/costspan/"
TRACE = "0192a000-0000-7000-8000-000000000001"


def book(tenant: Tenant, model: str, metadata: dict[str, Any] | None = None, **values: Any) -> CostSpan:
    at = values.pop("at", timezone.now() - timedelta(minutes=1))
    values = {"request_id": uuid.uuid4().hex, "source": "gateway", "cost_nano_usd": 19_650, **values}
    return CostSpan.objects.create(
        tenant=tenant, model=model, occurred_at=at, recorded_at=at, metadata=metadata or {}, **values
    )


def see(browser: Client, span: CostSpan) -> str:
    answer = browser.get(f"{LIST}{span.pk}/change/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def listed(browser: Client, query: str = "") -> str:
    answer = browser.get(f"{LIST}{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def says(page: str, label: str, words: str) -> bool:
    """Whether the page has a field of that label with those words."""
    _, _, rest = page.partition(f">{label}</label>")
    return f'*:rounded-default">{words}</div>' in rest.split("</label>")[0]


def test_a_calls_page_says_why_this_model_answered(acme: Tenant, browser_of: BrowserOf) -> None:
    facts = {
        "needs": ["tools", "vision"], "route": "support", "strategy": "cost-optimized", "reason": "the cheapest of 3",
        "confidence": 0.8, "estimate_nano_usd": 20_000, "alternatives": ["large", "medium"], "attempt": 2,
        "experiment": "tone", "arm": "small", "complexity": 0.25,
    }  # fmt: skip
    page = see(browser_of("ben"), book(acme, "small", facts))
    assert "Why this model answered" in page
    for label, words in (
        ("Route", "support"), ("Strategy", "cost-optimized"), ("Reason", "the cheapest of 3"), ("Confidence", "80 %"),
        ("Attempt number", "2: another could not answer; the reason is that of the first choice"), ("Needed of a model", "tools, vision"), ("Expected to cost", "$0.00002"),
        ("Next in line", "large, medium"), ("Experiment", "tone"), ("Drawn in it", "small"), ("Complexity", "0.25"),
    ):  # fmt: skip
        assert says(page, label, words), label


def test_a_calls_page_says_how_its_answer_ended_and_what_was_unusual_about_its_bill(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    facts = {
        "finish_reason": "length", "clamped_to": 400, "ended": "out_of_money", "ended_by": "Support",
        "client_request_id": "mine-1", "stream": True, "service_tier": "priority", "web_searches": 3,
        "not_priced": ["web_search", "google_maps"], "list_price_cost": "0.00001965", "worst_case_cost": "1.25",
    }  # fmt: skip
    page = see(browser_of("ben"), book(acme, "small", facts))
    for label, words in (
        ("Finish reason", "length"), ("Output limited to", "400 tokens"), ("Ended early", "out of money"),
        ("Ended by the budget", "Support"), ("Your request id", "mine-1"), ("Streamed", "yes"),
        ("Service tier", "priority"), ("Web searches", "3"), ("Used, but has no price", "web_search, google_maps"),
        ("By our list prices", "$0.00001965"), ("Could have cost at most", "$1.25"),
    ):  # fmt: skip
        assert says(page, label, words), label


def test_a_page_has_no_room_for_what_is_not_known_of_a_call(acme: Tenant, browser_of: BrowserOf) -> None:
    page = see(browser_of("ben"), book(acme, "small"))
    assert says(page, "Reason", "the call asked for it by name")
    for absent in (
        ">Route</label>",
        "How it ended",
        ">Service tier</label>",
        ">From memory</label>",
    ):
        assert absent not in page, absent


def test_what_others_sent_in_is_not_told_as_the_gateways_own(acme: Tenant, browser_of: BrowserOf) -> None:
    sent = {"route": "theirs", "cache": "hit", "saved_nano_usd": 5, "list_price_cost": "7.00"}
    span = book(acme, "small", sent, source="api")
    page = see(browser_of("ben"), span)
    assert "Why this model answered" not in page and ">From memory</label>" not in page and "$7.00" not in page
    assert "Sent with it" in page and "&quot;route&quot;: &quot;theirs&quot;" in page
    assert str(span.pk) not in listed(browser_of("ben"), "?part=memory")


def test_an_answer_from_memory_is_told_as_such_with_what_it_saved(acme: Tenant, browser_of: BrowserOf) -> None:
    hit = book(acme, "small", {"cache": "hit", "saved_nano_usd": 19_651}, cost_nano_usd=0)
    page = see(browser_of("ben"), hit)
    assert says(page, "From memory", "No model was asked: an answer that was kept is given again. Saved: $0.000019651")


def test_the_list_names_and_finds_answers_from_memory_reviews_and_later_attempts(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    made = {
        "answers": book(acme, "plain-model", {"route": "auto"}),
        "memory": book(acme, "kept-model", {"cache": "hit", "saved_nano_usd": 1}, cost_nano_usd=0),
        "review": book(acme, "reviewer-model", {"review_of": "r-1"}),
        "sample": book(acme, "sampler-model", {"review_of": "r-1", "is_sample": True}),
        "judge": book(acme, "judge-model", {"escalated_from": "r-1"}),
        "again": book(acme, "second-model", {"attempt": 2}),
    }
    browser = browser_of("ben")
    page = listed(browser)
    for words in ("From memory", "Review", "Score of a sample", "Judge's answer".replace("'", "&#x27;"), "Attempt 2"):
        assert f">{words}<" in " ".join(page.split()).replace("> ", ">").replace(" <", "<"), words
    found = {
        part: {name for name, span in made.items() if f"/{span.pk}/" in listed(browser, f"?part={part}")}
        for part in ("memory", "vendor", "review", "again")
    }
    assert found == {
        "memory": {"memory"},
        "vendor": set(made) - {"memory"},
        "review": {"review", "sample"},
        "again": {"again", "judge"},
    }


def test_all_calls_of_one_request_stand_together(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    now = timezone.now()
    failed = book(acme, "first-model", trace_id=TRACE, at=now - timedelta(seconds=9), status="error", cost_nano_usd=0)
    answer = book(
        acme, "second-model", {"attempt": 2}, trace_id=TRACE, at=now - timedelta(seconds=8), request_id="r-answer"
    )
    review = book(acme, "critic", {"review_of": "r-answer"}, trace_id=TRACE, at=now - timedelta(seconds=7))
    book(globex, "theirs", trace_id=TRACE)
    alone = book(acme, "alone", trace_id="another")
    browser = browser_of("ben")
    page = see(browser, review)
    assert "3 calls of one request" in page and "theirs" not in page
    assert f'href="{LIST}?trace_id__exact={TRACE}&amp;when=7"' in page
    table = page[page.index('<table class="sh-table">') :].split("</table>")[0]
    assert table.index("first-model") < table.index("second-model") < table.index("critic")
    assert f'href="{LIST}{failed.pk}/change/"' in table and "this call" in table
    for words in ("Attempt 2", "Review", "Error", "$0.00001965"):
        assert words in table, words
    assert f'<a class="sh-link" href="{LIST}{answer.pk}/change/">r-answer</a>' in page  # what it reviews
    assert "of one request" not in see(browser, alone)
    near = book(acme, "near", trace_id=f"{TRACE}2")
    rows = listed(browser, f"?trace_id__exact={TRACE}&when=7")
    assert all(f"/{span.pk}/" in rows for span in (failed, answer, review))
    assert f"/{alone.pk}/" not in rows and f"/{near.pk}/" not in rows


@pytest.mark.parametrize(("days", "when"), [(1, "7"), (7, "30"), (30, "all")])
def test_the_list_of_a_requests_calls_reads_no_more_days_than_it_needs(
    acme: Tenant, browser_of: BrowserOf, days: int, when: str
) -> None:
    at = timezone.now() - timedelta(days=days)
    book(acme, "first-model", trace_id=TRACE, at=at)
    last = book(acme, "second-model", {"attempt": 2}, trace_id=TRACE, at=at)
    assert f"trace_id__exact={TRACE}&amp;when={when}" in see(browser_of("ben"), last)


def test_a_calls_page_looks_up_what_belongs_to_it_once(acme: Tenant, browser_of: BrowserOf) -> None:
    book(acme, "first-model", trace_id=TRACE, request_id="r-answer")
    review = book(acme, "critic", {"review_of": "r-answer"}, trace_id=TRACE)
    browser = browser_of("ben")
    with CaptureQueriesContext(connection) as asked:
        see(browser, review)
    wheres = [query["sql"].partition("WHERE")[2] for query in asked.captured_queries]
    assert sum('"trace_id" = ' in where for where in wheres) == 1
    assert sum('"request_id" = ' in where for where in wheres) == 1


def test_a_calls_page_has_exact_money_and_its_list_short_money(acme: Tenant, browser_of: BrowserOf) -> None:
    span = book(
        acme, "small", cost_nano_usd=1_234_567_890_123, reserved_nano_usd=1_234_567_890_001,
        breakdown={"input": 1_234_567_890_120, "output": 3},
    )  # fmt: skip
    page = see(browser_of("ben"), span)
    assert says(page, "Cost", "$1,234.567890123")
    assert says(page, "Of which", "input $1,234.56789012, output $0.000000003")
    assert says(page, "Held", "$1,234.567890001")
    assert says(page, "More than was held", "$0.000000122")
    rows = listed(browser_of("ben"))
    assert "$1,234.57" in rows and "$1,234.567890123" not in rows


@pytest.mark.django_db(transaction=True)
def test_a_correction_is_kept_and_told_to_the_last_decimal(acme: Tenant, browser_of: BrowserOf) -> None:
    span = book(acme, "small", cost_nano_usd=1_000_000_001, is_estimated=True)
    browser = browser_of("ann")
    answer = browser.post(
        f"{LIST}{span.pk}/correct/", {"cost_nano_usd": "1.000000003", "reason": "the bill"}, follow=True
    )
    assert "$1.000000001 → $1.000000003 by ann: the bill" in " ".join(answer.content.decode().split())
    change = Change.objects.for_tenant(acme).get(action="correct")
    assert (change.before["cost_usd"], change.after["cost_usd"]) == ("$1.000000001", "$1.000000003")
