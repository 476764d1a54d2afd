"""Budgets in the admin: typed in dollars and percent, with rules one a line, and edited by those who may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.models import Budget, BudgetEvent
from budgets.reservations import check
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Change, Tenant
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan
from telemetry.recording import record
from tests.factories import ApiKeyFactory, ModelFactory

BrowserOf = Callable[[str], Client]
# Spans are written by a thread of their own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

USD = 1_000_000_000
ADD = "/admin/budgets/budget/add/"
IMPOSSIBLE = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]


def typed(**changed: str) -> dict[str, str]:
    """The budget form as a person fills it in."""
    return {
        "name": "Support bot", "scope_type": "agent", "scope_key": "support-bot", "limit_nano_usd": "25", "period": "month",
        "soft_cap": "80", "hard_cap": "100", "mode": "enforce", "patience_seconds": "0", "downgrade_rules": "",
        "disabled_tools": "", "thresholds": "50 %\n100", "starts_at_0": "", "starts_at_1": "", "ends_at_0": "", "ends_at_1": "",
        "raises-TOTAL_FORMS": "0", "raises-INITIAL_FORMS": "0",
    } | changed  # fmt: skip


def make_budget(tenant: Tenant, **values: Any) -> Budget:
    budget = Budget(**{"name": "All", "scope_type": "tenant", "limit_nano_usd": 10 * USD, "tenant": tenant} | values)
    budget.save()
    return budget


def spend(
    tenant: Tenant, nano_usd: int, *, is_estimated: bool = False, held_nano_usd: int | None = None, **facts: Any
) -> CostSpan:
    draft = SpanDraft(
        request_id=f"call-{nano_usd}",
        occurred_at=timezone.now(),
        source="gateway",
        cost_nano_usd=nano_usd,
        attribution=Attribution(agent="support-bot"),
        is_estimated=is_estimated,
        reserved_nano_usd=held_nano_usd,
        metadata=facts,
    )
    drive(record(tenant.pk, [draft], timezone.now()))
    return CostSpan.objects.for_tenant(tenant).get(request_id=draft.request_id)


def shown_on(page: Any, *labels: str) -> list[str]:
    """What stands beside each of these labels on the page of a row that nobody edits."""
    fields = [field for fieldset in page.context["adminform"] for line in fieldset for field in line]
    shown = {str(field.field["label"]): str(field.contents()) for field in fields}
    return [shown[label] for label in labels]


def test_a_budget_is_typed_in_dollars_and_percent_and_stored_exactly(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="gpt-small")
    answer = browser_of("adam").post(
        ADD,
        typed(
            limit_nano_usd="$1,250.000000001",
            soft_cap="75.5",
            downgrade_rules="gpt-big, o-big → gpt-small",
            disabled_tools="web",
        ),
    )
    assert answer.status_code == 302
    budget = Budget.objects.for_tenant(acme).get()
    assert budget.limit_nano_usd == 1_250_000_000_001
    assert (budget.soft_cap, budget.hard_cap) == (Decimal("0.755"), Decimal(1))
    assert budget.downgrade_rules == [{"from": ["gpt-big", "o-big"], "to": "gpt-small"}]
    assert (budget.disabled_tools, budget.thresholds) == (["web"], ["0.5", "1"])
    change = Change.objects.for_tenant(acme).get(action="create")
    assert (change.actor, change.after["limit_usd"]) == ("user:adam", "$1,250.000000001")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"limit_nano_usd": "lots"}, "Write an amount in US dollars"),
        ({"limit_nano_usd": "-1"}, "Write an amount in US dollars"),
        ({"limit_nano_usd": "NaN"}, "Write an amount in US dollars"),
        ({"limit_nano_usd": "9000001"}, "Write an amount in US dollars"),
        ({"soft_cap": "90", "hard_cap": "80"}, "The soft cap comes before the hard cap"),
        ({"soft_cap": "101"}, "is not between 0 and 100"),
        ({"downgrade_rules": "gpt-big gpt-small"}, "Line 1:"),
        ({"downgrade_rules": "gpt-big -> no-such-model"}, "We know no model called"),
        ({"thresholds": "50\nhalf"}, "Line 2:"),
        ({"scope_key": " "}, "This field is required"),
        ({"starts_at_0": "9999-12-31", "starts_at_1": "00:00"}, "Write a day between the years 1970 and 2999."),
        ({"ends_at_0": "0001-01-01", "ends_at_1": "00:00"}, "Write a day between the years 1970 and 2999."),
        ({"starts_at_0": "1950-01-01", "starts_at_1": "00:00"}, "Write a day between the years 1970 and 2999."),
        ({"ends_at_0": "3500-01-01", "ends_at_1": "00:00"}, "Write a day between the years 1970 and 2999."),
    ],
)
def test_what_makes_no_sense_is_told_in_words_and_nothing_is_stored(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    answer = browser_of("adam").post(ADD, typed(**changed))
    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert not Budget.objects.for_tenant(acme).exists()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_an_impossible_year_is_refused_in_every_time_zone(
    acme: Tenant, browser_of: BrowserOf, zone: str, day: str
) -> None:
    Tenant.objects.filter(pk=acme.pk).update(timezone=zone)
    for clock in ("00:00:00", "23:59:59"):
        answer = browser_of("adam").post(ADD, typed(starts_at_0=day, starts_at_1=clock))
        told = {"starts_at": ["Write a day between the years 1970 and 2999."]}
        assert answer.context["adminform"].form.errors == told


@pytest.mark.parametrize("field", ["starts_at", "ends_at"])
@pytest.mark.parametrize("moment", IMPOSSIBLE)
def test_no_row_begins_or_ends_in_a_year_that_no_zone_can_cut(acme: Tenant, field: str, moment: datetime) -> None:
    row = Budget(tenant=acme, name="All", scope_type="tenant", limit_nano_usd=1, **{field: moment})
    with pytest.raises(ValidationError) as refused:
        row.full_clean(exclude=["counts_from"])
    assert refused.value.message_dict == {field: ["Write a day between the years 1970 and 2999."]}


@pytest.mark.parametrize("field", ["starts_at", "ends_at"])
@pytest.mark.parametrize("moment", IMPOSSIBLE)
@pytest.mark.parametrize("period", ["hour", "day", "week", "month", "total"])
def test_a_budget_of_an_impossible_year_that_is_there_already_stops_no_page(
    acme: Tenant, browser_of: BrowserOf, field: str, moment: datetime, period: str
) -> None:
    budget = make_budget(acme, period=period)
    Budget.objects.for_tenant(acme).update(**{field: moment})
    budget.refresh_from_db()
    budget.save()  # as whoever wrote it: the snapshot moves
    browser = browser_of("adam")
    key = ApiKeyFactory(tenant=acme)
    for page in ("/admin/", "/admin/budgets/budget/", f"/admin/budgets/budget/{budget.pk}/change/"):
        assert browser.get(page).status_code == 200, page
    answer = browser.get("/api/v1/budgets", headers={"authorization": f"Bearer {key.secret}"})
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
    mended = {f"{field}_0": "", f"{field}_1": "", "soft_cap": "80", "scope_type": "tenant", "scope_key": "*"}
    changed = browser.post(f"/admin/budgets/budget/{budget.pk}/change/", typed(**mended))
    assert changed.status_code == 302, changed.context["errors"]


def test_a_model_may_be_typed_by_any_of_its_names(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="gpt-small", aliases=["tiny"])
    refresh_all()
    for called, period in (("tiny", "month"), ("GPT-Small", "day")):
        answer = browser_of("adam").post(ADD, typed(scope_type="model", scope_key=called, period=period))
        assert answer.status_code == 302
    assert [budget.scope_key for budget in Budget.objects.for_tenant(acme)] == ["gpt-small"] * 2


def test_a_strict_budget_and_its_patience_are_set_and_seen_in_the_browser(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    assert browser.post(ADD, typed(strict="on", patience_seconds="30")).status_code == 302
    budget = Budget.objects.for_tenant(acme).get()
    assert (budget.strict, budget.patience_seconds) == (True, 30)
    assert "Strict: no gateway call passes its cap" in browser.get("/admin/budgets/budget/").content.decode()
    page = browser.get(f"/admin/budgets/budget/{budget.pk}/change/").content.decode()
    assert "each call is held at the most it can cost" in page
    assert "A budget that only observes is never strict." in page
    assert 'name="patience_seconds" value="30"' in page
    changed = typed(patience_seconds="0", scope_type="agent") | {"limit_nano_usd": "20"}
    assert browser.post(f"/admin/budgets/budget/{budget.pk}/change/", changed).status_code == 302
    budget.refresh_from_db()
    assert (budget.strict, budget.patience_seconds) == (False, 0)
    assert "Strict:" not in browser.get("/admin/budgets/budget/").content.decode()
    too_long = browser.post(ADD, typed(name="Other", period="day", patience_seconds="61"))
    assert "less than or equal to 60" in too_long.content.decode()


def test_a_strict_budget_that_only_observes_is_not_called_strict_and_its_admin_is_warned(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    browser, warning = browser_of("adam"), "It is not strict while it only observes"
    assert warning in browser.post(ADD, typed(strict="on", mode="observe"), follow=True).content.decode()
    assert "Strict:" not in browser.get("/admin/budgets/budget/").content.decode()
    for name, period, chosen in (("Enforced", "day", {"strict": "on"}), ("Observing", "week", {"mode": "observe"})):
        answer = browser.post(ADD, typed(name=name, period=period, **chosen), follow=True)
        assert Budget.objects.for_tenant(acme).filter(name=name).exists()
        assert warning not in answer.content.decode()


def test_a_name_that_no_model_has_is_taken_with_a_word_of_warning(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="gpt-small")
    refresh_all()
    answer = browser_of("adam").post(ADD, typed(scope_type="model", scope_key="gpt-smal"), follow=True)
    assert Budget.objects.for_tenant(acme).get().scope_key == "gpt-smal"
    told = "The catalog knows no model “gpt-smal” (near: gpt-small)"
    assert told in answer.content.decode()
    answer = browser_of("adam").post(ADD, typed(scope_type="model", scope_key="gpt-small"), follow=True)
    assert "The catalog knows no" not in answer.content.decode()


def test_names_that_look_like_it_are_told_in_whatever_case_they_are(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="GPT-SMALL", provider__name="VENDOR-HOUSE")
    refresh_all()
    for scope_type, key, near in (("model", "gpt-smal", "GPT-SMALL"), ("provider", "Vendor-Hous", "VENDOR-HOUSE")):
        answer = browser_of("adam").post(ADD, typed(scope_type=scope_type, scope_key=key), follow=True)
        assert f"The catalog knows no {scope_type} “{key}” (near: {near})" in answer.content.decode()


def test_a_second_budget_for_the_same_scope_and_period_is_refused(acme: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of("adam")
    assert browser.post(ADD, typed()).status_code == 302
    assert "already limits this for the same period" in browser.post(ADD, typed(name="Twin")).content.decode()
    assert Budget.objects.for_tenant(acme).count() == 1


def test_the_list_shows_what_is_spent_and_left(acme: Tenant, browser_of: BrowserOf) -> None:
    make_budget(acme)
    spend(acme, 4 * USD)
    page = browser_of("ben").get("/admin/budgets/budget/").content.decode()
    assert "<b>$4.00</b> of $10.00" in page
    assert "$6.00 left" in page


def test_reset_begins_afresh_and_says_who_did_it(acme: Tenant, browser_of: BrowserOf) -> None:
    budget = make_budget(acme)
    spend(acme, 4 * USD)
    assert browser_of("ben").post(f"/admin/budgets/budget/{budget.pk}/reset/").status_code == 403
    browser = browser_of("adam")
    browser.get(f"/admin/budgets/budget/{budget.pk}/reset/")
    assert not BudgetEvent.objects.for_tenant(acme).filter(kind="budget-reset").exists()
    browser.post(f"/admin/budgets/budget/{budget.pk}/reset/")
    assert BudgetEvent.objects.for_tenant(acme).get(kind="budget-reset").actor == "user:adam"
    assert "<b>$0.00</b> of $10.00" in browser.get("/admin/budgets/budget/").content.decode()


def test_freeze_unfreeze_and_archive(acme: Tenant, browser_of: BrowserOf) -> None:
    budget = make_budget(acme)
    browser, page = browser_of("adam"), f"/admin/budgets/budget/{budget.pk}"
    browser.post(f"{page}/freeze/")
    budget.refresh_from_db()
    assert budget.is_frozen
    browser.post(f"{page}/unfreeze/")
    budget.refresh_from_db()
    assert not budget.is_frozen
    browser.post(f"{page}/archive/")
    budget.refresh_from_db()
    assert budget.archived_at is not None
    actions = Change.objects.for_tenant(acme).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["freeze", "unfreeze", "archive"]


@pytest.mark.parametrize("is_frozen", [True, False])
def test_an_archived_budget_says_that_it_limits_nothing(acme: Tenant, browser_of: BrowserOf, is_frozen: bool) -> None:
    archived_at = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
    budget = make_budget(acme, is_frozen=is_frozen, archived_at=archived_at)
    page = browser_of("adam").get(f"/admin/budgets/budget/{budget.pk}/change/").content.decode()
    assert "Archived on 14 Mar 2026, 15:09: it limits nothing, and its history stays." in page
    assert "every call under it is stopped" not in page


def test_a_one_off_raise_gives_more_room(acme: Tenant, browser_of: BrowserOf) -> None:
    budget = make_budget(acme)
    now = timezone.now()
    answer = browser_of("adam").post(
        f"/admin/budgets/budget/{budget.pk}/change/",
        typed(
            limit_nano_usd="10",
            **{
                "raises-TOTAL_FORMS": "1",
                "raises-0-by_nano_usd": "5",
                "raises-0-starts_at_0": f"{now - timedelta(days=1):%Y-%m-%d}",
                "raises-0-starts_at_1": "00:00",
                "raises-0-ends_at_0": f"{now + timedelta(days=2):%Y-%m-%d}",
                "raises-0-ends_at_1": "00:00",
                "raises-0-reason": "fair",
            },
        ),
    )
    assert answer.status_code == 302, answer.context["errors"]
    assert budget.raises.get().actor == "user:adam"
    assert "of $15.00" in browser_of("adam").get("/admin/budgets/budget/").content.decode()


def test_an_estimated_call_is_corrected_and_its_budget_follows(acme: Tenant, browser_of: BrowserOf) -> None:
    make_budget(acme)
    span = spend(acme, 4 * USD, is_estimated=True)
    address, correction = (
        f"/admin/telemetry/costspan/{span.pk}/correct/",
        {"cost_nano_usd": "1.5", "reason": "the bill"},
    )
    assert browser_of("ben").post(address, correction).status_code == 403
    assert browser_of("ann").post(address, correction).status_code == 302
    span.refresh_from_db()
    assert (span.cost_nano_usd, span.is_estimated) == (1_500_000_000, False)
    assert "<b>$1.50</b> of $10.00" in browser_of("ben").get("/admin/budgets/budget/").content.decode()


def test_totals_of_the_filtered_list_are_above_it(acme: Tenant, browser_of: BrowserOf) -> None:
    spend(acme, 4 * USD)
    spend(acme, 1 * USD, is_estimated=True)
    browser = browser_of("ben")
    assert browser.get("/admin/telemetry/costspan/").context["total_cost"] == "$5.00"
    assert browser.get("/admin/telemetry/costspan/?is_estimated__exact=1").context["total_cost"] == "$1.00"


@pytest.mark.parametrize(
    ("spent", "told"),
    [(10, "<b>$10.00</b> of $10.00 · $0.00 left"), (12, "<b>$12.00</b> of $10.00 · <b>$2.00 over</b>")],
)
def test_a_budget_that_is_overspent_is_told_from_one_that_is_used_up(
    acme: Tenant, browser_of: BrowserOf, spent: int, told: str
) -> None:
    budget = make_budget(acme)
    spend(acme, spent * USD)
    for page in ("/admin/", "/admin/budgets/budget/", f"/admin/budgets/budget/{budget.pk}/change/"):
        assert told in browser_of("ben").get(page).content.decode()


def test_an_allowance_that_a_budget_of_its_own_replaces_is_no_bar_and_not_over(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    make_budget(acme, name="Each", scope_type="agent", scope_key="*", limit_nano_usd=USD)
    make_budget(acme, name="Bot", scope_type="agent", scope_key="support-bot", limit_nano_usd=100 * USD)
    spend(acme, 50 * USD)
    for page in ("/admin/", "/admin/budgets/budget/"):
        shown = browser_of("ben").get(page).content.decode()
        assert "<b>$50.00</b> of $100.00 · $50.00 left" in shown
        assert "of $1.00" not in shown
    assert "$1.00 for each agent; nobody has used it yet" in shown


def test_a_refusal_says_by_how_much_its_budget_was_overspent(acme: Tenant, browser_of: BrowserOf) -> None:
    make_budget(acme)
    spend(acme, 12 * USD)
    refresh_all()
    refused = drive(check(Call(tenant_id=acme.pk, now=timezone.now(), estimated_nano_usd=USD)))
    page = browser_of("ben").get(f"/admin/budgets/decision/{refused.id}/change/")
    assert '<td data-label="Left">$2.00 over</td>' in page.content.decode()


def test_calls_that_cost_more_than_was_held_are_found_and_say_by_how_much(acme: Tenant, browser_of: BrowserOf) -> None:
    spans = [
        spend(acme, 4 * USD, held_nano_usd=3 * USD, worst_case_cost="7.50"),
        spend(acme, 2 * USD, held_nano_usd=2 * USD),
        spend(acme, 1 * USD),
    ]
    browser = browser_of("ben")
    totals = {chosen: browser.get(f"/admin/telemetry/costspan/?over_hold={chosen}").context["total_cost"]
              for chosen in ("", "true", "false")}  # fmt: skip
    assert totals == {"": "$7.00", "true": "$4.00", "false": "$2.00"}
    pages = [browser.get(f"/admin/telemetry/costspan/{span.pk}/change/") for span in spans]
    assert [shown_on(page, "Held", "More than was held", "Could have cost at most") for page in pages] == [
        ["$3.00", "$1.00", "$7.50"],
        ["$2.00", "$0.00", "–"],
        ["–", "–", "–"],
    ]
