"""Pages say things as people write them: states in words, names as they are written, empty lists with a hint."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from unfold.utils import display_for_label

from budgets.models import BudgetEvent, Decision
from spendhub.dashboard.theme import UNFOLD
from spendhub.tenants.admin_fields import Labelled, show_exact_usd, show_number, show_seconds, show_usd, show_usd_left
from spendhub.tenants.admin_scoping import describe_row
from spendhub.tenants.models import Tenant
from telemetry.models import Brake, Feedback, KeyedCall, QualityWeights, ResponseCacheRule
from tests.admin.test_budget_pages import make_budget, spend
from tests.admin.test_savings_pages import TYPED_BRAKE, stop_of
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


@pytest.mark.parametrize(
    ("nano_usd", "short", "left", "exact"),
    [
        (0, "$0.00", "$0.00", "$0.00"),
        (None, "–", "–", "–"),
        (1_495_540_000, "$1.50", "$1.49", "$1.49554"),
        (999_999_999, "$1.0000", "$0.9999", "$0.999999999"),
        (19_651, "$0.000020", "$0.000019", "$0.000019651"),
        (1, "under $0.000001", "under $0.000001", "$0.000000001"),
        (1_234_500_000_000, "$1,234.50", "$1,234.50", "$1,234.50"),
        (-1_495_540_000, "-$1.50", "-$1.50", "-$1.49554"),
    ],
)
def test_an_amount_is_short_in_lists_exact_on_pages_and_never_more_than_is_left(
    nano_usd: int | None, short: str, left: str, exact: str
) -> None:
    assert (show_usd(nano_usd), show_usd_left(nano_usd), show_exact_usd(nano_usd)) == (short, left, exact)


@pytest.mark.django_db(transaction=True)
def test_what_is_left_of_a_budget_is_never_rounded_up(acme: Tenant, browser_of: BrowserOf) -> None:
    budget = make_budget(acme, limit_nano_usd=1_500_000_000)
    spend(acme, 4_460_000)
    for path in ("budgets/budget", page_of(budget)):
        assert "<b>$0.004460</b> of $1.50 · $1.49 left" in see(browser_of("ben"), path)


def test_what_would_have_passed_is_never_rounded_up(acme: Tenant, browser_of: BrowserOf) -> None:
    looked_at = [{"id": "1", "name": "All", "mode": "enforce", "scope": "tenant:*", "limit": "1.50", "spent": "0.00446",
                  "reserved": "0", "remaining": "1.49554", "overspent": "0.00", "action": "hard-stop"}]  # fmt: skip
    decision = Decision.objects.create(
        tenant=acme, created_at=timezone.now(), allowed=False, action="hard-stop", reason="exhausted_soon",
        estimated_cost_nano_usd=2_000_000_000, remaining_nano_usd=1_495_540_000, looked_at=looked_at,
    )  # fmt: skip
    page = see(browser_of("ben"), page_of(decision))
    assert "A call of at most <b>$1.49</b> would have passed." in page
    assert '<td data-label="Left">$1.49</td>' in page


def test_an_amount_that_may_not_be_edited_is_shown_as_it_was_typed(acme: Tenant, browser_of: BrowserOf) -> None:
    budget = make_budget(acme, limit_nano_usd=1_123_456_789)
    assert ">$1.123456789<" in see(browser_of("ben"), page_of(budget))


def test_the_record_of_changes_keeps_amounts_to_the_last_decimal(acme: Tenant) -> None:
    budget = make_budget(acme, limit_nano_usd=1_123_456_789)
    assert describe_row(budget)["limit_usd"] == "$1.123456789"


@pytest.mark.parametrize("address", ["membership", "membership/add", "tenant"])
def test_people_and_accounts_are_called_so_wherever_their_pages_name_them(
    acme: Tenant, browser_of: BrowserOf, address: str
) -> None:
    text = re.sub(r"<[^>]*>", " ", browser_of("ada").get(f"/admin/tenants/{address}/").content.decode())
    assert re.findall(r"\b(?:[Mm]emberships?|[Tt]enants?)\b", text) == []


@pytest.mark.parametrize("address", ["", "budgets/budget/", "budgets/budget/add/", "routing/provider/health/"])
def test_the_first_link_of_a_page_leads_past_the_menu(acme: Tenant, browser_of: BrowserOf, address: str) -> None:
    page = browser_of("ada").get(f"/admin/{address}").content.decode()
    body = page.partition("<body")[2]
    first = re.search(r"<a [^>]*>[^<]*</a>", body)
    assert first is not None and first[0] == '<a class="sh-skip" href="#content">Skip to content</a>'
    assert body.count('id="content"') == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("telemetry/costspan", "Spend"),
        ("telemetry/responsecacherule", "Kept answers"),
        ("telemetry/keyedcall", "Idempotency keys"),
        ("budgets/budgetevent", "Budget events"),
        ("telemetry/brake", "Brakes"),
    ],
)
def test_the_head_of_a_page_says_what_the_menu_says(acme: Tenant, browser_of: BrowserOf, path: str, words: str) -> None:
    assert head_of(see(browser_of("ben"), path)) == [words]


def test_the_head_of_a_rows_page_leads_back_by_the_menus_words(acme: Tenant, browser_of: BrowserOf) -> None:
    rule = ResponseCacheRule.objects.create(tenant=acme, feature="faq", ttl_seconds=5400)
    assert head_of(see(browser_of("ben"), page_of(rule))) == ["Kept answers", str(rule)]


def test_a_page_that_the_menu_does_not_have_says_where_it_is(acme: Tenant, browser_of: BrowserOf) -> None:
    assert head_of(see(browser_of("ben"), "telemetry/qualityweights")) == ["Spend", "Quality weights"]


def head_of(page: str) -> list[str]:
    head = re.search(r"<h1.*?</h1>", page)
    assert head is not None
    crumbs = re.findall(r"<(?:a|span)[^>]*tracking-tight[^>]*>(.*?)</(?:a|span)>", head.group())
    return [crumb.strip() for crumb in crumbs]


def test_one_call_and_one_set_of_weights_are_counted_as_such(acme: Tenant, browser_of: BrowserOf) -> None:
    call(acme, "small", 1)
    QualityWeights.objects.create(tenant=acme)
    assert "1 call " in see(browser_of("ben"), "telemetry/costspan")
    assert "1 set of quality weights " in see(browser_of("ben"), "telemetry/qualityweights")


def test_the_time_of_a_decision_is_told_as_such(acme: Tenant, browser_of: BrowserOf) -> None:
    Decision.objects.create(
        tenant=acme, created_at=timezone.now(), allowed=True, action="allow", reason="", estimated_cost_nano_usd=1
    )
    page = see(browser_of("ben"), "budgets/decision")
    assert "Decided at" in page and "Created at" not in page


@pytest.mark.parametrize("typed", ["-1", "0"])
def test_a_number_that_is_too_small_is_told_the_least_that_may_stand_there(
    acme: Tenant, browser_of: BrowserOf, typed: str
) -> None:
    answer = browser_of("adam").post("/admin/telemetry/brake/add/", TYPED_BRAKE | {"within_seconds": typed})
    assert answer.context["adminform"].form.errors["within_seconds"] == [
        "Ensure this value is greater than or equal to 1."
    ]


def test_no_two_entries_of_the_menu_share_an_icon() -> None:
    icons = [item["icon"] for group in UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]
    assert len(icons) == len(set(icons))


@pytest.mark.parametrize(
    ("value", "words"),
    [(101_900.0, "101,900"), (-3.42e-05, "-0.0000342"), (3.7333, "3.733"), (0.0, "0"), (12.0, "12")],
)
def test_a_number_is_never_told_in_powers_of_ten(value: float, words: str) -> None:
    assert show_number(value) == words
