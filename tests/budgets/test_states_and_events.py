"""What an admin is told: state changes, thresholds, hard stops and resets, each exactly once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.definitions import edit_budget, raise_budget
from budgets.errors import BudgetExceeded
from budgets.models import Budget, BudgetEvent, BudgetWindow
from budgets.reservations import check, reserve
from budgets.resets import reset_budget, reset_scope
from budgets.snapshot import Threshold, tenant_budgets
from spendhub.ids import new_id
from spendhub.money import parse_usd
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.corrections import correct_span
from telemetry.recording import SpanDraft, record
from tests import factories
from tests.budgets.api import NANO, client_of, define, get

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def spend(acme: Tenant, *dollars: str, user: str = "ada", now: datetime = NOW) -> Any:
    """Records one span for each amount, one after the other; gives the last one's id."""
    for amount in dollars:
        draft = SpanDraft(str(new_id()), now, "api", parse_usd(amount), Attribution(user=user))
        stored = drive(record(acme.pk, [draft], now))
    return stored.ids[0]


def ask(acme: Tenant, dollars: str, user: str = "ada", now: datetime = NOW) -> Any:
    return drive(check(Call(acme.pk, now, parse_usd(dollars), Attribution(user=user))))


def told(acme: Tenant, **filters: Any) -> list[str]:
    """The events in words, in the order they were told: "active>warned", "0.75", "hard-stop", "budget-reset"."""
    rows = BudgetEvent.objects.for_tenant(acme).filter(**filters).order_by("id")
    return [row.threshold or (row.from_state and f"{row.from_state}>{row.to_state}") or row.kind for row in rows]


def window(acme: Tenant, **filters: Any) -> BudgetWindow:
    return BudgetWindow.objects.for_tenant(acme).get(**filters)


