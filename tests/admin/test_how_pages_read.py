"""Pages say things as people write them: states in words, names as they are written, empty lists with a hint."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from unfold.utils import display_for_label

from budgets.models import BudgetEvent
from spendhub.tenants.admin_fields import Labelled, show_seconds
from spendhub.tenants.models import Tenant
from telemetry.models import Brake, Feedback, KeyedCall, ResponseCacheRule
from tests.admin.test_budget_pages import make_budget
from tests.admin.test_savings_pages import stop_of
from tests.admin.test_shadow_page import call
from tests.factories import ModelFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db


def see(browser: Client, path: str) -> str:
    answer = browser.get(f"/admin/{path}/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def page_of(row: Any) -> str:
    return f"{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change"


def keyed_call(acme: Tenant) -> Any:
    now = timezone.now()
    return KeyedCall.objects.create(
        tenant=acme, key_sha256="a" * 64, request_sha256="b" * 64, api_key="ab12cd34", claim_id=uuid.uuid4(),
        claimed_at=now, answered_at=now, ends_at=now + timedelta(hours=1), request_id="request-1",
    )  # fmt: skip


def opinion(acme: Tenant) -> Any:
    span = call(acme, "small", 1)
    return Feedback.objects.create(tenant=acme, span=span, at=span.occurred_at, model="small", thumbs="up")


def hard_stop(acme: Tenant) -> Any:
    return BudgetEvent.objects.create(
        tenant=acme, budget=make_budget(acme), kind="hard-stop", scope_key="*", window_starts_at=timezone.now(),
        spend_nano_usd=1, limit_nano_usd=1, occurred_at=timezone.now(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (keyed_call, ["Answered"]),
        (stop_of, ["Pause", "In force"]),
        (opinion, ["Up"]),
        (hard_stop, ["Hard stop"]),
        (lambda acme: call(acme, "small", 1), ["OK"]),
    ],
)
def test_a_rows_page_says_its_state_in_words(
    acme: Tenant, browser_of: BrowserOf, make: Callable[[Tenant], Any], words: list[str]
) -> None:
    page = see(browser_of("ben"), page_of(make(acme)))
    for each in words:
        assert f'*:rounded-default">{each}</div>' in page
    assert "(&#x27;" not in page


def test_a_state_is_coloured_in_lists_and_harmless_on_pages() -> None:
    state = Labelled("kept", "<b>Kept</b>")
    assert state.__html__() == "&lt;b&gt;Kept&lt;/b&gt;"
    assert "green" in display_for_label(state, "–", {"kept": "success"})


def test_a_models_name_stands_in_the_head_as_agents_write_it(acme: Tenant, browser_of: BrowserOf) -> None:
    page = see(browser_of("ben"), page_of(ModelFactory(name="claude-small", tenant=None)))
    assert "claude-small </a>" in page
    assert "Claude-small" not in page


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("telemetry/keyedcall", "Idempotency-Key"),
        ("telemetry/brake", "go in circles"),
        ("telemetry/brakestop", "a button to let it go on"),
        ("telemetry/feedback", "POST /api/v1/feedback"),
        ("telemetry/responsecacherule", "not paid for twice"),
        ("telemetry/qualityweights", "The usual weights hold"),
        ("telemetry/costspan", "with what each has cost"),
        ("routing/credential", "in place of the installation"),
    ],
)
def test_an_empty_list_says_what_would_be_seen_there(acme: Tenant, browser_of: BrowserOf, path: str, hint: str) -> None:
    assert hint in see(browser_of("adam"), path)


def test_an_empty_list_offers_to_add_to_it_only_to_those_who_may(acme: Tenant, browser_of: BrowserOf) -> None:
    assert "Add brake</a>" in see(browser_of("adam"), "telemetry/brake")
    assert "Add brake</a>" not in see(browser_of("ben"), "telemetry/brake")


def test_a_list_that_is_empty_for_its_search_says_so_and_offers_all(acme: Tenant, browser_of: BrowserOf) -> None:
    Brake.objects.create(tenant=acme, name="Loops", repeats=5)
    answer = browser_of("ben").get("/admin/telemetry/brake/", {"q": "nobody"}).content.decode()
    assert "Nothing fits this search" in answer and ">Show all</a>" in answer
    assert "go in circles" not in answer


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (90, "1 min 30 s"), (3600, "1 h"), (86_399, "23 h 59 min"), (604_800, "7 d")],
)
def test_a_length_of_time_is_told_in_its_largest_units(seconds: int, words: str) -> None:
    assert show_seconds(seconds) == words


def test_how_long_answers_are_kept_is_told_in_hours(acme: Tenant, browser_of: BrowserOf) -> None:
    ResponseCacheRule.objects.create(tenant=acme, feature="faq", ttl_seconds=5400)
    assert ">1 h 30 min<" in see(browser_of("ben"), "telemetry/responsecacherule")
