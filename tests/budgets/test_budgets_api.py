"""Budgets over the API: made, read with live numbers, edited, frozen, raised, reset, put away, by their tenant alone."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from budgets import reports
from budgets.counters.charge import counters
from budgets.models import Budget, BudgetRaise, BudgetWindow
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Change, Tenant
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    return client_of(acme)


def make(client: Any, scope: str = "user:ada", status: int = 201, **facts: Any) -> dict[str, Any]:
    scope_type, _, scope_key = scope.partition(":")
    wish = {"scope_type": scope_type, "scope_key": scope_key or "*", "limit": "10", **facts}
    return post(client, "v1/budgets", wish, status)


def edit(client: Any, budget_id: Any, status: int = 200, **facts: Any) -> dict[str, Any]:
    response = client.patch(f"/api/v1/budgets/{budget_id}", facts, format="json")
    assert response.status_code == status, response.content
    told: dict[str, Any] = response.json()
    return told


def spend(client: Any, cost: Any, **attribution: str) -> None:
    post(client, "v1/spans", {"attribution": attribution or {"user": "ada"}, "cost": cost}, 202)


def picked(told: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(told[name] for name in names)


def changes(acme: Tenant) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    rows = Change.objects.for_tenant(acme).filter(subject_type="budgets.budget").order_by("id")
    return [(row.actor, row.action, row.before, row.after) for row in rows]


# --- made and read -------------------------------------------------------------------------------


def test_a_budget_needs_only_scope_and_limit_and_the_rest_has_sensible_values(client: Any, acme: Tenant) -> None:
    told = post(client, "v1/budgets", {"scope_type": "user", "limit": "2.50"}, 201)
    usual = {
        "name": "Each user per month",
        "scope_type": "user",
        "scope_key": "*",
        "limit": "2.50",
        "period": "month",
        "soft_cap": "0.8",
        "hard_cap": "1",
        "mode": "enforce",
        "thresholds": ["0.75", "0.9", "1"],
        "downgrade_rules": [],
        "disabled_tools": [],
        "strict": False,
        "patience_seconds": 0,
        "starts_at": None,
        "ends_at": None,
        "is_frozen": False,
        "source": "api",
        "archived_at": None,
        "live_key": None,
        "limit_now": "2.50",
        "spent": "0.00",
        "reserved": "0.00",
        "remaining": "2.50",
        "utilisation": 0.0,
        "state": "active",
    }
    assert {name: told[name] for name in usual} == usual
    assert Budget.objects.for_tenant(acme).get().limit_nano_usd == 2_500_000_000


@pytest.mark.parametrize(
    ("scope", "period", "name"),
    [
        ("tenant", "month", "Whole account per month"),
        ("user:*", "day", "Each user per day"),
        ("user:ada", "week", "User ada per week"),
        ("api_key:*", "hour", "Each API key per hour"),
        ("model:gpt-4o", "total", "Model gpt-4o in total"),
    ],
)
def test_a_budget_without_a_name_is_named_after_its_scope(client: Any, scope: str, period: str, name: str) -> None:
    assert make(client, scope, period=period)["name"] == name


def test_every_field_that_can_be_sent_comes_back_and_an_answer_can_be_sent_again(client: Any) -> None:
    wish = {
        "name": "Ada's week",
        "limit": "12.345678901",
        "period": "week",
        "soft_cap": "0.5",
        "hard_cap": "0.95",
        "mode": "observe",
        "thresholds": ["0.25", "1.5"],
        "downgrade_rules": [{"from": ["gpt-4o", "*"], "to": "gpt-4o-mini"}],
        "disabled_tools": ["web"],
        "strict": True,
        "patience_seconds": 5,
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2999-01-01T00:00:00Z",
    }
    made = make(client, **wish)
    assert {name: made[name] for name in wish} == wish
    assert edit(client, made["id"], **made) == made


def test_thresholds_come_back_sorted_and_once_each(client: Any) -> None:
    assert make(client, thresholds=[1, "0.5", 0.25, "0.50"])["thresholds"] == ["0.25", "0.5", "1"]


def test_a_budget_is_in_force_in_the_answer_that_made_it(client: Any) -> None:
    made = make(client, limit="1")
    refused = post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": 2}, 402)
    assert refused["error"]["details"]["budget_id"] == made["id"]


def test_live_numbers_say_what_is_spent_held_and_left(client: Any) -> None:
    made = make(client, hard_cap="0.9")
    spend(client, "6")
    post(client, "v1/reservations", {"attribution": {"user": "ada"}, "estimated_cost": "2.5"}, 201)
    told = get(client, f"v1/budgets/{made['id']}")
    assert picked(told, "live_key", "spent", "reserved", "remaining", "utilisation", "state") == (
        "ada", "6.00", "2.50", "0.50", 0.85, "active",
    )  # fmt: skip
    spend(client, "2")
    assert get(client, f"v1/budgets/{made['id']}")["state"] == "warned"


def test_an_allowance_shows_its_fullest_key_and_lists_every_one(client: Any) -> None:
    made = make(client, "user:*")
    for user, cost in (("ada", "2"), ("ben", "8"), ("cy", "2")):
        spend(client, cost, user=user)
    told = get(client, f"v1/budgets/{made['id']}")
    assert picked(told, "live_key", "spent", "remaining", "state") == ("ben", "8.00", "2.00", "warned")
    rows: Any = get(client, f"v1/budgets/{made['id']}/windows")
    assert [picked(row, "scope_key", "spent", "breach_count", "last_threshold") for row in rows] == [
        ("ben", "8.00", 1, "0.75"),
        ("ada", "2.00", 0, None),
        ("cy", "2.00", 0, None),
    ]
    assert {row["window"]["start"] for row in rows} == {told["window"]["start"]}


def test_an_allowance_says_nothing_of_a_key_whose_own_budget_replaces_it(client: Any) -> None:
    allowance = make(client, "user:*", limit="1")
    make(client, "user:ada", limit="100")
    make(client, "user:ben", limit="100", period="day")  # of another period: ben has both
    make(client, "agent:cy", limit="100")
    spend(client, "50", user="ada")
    spend(client, "0.25", user="ben")
    spend(client, "0.5", user="cy")
    told = get(client, f"v1/budgets/{allowance['id']}")
    figures = ("live_key", "spent", "remaining", "overspent", "state")
    assert picked(told, *figures) == ("cy", "0.50", "0.50", "0.00", "active")
    rows: Any = get(client, f"v1/budgets/{allowance['id']}/windows")
    assert [picked(row, "scope_key", "overspent") for row in rows] == [("cy", "0.00"), ("ben", "0.00")]


def test_an_allowance_that_takes_over_again_tells_of_the_key_again(client: Any, acme: Tenant) -> None:
    allowance, exact = make(client, "user:*", limit="1"), make(client, "user:ada", limit="100")
    spend(client, "50")
    figures = ("live_key", "overspent", "state")
    assert picked(get(client, f"v1/budgets/{allowance['id']}"), *figures) == (None, "0.00", "active")
    assert client.delete(f"/api/v1/budgets/{exact['id']}").status_code == 204
    assert picked(get(client, f"v1/budgets/{allowance['id']}"), *figures) == ("ada", "49.00", "stopped")


def test_replaced_keys_take_no_place_from_those_that_an_allowance_shows(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_KEYS_PER_ALLOWANCE", 2)
    allowance = make(client, "user:*", limit="1")
    for replaced in ("ada", "ben"):
        make(client, f"user:{replaced}", limit="100")
    for user, cost in (("ada", "9"), ("ben", "8"), ("cy", "0.75"), ("di", "0.5"), ("ed", "0.25")):
        spend(client, cost, user=user)
    rows: Any = get(client, f"v1/budgets/{allowance['id']}/windows")
    assert [row["scope_key"] for row in rows] == ["cy", "di"]


def test_an_exact_budget_has_a_window_before_anything_is_spent(client: Any) -> None:
    made = make(client, "user:ada", period="total")
    (row,) = get(client, f"v1/budgets/{made['id']}/windows")
    assert picked(row, "scope_key", "spent", "updated_at") == ("ada", "0.00", None)  # type: ignore[arg-type]  # a list's row
    assert made["window"] == {"start": "1970-01-01T00:00:00Z", "end": None}


def test_windows_are_cut_in_the_tenants_time_zone(acme: Tenant, standing_clock: datetime) -> None:
    acme.timezone = "Asia/Kolkata"
    acme.save()
    window = make(client_of(acme), period="day")["window"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert (start.hour, start.minute, end - start) == (18, 30, timedelta(days=1))
    assert start <= standing_clock < end


def test_a_budget_that_has_not_begun_shows_its_first_window(client: Any) -> None:
    starts_at = timezone.now().replace(microsecond=0) + timedelta(days=400)
    made = make(client, starts_at=starts_at.isoformat())
    assert datetime.fromisoformat(made["window"]["start"]) == starts_at
    assert made["window"]["start"] < made["window"]["end"]


# --- lists -----------------------------------------------------------------------------------------


def test_budgets_are_listed_filtered_and_in_pages(client: Any) -> None:
    for scope, facts in (("tenant", {}), ("user:*", {"period": "day"}), ("user:ada", {"mode": "observe"})):
        make(client, scope, **facts)

    def scopes(**query: Any) -> list[str]:
        rows = get(client, "v1/budgets", **query)["results"]
        return sorted(f"{row['scope_type']}:{row['scope_key']}" for row in rows)

    assert scopes() == ["tenant:*", "user:*", "user:ada"]
    assert scopes(scope_type="user") == ["user:*", "user:ada"]
    assert scopes(scope_type="user", scope_key="ada") == ["user:ada"]
    assert scopes(period="day") == ["user:*"]
    assert scopes(mode="observe") == ["user:ada"]
    assert scopes(mode="enforce", period="month") == ["tenant:*"]
    assert scopes(archived="true") == []
    seen, page = [], get(client, "v1/budgets", limit=2)
    while True:
        seen += [row["id"] for row in page["results"]]
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()
    assert len(seen) == len(set(seen)) == 3


def test_a_list_refuses_what_it_does_not_understand(client: Any) -> None:
    for query in ({"planet": "mars"}, {"archived": "maybe"}, {"limit": "0"}, {"cursor": "x"}):
        get(client, "v1/budgets", 400, **query)


# --- what cannot be a budget ---------------------------------------------------------------------


NO_BUDGETS: list[dict[str, Any]] = [
    {"limit": None},
    {"limit": "-1"},
    {"limit": "NaN"},
    {"limit": "Infinity"},
    {"limit": True},
    {"limit": "9000001"},
    {"limit": {"usd": 1}},
    {"scope_type": "planet"},
    {"scope_type": 5},
    {"scope_type": "tenant", "scope_key": "acme"},
    {"scope_key": ""},
    {"scope_key": "a\x07b"},
    {"scope_key": "x" * 201},
    {"scope_key": ["ada"]},
    {"period": "fortnight"},
    {"mode": "dream"},
    {"soft_cap": "0.9", "hard_cap": "0.5"},
    {"soft_cap": "1.1"},
    {"hard_cap": -0.1},
    {"soft_cap": "0.12345"},
    {"soft_cap": "NaN"},
    {"hard_cap": True},
    {"thresholds": ["0"]},
    {"thresholds": ["11"]},
    {"thresholds": "0.5"},
    {"thresholds": [0.5] * 21},
    {"downgrade_rules": [{"from": [], "to": "m"}]},
    {"downgrade_rules": [{"from": ["m"]}]},
    {"downgrade_rules": [{"from": "m", "to": "n"}]},
    {"downgrade_rules": [{"from": ["m"], "to": "n", "then": "o"}]},
    {"disabled_tools": [None]},
    {"disabled_tools": "web"},
    {"strict": "yes"},
    {"patience_seconds": 61},
    {"patience_seconds": "5"},
    {"starts_at": "soon"},
    {"starts_at": "1969-12-31T00:00:00Z"},
    {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"},
    {"surprise": 1},
]


def test_what_cannot_be_a_budget_is_400_and_nothing_is_written(client: Any, acme: Tenant) -> None:
    for facts in NO_BUDGETS:
        wish = {"scope_type": "user", "scope_key": "ada", "limit": 1} | facts
        response = client.post("/api/v1/budgets", wish, format="json")
        assert (response.status_code, set(response.json()["error"])) == (400, {"code", "message", "details"}), facts
    assert Budget.objects.for_tenant(acme).count() == 0
    assert changes(acme) == []


def test_spaces_around_a_key_are_dropped(client: Any) -> None:
    assert (
        post(client, "v1/budgets", {"scope_type": "user", "scope_key": " ada ", "limit": 1}, 201)["scope_key"] == "ada"
    )


def test_a_body_that_is_no_object_is_400(client: Any) -> None:
    for body in (None, [], "budget", 5):
        post(client, "v1/budgets", body, 400)


def test_a_scope_has_one_budget_per_period(client: Any, acme: Tenant) -> None:
    made = make(client, period="day")
    error = make(client, period="day", status=409)["error"]
    assert (error["code"], error["details"]) == (
        "budget_exists",
        {"scope": "user:ada", "period": "day", "budget_id": made["id"]},
    )
    make(client, period="week")
    make(client, "user:*", period="day")
    make(client_of(factories.globex()), period="day")
    assert Budget.objects.for_tenant(acme).count() == 3


# --- edited ----------------------------------------------------------------------------------------


def test_limit_and_policy_can_be_edited_and_what_is_left_out_stays(client: Any) -> None:
    made = make(client, soft_cap="0.5", disabled_tools=["web"])
    told = edit(client, made["id"], limit="20", thresholds=["0.5"])
    assert picked(told, "limit", "remaining", "soft_cap", "thresholds", "disabled_tools") == (
        "20.00", "20.00", "0.5", ["0.5"], ["web"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"scope_type": "org"}, "scope_type"),
        ({"scope_key": "ben"}, "scope_key"),
        ({"period": "week"}, "period"),
        ({"starts_at": "2026-01-05T00:00:00Z"}, "starts_at"),
    ],
)
def test_what_the_ledger_is_counted_by_cannot_be_edited(client: Any, facts: dict[str, str], field: str) -> None:
    made = make(client, period="total")
    error = edit(client, made["id"], 409, **facts, limit="99")["error"]
    assert (error["code"], error["details"]["field"]) == ("budget_scope_fixed", field)
    assert get(client, f"v1/budgets/{made['id']}")["limit"] == "10.00"


def test_a_budget_may_be_ended_even_in_the_past(client: Any) -> None:
    made = make(client)
    edit(client, made["id"], ends_at="2026-01-15T00:00:00Z")
    assert post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": 99})["budgets"] == []


def test_caps_in_the_wrong_order_are_refused_whichever_of_them_is_edited(client: Any) -> None:
    made = make(client, soft_cap="0.8", hard_cap="0.9")
    for facts in ({"soft_cap": "0.95"}, {"hard_cap": "0.7"}):
        assert edit(client, made["id"], 400, **facts)["error"]["code"] == "invalid_budget"
    assert picked(get(client, f"v1/budgets/{made['id']}"), "soft_cap", "hard_cap") == ("0.8", "0.9")


def test_a_lower_limit_never_shows_less_than_nothing(client: Any) -> None:
    made = make(client)
    spend(client, "6")
    told = edit(client, made["id"], limit="5")
    assert picked(told, "spent", "remaining", "state", "utilisation") == ("6.00", "0.00", "stopped", 1.2)


def test_a_budget_is_patched_never_replaced(client: Any) -> None:
    made = make(client)
    assert client.put(f"/api/v1/budgets/{made['id']}", {"limit": "1"}, format="json").status_code == 405


def test_an_edit_changes_no_recorded_cost(client: Any, acme: Tenant) -> None:
    made = make(client)
    spend(client, "6")
    edit(client, made["id"], limit="1")
    row = BudgetWindow.objects.for_tenant(acme).get()
    assert (row.spend_nano_usd, row.forgiven_nano_usd) == (6 * NANO, 0)


# --- frozen, raised, reset, put away ---------------------------------------------------------------


def test_a_frozen_budget_stops_everything_until_it_is_unfrozen(client: Any) -> None:
    made = make(client)
    call = {"attribution": {"user": "ada"}, "estimated_cost": 0}
    for _ in range(2):
        assert post(client, f"v1/budgets/{made['id']}/freeze")["is_frozen"] is True
    assert post(client, "v1/check", call, 402)["reason"] == "frozen"
    assert post(client, f"v1/budgets/{made['id']}/unfreeze")["is_frozen"] is False
    assert post(client, "v1/check", call)["allowed"] is True


def test_a_raise_lifts_the_limit_until_it_ends_and_says_who_made_it(client: Any, acme: Tenant) -> None:
    made = make(client)
    path = f"v1/budgets/{made['id']}/raises"
    ends_at = timezone.now() + timedelta(hours=1)
    told = post(client, path, {"by": "5.5", "ends_at": ends_at.isoformat(), "reason": "launch"}, 201)
    key = Change.objects.for_tenant(acme).filter(action="create").first()
    assert key is not None and picked(told, "by", "reason", "actor") == ("5.50", "launch", key.actor)
    shown = get(client, f"v1/budgets/{made['id']}")
    assert picked(shown, "limit", "limit_now", "remaining") == ("10.00", "15.50", "15.50")
    post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": "15.5"})
    assert [row["id"] for row in get(client, path)["results"]] == [told["id"]]
    BudgetRaise.objects.for_tenant(acme).get().delete()
    refresh_all()
    assert get(client, f"v1/budgets/{made['id']}")["limit_now"] == "10.00"


NO_RAISES: list[dict[str, Any]] = [
    {"by": "0"},
    {"by": "-1"},
    {"by": "8999995"},
    {"ends_at": None},
    {"ends_at": "2020-01-01T00:00:00Z"},
    {"starts_at": "2998-01-02T00:00:00Z", "ends_at": "2998-01-01T00:00:00Z"},
    {"reason": "x" * 201},
    {"surprise": 1},
]


def test_what_cannot_be_a_raise_is_400_and_nothing_is_raised(client: Any, acme: Tenant) -> None:
    path = f"/api/v1/budgets/{make(client)['id']}/raises"
    for facts in NO_RAISES:
        wish = {"by": "1", "ends_at": "2998-01-01T00:00:00Z"} | facts
        assert client.post(path, wish, format="json").status_code == 400, facts
    assert BudgetRaise.objects.for_tenant(acme).count() == 0


def test_a_reset_over_the_api_begins_afresh(client: Any) -> None:
    made = make(client, "user:*")
    spend(client, "6")
    spend(client, "3", user="ben")
    assert post(client, f"v1/budgets/{made['id']}/reset", {"scope_key": "ada"}) == {"windows": 1}
    assert get(client, f"v1/budgets/{made['id']}")["live_key"] == "ben"
    assert post(client, f"v1/budgets/{made['id']}/reset") == {"windows": 2}
    assert get(client, f"v1/budgets/{made['id']}")["spent"] == "0.00"
    post(client, f"v1/budgets/{made['id']}/reset", {"scope_key": 5}, 400)


def test_a_budget_that_was_put_away_stops_nothing_and_keeps_its_history(client: Any, acme: Tenant) -> None:
    made = make(client, limit="1")
    spend(client, "6")
    assert client.delete(f"/api/v1/budgets/{made['id']}").status_code == 204
    assert post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": 9})["budgets"] == []
    assert get(client, "v1/budgets")["results"] == []
    (row,) = get(client, "v1/budgets", archived="true")["results"]
    assert (row["id"], row["archived_at"] is None) == (made["id"], False)
    assert BudgetWindow.objects.for_tenant(acme).get().spend_nano_usd == 6 * NANO
    for method, path in (("get", ""), ("patch", ""), ("delete", ""), ("post", "/freeze"), ("post", "/reset")):
        assert getattr(client, method)(f"/api/v1/budgets/{made['id']}{path}").status_code == 404
    # Its scope is free again, and a new budget begins with what was spent.
    assert make(client, limit="20")["spent"] == "6.00"


def test_a_budget_that_was_put_away_is_listed_with_what_its_last_window_has_spent(
    standing_clock: datetime, client: Any, acme: Tenant
) -> None:
    exact = make(client, limit="10", hard_cap="0.9", soft_cap="0.5", period="week")
    allowance = make(client, "agent:*", limit="4", period="day")
    unused = make(client, "user:ben")
    spend(client, "6", user="ada", agent="coder")
    spend(client, "1", user="ada", agent="writer")
    post(client, f"v1/budgets/{exact['id']}/raises", {"by": "5", "ends_at": "2998-01-01T00:00:00Z"}, 201)
    before = {row["id"]: row for row in get(client, "v1/budgets")["results"]}
    for made in (exact, allowance, unused):
        assert client.delete(f"/api/v1/budgets/{made['id']}").status_code == 204
    # Years later, too.
    a_week = timedelta(days=7)
    Budget.objects.for_tenant(acme).update(archived_at=F("archived_at") - a_week)
    BudgetWindow.objects.for_tenant(acme).update(starts_at=F("starts_at") - a_week)
    BudgetRaise.objects.for_tenant(acme).update(starts_at=F("starts_at") - a_week)
    after = {row["id"]: row for row in get(client, "v1/budgets", archived="true")["results"]}
    figures = ("live_key", "limit_now", "spent", "reserved", "remaining", "utilisation", "state")
    expected = {
        exact["id"]: ("ada", "15.00", "7.00", "0.00", "6.50", 0.466667, "active"),
        allowance["id"]: ("coder", "4.00", "6.00", "0.00", "0.00", 1.5, "stopped"),
        unused["id"]: ("ben", "10.00", "0.00", "0.00", "10.00", 0.0, "active"),
    }
    assert {budget_id: picked(row, *figures) for budget_id, row in after.items()} == expected
    assert {budget_id: picked(row, *figures) for budget_id, row in before.items()} == expected
    (window,) = BudgetWindow.objects.for_tenant(acme).filter(budget_id=exact["id"])
    assert datetime.fromisoformat(after[exact["id"]]["window"]["start"]) == window.starts_at


def test_an_allowance_that_was_put_away_says_nothing_of_keys_that_were_replaced_then(client: Any, acme: Tenant) -> None:
    given_up = make(client, "user:cy", limit="100")
    assert client.delete(f"/api/v1/budgets/{given_up['id']}").status_code == 204
    allowance, own = make(client, "user:*", limit="1"), make(client, "user:ada", limit="100")
    for user, cost in (("ada", "50"), ("ben", "0.25"), ("cy", "0.5")):
        spend(client, cost, user=user)
    assert client.delete(f"/api/v1/budgets/{allowance['id']}").status_code == 204
    # What came or went afterwards changes nothing of how it stood.
    make(client, "user:cy", limit="100")
    assert client.delete(f"/api/v1/budgets/{own['id']}").status_code == 204
    rows = {row["id"]: row for row in get(client, "v1/budgets", archived="true")["results"]}
    figures = ("live_key", "spent", "overspent", "state")
    assert picked(rows[allowance["id"]], *figures) == ("cy", "0.50", "0.00", "active")


def test_rules_show_the_step_and_the_chain_that_they_make_of_a_model(client: Any) -> None:
    for name in ("opus", "sonnet", "haiku"):
        factories.ModelFactory(name=name)
    refresh_all()
    rules = [{"from": ["opus"], "to": "sonnet"}, {"from": ["*"], "to": "haiku"}]
    made = make(client, downgrade_rules=rules, disabled_tools=["web"])
    path = f"v1/budgets/{made['id']}/suggestion"
    assert get(client, path, model="opus") == {
        "model": "opus",
        "suggested_model": "sonnet",
        "chain": ["sonnet", "haiku"],
        "disabled_tools": ["web"],
    }
    assert picked(get(client, path, model="haiku"), "suggested_model", "chain") == (None, [])
    get(client, path, 400)


# --- who may, and what is kept of it ---------------------------------------------------------------


def test_every_change_is_kept_with_who_made_it_and_what_it_was_before(client: Any, acme: Tenant) -> None:
    made = make(client)
    path = f"v1/budgets/{made['id']}"
    edit(client, made["id"], limit="20")
    post(client, f"{path}/freeze")
    post(client, f"{path}/freeze")
    post(client, f"{path}/unfreeze")
    post(client, f"{path}/raises", {"by": "5", "ends_at": "2998-01-01T00:00:00Z"}, 201)
    client.delete(f"/api/{path}")
    kept = changes(acme)
    assert [action for _, action, _, _ in kept] == ["create", "update", "freeze", "unfreeze", "raise", "delete"]
    assert {actor.partition(":")[0] for actor, _, _, _ in kept} == {"key"}
    assert kept[1][2:] == ({"limit": "10.00"}, {"limit": "20.00"})
    assert kept[2][2:] == ({"is_frozen": False}, {"is_frozen": True})
    assert kept[4][3]["by"] == "5.00"


def test_reading_needs_read_and_changing_needs_manage(client: Any, acme: Tenant) -> None:
    made = make(client)
    reader, spender = client_of(acme, permissions=["read"]), client_of(acme, permissions=["spend"])
    get(reader, f"v1/budgets/{made['id']}")
    get(spender, "v1/budgets", 403)
    for path, body in (("", {"limit": 1}), (f"/{made['id']}/freeze", None), (f"/{made['id']}/reset", None)):
        assert post(reader, f"v1/budgets{path}", body, 403)["error"]["details"] == {"needed": "manage"}
    assert reader.delete(f"/api/v1/budgets/{made['id']}").status_code == 403


def test_a_stranger_neither_sees_nor_touches_a_budget(client: Any, acme: Tenant) -> None:
    made = make(client)
    spend(client, "6")
    before = get(client, f"v1/budgets/{made['id']}")
    stranger = client_of(factories.globex())
    assert get(stranger, "v1/budgets")["results"] == []
    assert get(stranger, "v1/budgets", archived="true")["results"] == []
    for path in ("", "/windows", "/raises", "/events", "/suggestion?model=m"):
        get(stranger, f"v1/budgets/{made['id']}{path}", 404)
    for path in ("freeze", "unfreeze", "reset"):
        post(stranger, f"v1/budgets/{made['id']}/{path}", None, 404)
    post(stranger, f"v1/budgets/{made['id']}/raises", {"by": "5", "ends_at": "2998-01-01T00:00:00Z"}, 404)
    edit(stranger, made["id"], 404, limit="1")
    assert stranger.delete(f"/api/v1/budgets/{made['id']}").status_code == 404
    assert get(client, f"v1/budgets/{made['id']}") == before
    assert [action for _, action, _, _ in changes(acme)] == ["create"]


def test_an_id_that_never_was_is_404(client: Any) -> None:
    get(client, f"v1/budgets/{uuid.uuid4()}", 404)
    get(client, "v1/budgets/seven", 404)


def test_more_budgets_on_a_page_take_no_more_queries(client: Any, acme: Tenant) -> None:
    def queries_for(rows: int) -> int:
        get(client, "v1/budgets")  # what a process reads once is read now
        counters().refresh()  # and its leave to count is fresh
        with CaptureQueriesContext(connection) as queries:
            assert len(get(client, "v1/budgets")["results"]) == rows
        return len(queries)

    for number in range(20):
        define(acme, f"user:u{number}", 10)
        if number == 1:
            few = queries_for(2)
    assert queries_for(20) == few


# --- models and providers by their other names -------------------------------------------------------


@pytest.fixture
def catalog() -> None:
    factories.PriceFactory(
        model__name="vendor-chat", model__aliases=["vendor-alias"], model__provider__name="vendor",
        input_nano_usd_per_mtok=NANO, output_nano_usd_per_mtok=NANO,
    )  # fmt: skip
    refresh_all()


@pytest.mark.parametrize("called", ["vendor-chat", "vendor-alias", "Vendor-Chat", "VENDOR-ALIAS"])
def test_a_budget_on_any_name_of_a_model_limits_the_model(catalog: None, client: Any, called: str) -> None:
    made = make(client, f"model:{called}")
    assert picked(made, "scope_key", "name") == ("vendor-chat", "Model vendor-chat per month")
    for name in ("vendor-chat", "vendor-alias", "Vendor-Chat"):
        told = post(client, "v1/check", {"model": name, "estimated_cost": 11}, 402)["error"]["details"]
        assert told["budget_id"] == made["id"]
        recipe = {"scopeType": "model", "scopeKey": name, "estimatedCost": 11}
        assert post(client, "budget/check", recipe, 402)["code"] == "budget_exceeded"
    assert make(client, "model:vendor-alias", 409)["error"]["code"] == "budget_exists"


def test_a_budget_on_a_provider_in_another_case_limits_the_provider(catalog: None, client: Any) -> None:
    made = make(client, "provider:Vendor")
    assert made["scope_key"] == "vendor"
    for facts in ({"model": "vendor-chat"}, {"provider": "VENDOR"}, {"model": "own", "provider": "vendor"}):
        told = post(client, "v1/check", {"estimated_cost": 11, **facts}, 402)["error"]["details"]
        assert told["budget_id"] == made["id"]
    post(client, "v1/spans", {"provider": "Vendor", "model": "own", "cost": 1}, 202)
    held = post(client, "v1/reservations", {"estimated_cost": 1, "model": "own"}, 201)["id"]
    post(client, f"v1/reservations/{held}/commit", {"actual_cost": 1, "provider": "VENDOR"})
    post(client, "budget/record", {"scopeType": "provider", "scopeKey": "Vendor", "actualCost": 1})
    assert get(client, f"v1/budgets/{made['id']}")["spent"] == "3.00"


def test_what_the_catalog_does_not_know_is_limited_under_the_very_name_it_is_reported_by(
    catalog: None, client: Any
) -> None:
    for scope in ("model:Own-Model", "provider:Own"):
        made = make(client, scope)
        assert f"{made['scope_type']}:{made['scope_key']}" == scope
    post(client, "v1/spans", {"provider": "Own", "model": "Own-Model", "cost": 1}, 202)
    assert [row["spent"] for row in get(client, "v1/budgets")["results"]] == ["1.00", "1.00"]


def test_a_models_other_name_is_no_other_scope_for_an_edit_and_a_budget_that_was_made_for_one_stands(
    catalog: None, client: Any, acme: Tenant
) -> None:
    made = make(client, "model:vendor-alias")
    assert edit(client, made["id"], scope_key="vendor-alias", limit="5")["scope_key"] == "vendor-chat"
    assert edit(client, made["id"], 409, scope_key="other")["error"]["code"] == "budget_scope_fixed"
    old = define(acme, "model:Vendor-Alias", 10)
    assert picked(edit(client, old.id, scope_key="Vendor-Alias", limit="7"), "scope_key", "limit") == (
        "Vendor-Alias",
        "7.00",
    )


def test_an_accounts_own_catalog_decides_what_a_name_means(catalog: None, client: Any, acme: Tenant) -> None:
    provider = factories.ProviderFactory(name="own", tenant=acme)
    factories.ModelFactory(name="mine", aliases=["vendor-alias"], provider=provider, tenant=acme)
    refresh_all()
    assert make(client, "model:vendor-alias")["scope_key"] == "mine"
    stranger = client_of(factories.globex())
    assert make(stranger, "model:vendor-alias")["scope_key"] == "vendor-chat"
    assert make(stranger, "provider:OWN")["scope_key"] == "OWN"


@pytest.mark.parametrize(
    ("scope", "span", "called"),
    [
        ("model", {"model": "vendor-chat"}, ["vendor-chat", "vendor-alias", "Vendor-Chat"]),
        ("provider", {"model": "own", "provider": "vendor"}, ["vendor", "VENDOR"]),
    ],
)
def test_a_window_is_reset_by_any_name_of_its_model_or_provider(
    catalog: None, client: Any, scope: str, span: dict[str, str], called: list[str]
) -> None:
    made = make(client, scope)
    for key in called:
        post(client, "v1/spans", {**span, "cost": 1}, 202)
        assert get(client, f"v1/budgets/{made['id']}")["spent"] == "1.00"
        assert post(client, f"v1/budgets/{made['id']}/reset", {"scope_key": key}) == {"windows": 1}
        assert get(client, f"v1/budgets/{made['id']}")["spent"] == "0.00"


def test_budgets_are_found_by_any_name_of_their_model_or_provider(catalog: None, client: Any) -> None:
    for scope in ("model:vendor-chat", "provider:vendor", "user:vendor-alias", "user:VENDOR"):
        make(client, scope)

    def found(**query: str) -> list[str]:
        rows = get(client, "v1/budgets", **query)["results"]
        return sorted(f"{row['scope_type']}:{row['scope_key']}" for row in rows)

    assert found(scope_key="vendor-alias") == ["model:vendor-chat", "user:vendor-alias"]
    assert found(scope_key="VENDOR") == ["provider:vendor", "user:VENDOR"]
    assert found(scope_type="model", scope_key="Vendor-Chat") == ["model:vendor-chat"]
    assert found(scope_type="user", scope_key="vendor-alias") == ["user:vendor-alias"]
    assert found(scope_key="other") == []


def test_a_name_that_only_a_wildcard_catches_counts_as_it_is_written(client: Any) -> None:
    factories.PriceFactory(model__name="sma*", model__provider__name="vendor")
    refresh_all()
    make(client, "model:small-1")
    assert make(client, "model:SMALL-1")["scope_key"] == "SMALL-1"
    for name, cost in (("small-1", 1), ("SMALL-1", 2)):
        post(client, "v1/spans", {"model": name, "cost": cost}, 202)
    told = {row["scope_key"]: row["spent"] for row in get(client, "v1/budgets")["results"]}
    assert told == {"small-1": "1.00", "SMALL-1": "2.00"}