def test_a_budget_that_fills_up_tells_each_step_as_it_is_reached(acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    spend(acme, "7.499999999")
    assert told(acme) == []
    spend(acme, "0.000000001")
    assert told(acme) == ["0.75"]
    spend(acme, "0.50", "1")
    assert told(acme) == ["0.75", "active>warned", "0.9"]
    spend(acme, "1")
    assert told(acme) == ["0.75", "active>warned", "0.9", "warned>stopped", "1", "hard-stop"]
    row = window(acme)
    assert (row.state, row.breach_count, row.last_threshold, row.hard_stop_told) == ("stopped", 3, "1", True)


def test_an_event_says_when_for_which_window_and_what_was_spent_of_what(acme: Tenant) -> None:
    budget = define(acme, "user:*", 10, period="day")
    spend(acme, "8")
    event = BudgetEvent.objects.for_tenant(acme).get(kind="threshold-breach")
    assert (event.budget_id, event.scope_key, event.threshold) == (budget.id, "ada", "0.75")
    assert (event.occurred_at, event.window_starts_at) == (NOW, datetime(2026, 11, 24, tzinfo=UTC))
    assert (event.spend_nano_usd, event.limit_nano_usd, event.actor) == (8 * NANO, 10 * NANO, "")


def test_a_policy_that_has_something_to_switch_to_degrades_instead_of_warning(acme: Tenant) -> None:
    define(acme, "user:ada", 10, thresholds=[], disabled_tools=["web"])
    spend(acme, "8", "2")
    assert told(acme) == ["active>degraded", "degraded>stopped", "hard-stop"]


def test_each_key_of_an_allowance_and_each_window_is_told_by_itself(acme: Tenant) -> None:
    define(acme, "user:*", 10, period="day", thresholds=["0.5"])
    spend(acme, "6")
    spend(acme, "6", user="ben")
    spend(acme, "6", now=TOMORROW)
    rows = BudgetEvent.objects.for_tenant(acme).filter(kind="threshold-breach").order_by("id")
    assert [(row.scope_key, row.window_starts_at.day) for row in rows] == [("ada", 24), ("ben", 24), ("ada", 25)]


def test_a_replaced_allowance_counts_in_silence(acme: Tenant) -> None:
    allowance = define(acme, "user:*", 1)
    define(acme, "user:ada", 100)
    spend(acme, "5")
    assert told(acme) == []
    assert window(acme, budget=allowance).spend_nano_usd == 5 * NANO


def test_a_budget_that_observes_tells_the_same(acme: Tenant) -> None:
    define(acme, "user:ada", 10, mode="observe", thresholds=["1"])
    spend(acme, "10")
    assert told(acme) == ["active>stopped", "1", "hard-stop"]
    assert ask(acme, "1").allowed


def test_a_free_call_reaches_no_threshold_of_a_budget_without_money(acme: Tenant) -> None:
    define(acme, "user:ada", 0)
    spend(acme, "0")
    assert told(acme) == []


def test_thresholds_may_lie_beyond_the_limit(acme: Tenant) -> None:
    define(acme, "user:ada", 10, mode="observe", thresholds=["1.5", "2"])
    spend(acme, "15")
    assert told(acme, kind="threshold-breach") == ["1.5"]


def test_a_threshold_is_reached_exactly_at_its_share_and_is_made_a_number_once_with_the_snapshot(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, thresholds=["1", "0.1"])
    tenth, whole = tenant_budgets(acme.pk).by_id[budget.id].thresholds
    assert (tenth, whole) == (Threshold("0.1", Fraction(1, 10)), Threshold("1", Fraction(1)))
    assert not tenth.is_reached(NANO - 1, 10 * NANO)
    assert tenth.is_reached(NANO, 10 * NANO)


def test_edited_thresholds_hold_from_the_next_spend_on_and_none_is_told_again(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, soft_cap="1", thresholds=["0.5"])
    spend(acme, "6")
    edit_budget(budget, {"thresholds": ["0.25", "0.5", "0.7"]}, actor="user:ada", now=NOW)
    refresh_all()
    spend(acme, "0.5")
    assert told(acme) == ["0.5", "0.25"]
    spend(acme, "0.5")
    assert told(acme) == ["0.5", "0.25", "0.7"]
    assert window(acme).breach_count == 3


def test_a_raise_moves_the_thresholds_and_the_state_with_the_next_spend(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, thresholds=["1"])
    spend(acme, "9")
    raise_budget(budget, {"by_nano_usd": 10 * NANO, "ends_at": TOMORROW}, actor="user:ada", now=NOW)
    refresh_all()
    spend(acme, "1")
    assert told(acme) == ["active>warned", "warned>active"]


def test_the_first_refusal_of_a_window_is_a_hard_stop_and_the_next_ones_are_not(acme: Tenant) -> None:
    budget = define(acme, "user:*", 10, period="day")
    spend(acme, "1")
    for _ in range(2):
        assert not ask(acme, "9.5").allowed
        with pytest.raises(BudgetExceeded):
            drive(reserve(Call(acme.pk, NOW, parse_usd("9.5"), Attribution(user="ada"))))
    assert not ask(acme, "11", user="ben").allowed
    assert not ask(acme, "11", now=TOMORROW).allowed
    rows = BudgetEvent.objects.for_tenant(acme).order_by("id")
    assert [(row.kind, row.budget_id, row.scope_key, row.window_starts_at.day, row.spend_nano_usd) for row in rows] == [
        ("hard-stop", budget.id, "ada", 24, NANO),
        ("hard-stop", budget.id, "ben", 24, 0),
        ("hard-stop", budget.id, "ada", 25, 0),
    ]
    # A refusal moves no money, and so no state.
    assert {row.state for row in BudgetWindow.objects.for_tenant(acme)} == {"active"}


def test_a_hard_stop_told_by_a_refusal_is_not_told_again_by_the_spend(acme: Tenant) -> None:
    define(acme, "user:ada", 10, thresholds=[])
    assert not ask(acme, "11").allowed
    spend(acme, "10")
    assert told(acme) == ["hard-stop", "active>stopped"]


def test_a_refusal_is_told_of_the_budget_that_bound_alone(acme: Tenant) -> None:
    define(acme, "tenant", 100)
    define(acme, "user:ada", 10)
    assert not ask(acme, "11").allowed
    assert [(row.budget.scope_type, row.kind) for row in BudgetEvent.objects.for_tenant(acme)] == [
        ("user", "hard-stop")
    ]


def test_a_correction_downwards_is_a_state_change_and_thresholds_stay_told(acme: Tenant) -> None:
    define(acme, "user:ada", 10, thresholds=["1"])
    span_id = spend(acme, "10")
    drive(correct_span(acme.pk, span_id, NANO, actor="user:ada", reason="the bill says so", now=NOW))
    spend(acme, "9")
    assert told(acme) == ["active>stopped", "1", "hard-stop", "stopped>active", "active>stopped"]


def test_a_reset_says_who_did_it_and_lets_everything_be_told_anew(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, thresholds=["1"])
    spend(acme, "10")
    assert drive(reset_budget(acme.pk, str(budget.id), actor="user:ben", now=NOW)) == 1
    event = BudgetEvent.objects.for_tenant(acme).get(kind="budget-reset")
    assert (event.actor, event.from_state, event.to_state) == ("user:ben", "stopped", "active")
    assert (event.spend_nano_usd, event.limit_nano_usd, event.scope_key) == (10 * NANO, 10 * NANO, "ada")
    spend(acme, "10")
    assert told(acme, kind__in=["threshold-breach", "hard-stop"]) == ["1", "hard-stop"] * 2


def test_a_reset_of_one_key_leaves_the_others(acme: Tenant) -> None:
    budget = define(acme, "user:*", 10)
    spend(acme, "4")
    spend(acme, "4", user="ben")
    assert drive(reset_budget(acme.pk, str(budget.id), scope_key="ada", actor="user:ben", now=NOW)) == 1
    assert [ask(acme, "0", user=user).remaining_nano_usd for user in ("ada", "ben")] == [10 * NANO, 6 * NANO]


def test_a_reset_of_a_scope_is_for_all_its_budgets_and_no_other_scopes(acme: Tenant) -> None:
    for scope, facts in (("user:ada", {}), ("user:*", {"period": "day"}), ("user:ben", {}), ("tenant", {})):
        define(acme, scope, 10, **facts)
    spend(acme, "4")
    spend(acme, "3", user="ben")
    assert drive(reset_scope(acme.pk, "user", "ada", actor="user:ben", now=NOW)) == 2
    rows = BudgetEvent.objects.for_tenant(acme).filter(kind="budget-reset")
    assert {(row.budget.scope_key, row.scope_key) for row in rows} == {("ada", "ada"), ("*", "ada")}


def test_a_reset_of_every_key_is_for_exact_budgets_too(acme: Tenant) -> None:
    for scope, facts in (("user:ada", {}), ("user:*", {"period": "day"}), ("agent:*", {})):
        define(acme, scope, 10, **facts)
    spend(acme, "4")
    spend(acme, "3", user="ben")
    assert drive(reset_scope(acme.pk, "user", "*", actor="user:ben", now=NOW)) == 3
    assert [ask(acme, "0", user=user).remaining_nano_usd for user in ("ada", "ben")] == [10 * NANO, 10 * NANO]


def test_a_reset_touches_the_current_window_only(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, period="day")
    spend(acme, "4")
    spend(acme, "3", now=TOMORROW)
    assert drive(reset_budget(acme.pk, str(budget.id), actor="user:ben", now=TOMORROW)) == 1
    rows = BudgetWindow.objects.for_tenant(acme).order_by("starts_at")
    assert [(row.spend_nano_usd, row.forgiven_nano_usd) for row in rows] == [(4 * NANO, 0), (3 * NANO, 3 * NANO)]


def test_a_reset_leaves_what_is_held(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    spend(acme, "4")
    drive(reserve(Call(acme.pk, NOW, 5 * NANO, Attribution(user="ada"))))
    drive(reset_budget(acme.pk, str(budget.id), actor="user:ben", now=NOW))
    assert ask(acme, "0").remaining_nano_usd == 5 * NANO


def test_another_tenants_spend_and_resets_move_nothing(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    globex = factories.globex()
    spend(acme, "4")
    spend(globex, "100")
    assert drive(reset_scope(globex.pk, "user", "ada", actor="user:gil", now=NOW)) == 0
    assert drive(reset_budget(globex.pk, str(budget.id), actor="user:gil", now=NOW)) == 0
    assert (told(acme), told(globex)) == ([], [])
    assert ask(acme, "0").remaining_nano_usd == 6 * NANO


def test_events_are_listed_the_latest_first_filtered_and_for_their_tenant_alone(acme: Tenant) -> None:
    budget, other = define(acme, "user:ada", 10, thresholds=["0.5"]), define(acme, "tenant", 100, thresholds=["0.05"])
    spend(acme, "6")
    ada, client = str(budget.id), client_of(acme)
    assert [row["budget"] for row in get(client, "v1/events")["results"]] == [str(other.id), ada]
    (row,) = get(client, f"v1/budgets/{ada}/events")["results"]
    assert (row["kind"], row["threshold"], row["spend"], row["limit"]) == ("threshold-breach", "0.5", "6.00", "10.00")
    for query, count in (
        ({"budget": ada}, 1),
        ({"kind": "hard-stop"}, 0),
        ({"scope_key": "ada"}, 1),
        ({"from": "2026-11-24T12:00:00Z"}, 2),
        ({"to": "2026-11-24T12:00:00Z"}, 0),
    ):
        assert len(get(client, "v1/events", **query)["results"]) == count, query
    for wrong in ({"kind": "birthday"}, {"budget": "one"}, {"from": "soon"}, {"planet": "mars"}):
        get(client, "v1/events", 400, **wrong)
    stranger = client_of(factories.globex())
    assert get(stranger, "v1/events")["results"] == []
    assert get(stranger, "v1/events", budget=ada)["results"] == []
    get(stranger, f"v1/budgets/{ada}/events", 404)


def test_events_are_in_order_of_time_whichever_was_written_down_first(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    for kind, minutes in (("hard-stop", 20), ("state-change", 0), ("threshold-breach", 20)):
        BudgetEvent.objects.create(
            tenant=acme, budget=budget, kind=kind, occurred_at=NOW + timedelta(minutes=minutes), scope_key="ada",
            window_starts_at=NOW, spend_nano_usd=1, limit_nano_usd=1,
        )  # fmt: skip
    latest_first = ["threshold-breach", "hard-stop", "state-change"]
    assert [event.kind for event in BudgetEvent.objects.for_tenant(acme)] == latest_first
    for path in ("v1/events", f"v1/budgets/{budget.id}/events"):
        page = get(client_of(acme), path, limit=2)
        assert [row["kind"] for row in page["results"]] == latest_first[:2]


def test_an_archived_budget_tells_nothing_more(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    assert client_of(acme).delete(f"/api/v1/budgets/{budget.id}").status_code == 204
    spend(acme, "20")
    assert told(acme) == []
    assert Budget.objects.for_tenant(acme).get().archived_at is not None
