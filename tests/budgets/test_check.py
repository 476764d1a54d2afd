"""May this call be made? The check's answer over the API, native shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from budgets.calls import Call
from budgets.counters.base import Count
from budgets.counters.drive import drive
from budgets.models import BudgetWindow, Decision, HoldLine, Reservation
from budgets.reservations import look_at
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def ask(client: Any, cost: Any, status: int = 200, **facts: Any) -> dict[str, Any]:
    return post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": cost, **facts}, status)


def test_a_call_that_fits_is_allowed_and_the_answer_says_what_would_remain(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    told = ask(client_of(acme), "2.5", tools=["web"])
    assert (told["allowed"], told["action"], told["remaining"], told["estimated_cost"]) == (
        True,
        "allow",
        "7.50",
        "2.50",
    )
    assert (told["disabled_tools"], told["kept_tools"], told["warning"]) == ([], ["web"], None)
    (looked_at,) = told["budgets"]
    assert looked_at["id"] == str(budget.id)
    assert {
        name: looked_at[name] for name in ("scope", "limit", "spent", "reserved", "remaining", "state", "action")
    } == {
        "scope": "user:ada",
        "limit": "10.00",
        "spent": "0.00",
        "reserved": "0.00",
        "remaining": "10.00",
        "state": "active",
        "action": "allow",
    }


def test_a_check_holds_nothing_and_stores_nothing(acme: Tenant, settings: Any) -> None:
    settings.DECISION_SAMPLE = 0
    define(acme, "user:ada", 10)
    client = client_of(acme)
    assert [ask(client, 6)["remaining"] for _ in range(2)] == ["4.00", "4.00"]
    for model in (HoldLine, BudgetWindow, Decision):
        assert model.objects.for_tenant(acme).count() == 0


def test_a_call_without_any_budget_is_allowed_and_nothing_limits_it(acme: Tenant) -> None:
    told = ask(client_of(acme), 5)
    assert (told["allowed"], told["remaining"], told["budgets"]) == (True, None, [])


def test_reaching_the_limit_exactly_is_allowed_and_one_nano_dollar_more_is_not(acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    client = client_of(acme)
    assert ask(client, 10)["action"] == "warn"
    assert ask(client, "10.000000001", 402)["action"] == "hard-stop"


def test_a_refusal_is_402_with_the_whole_answer_and_when_to_come_back(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 1, name="Ada's month")
    client = client_of(acme)
    response = client.post("/api/v1/check", {"attribution": {"user": "ada"}, "estimated_cost": 1.5}, format="json")
    told = response.json()
    assert (response.status_code, told["allowed"], told["action"]) == (402, False, "hard-stop")
    error = told["error"]
    assert (error["code"], error["details"]["budget"], error["details"]["short_by"]) == (
        "budget_exceeded",
        "Ada's month",
        "0.50",
    )
    assert error["details"]["budgets"] == told["budgets"]
    window = told["budgets"][0]["window"]
    ends_at = datetime.fromisoformat(window["end"])
    assert abs(int(response["Retry-After"]) - (ends_at - datetime.now(UTC)).total_seconds()) < 5
    assert response["X-Budget-Remaining"] == "1.00" and response["X-Budget-Limit"] == "1.00"
    row = Decision.objects.for_tenant(acme).get(id=told["decision_id"])
    assert (row.budget_id, row.allowed) == (budget.id, False)


def test_a_refusal_for_money_that_is_merely_held_says_to_come_back_soon(acme: Tenant) -> None:
    define(acme, "user:ada", 1, period="total")
    client = client_of(acme)
    post(client, "v1/reservations", {"attribution": {"user": "ada"}, "estimated_cost": "0.80"}, 201)
    for path in ("check", "reservations"):
        body = {"attribution": {"user": "ada"}, "estimated_cost": "0.50"}
        response = client.post(f"/api/v1/{path}", body, format="json")
        told = response.json()
        assert (response.status_code, response["Retry-After"]) == (402, "2")
        assert (told["error"]["details"]["is_merely_held"], told["resets_at"]) == (True, None)


def test_a_refusal_by_a_frozen_budget_promises_no_moment(acme: Tenant) -> None:
    define(acme, "user:ada", 1, name="Ada's month", is_frozen=True)
    client = client_of(acme)
    for path in ("check", "reservations"):
        body = {"attribution": {"user": "ada"}, "estimated_cost": "0.50"}
        response = client.post(f"/api/v1/{path}", body, format="json")
        told = response.json()
        assert (response.status_code, told["reason"], told["resets_at"]) == (402, "frozen", None)
        assert "Retry-After" not in response
        assert told["error"]["message"] == 'Budget "Ada\'s month" is frozen: nothing passes until it is unfrozen.'
        assert told["error"]["details"]["resets_at"] is None
    explained = get(client, f"v1/decisions/{told['decision_id']}")
    assert (explained["reason"], explained["resets_at"], explained["would_have_passed"]) == ("frozen", None, None)


def test_the_strictest_of_all_matching_budgets_answers(acme: Tenant) -> None:
    define(acme, "tenant", 100)
    define(acme, "user:ada", 10, soft_cap="0.5", disabled_tools=["web"])
    define(acme, "agent:bot", 1)
    client = client_of(acme)
    told = ask(client, 6, tools=["web", "file"])
    assert (told["action"], told["disabled_tools"], told["kept_tools"]) == ("disable-tools", ["web"], ["file"])
    assert [each["scope"] for each in told["budgets"]] == ["tenant:*", "user:ada"]
    told = ask(client, 6, 402, attribution={"user": "ada", "agent": "bot"})
    assert told["error"]["details"]["scope"] == "agent:bot"


@pytest.mark.parametrize("by", ["haiku", "HAIKU", "quick", "vendor/haiku"])
def test_downgrade_rules_mean_models_by_any_of_their_names_on_both_sides(acme: Tenant, by: str) -> None:
    vendor = factories.ProviderFactory(name="vendor")
    for name, aliases in (("opus", ["latest"]), ("haiku", ["quick"])):
        factories.PriceFactory(model=factories.ModelFactory(name=name, provider=vendor, aliases=aliases))
    refresh_all()
    define(acme, "user:ada", 10, soft_cap="0", downgrade_rules=[{"from": ["Latest", "haiku"], "to": by}])
    client = client_of(acme)
    for asked in ("opus", "Opus", "latest", "VENDOR/opus"):
        told = ask(client, 1, model=asked)
        assert (told["action"], told["suggested_model"]) == ("degrade", by)
    for asked in ("haiku", "Haiku", "quick", "vendor/HAIKU"):
        told = ask(client, 1, model=asked)
        assert (told["action"], told["suggested_model"], told["model"]) == ("warn", None, "haiku")
        assert "cheaper" not in told["warning"]


def test_a_budget_that_only_observes_stops_nothing_but_says_what_it_would_have_done(acme: Tenant) -> None:
    define(acme, "user:ada", 1, mode="observe")
    told = ask(client_of(acme), 5)
    assert (told["allowed"], told["action"], told["remaining"]) == (True, "allow", None)
    assert (told["budgets"][0]["mode"], told["budgets"][0]["action"]) == ("observe", "hard-stop")


def test_the_keys_own_attribution_counts_where_the_call_says_nothing(acme: Tenant) -> None:
    define(acme, "agent:support", 1)
    client = client_of(acme, attribution={"agent": "support"})
    assert [each["scope"] for each in ask(client, "0.5")["budgets"]] == ["agent:support"]
    assert ask(client, "0.5", attribution={"agent": "sales"})["budgets"] == []


def test_a_scope_may_be_named_by_headers(acme: Tenant) -> None:
    define(acme, "session:s-1", 1)
    headers = {"HTTP_X_BUDGET_SCOPE_TYPE": "session", "HTTP_X_BUDGET_SCOPE_KEY": "s-1"}
    told = post(client_of(acme), "v1/check", {"estimated_cost": 2}, 402, **headers)
    assert told["error"]["details"]["scope"] == "session:s-1"


def test_an_edit_is_in_force_at_once_where_it_was_made(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 1)
    client = client_of(acme)
    ask(client, 2, 402)
    assert client.patch(f"/api/v1/budgets/{budget.id}", {"limit": "3"}, format="json").status_code == 200
    assert ask(client, 2)["remaining"] == "1.00"


@pytest.mark.parametrize(
    "body",
    [
        {"estimated_cost": -1},
        {"estimated_cost": "NaN"},
        {"estimated_cost": "Infinity"},
        {"estimated_cost": True},
        {"estimated_cost": [1]},
        {"estimated_cost": "1e400"},
        {"estimated_cost": 9_000_001},
        {"estimated_cost": 10**400},
        {"estimated_cost": "1" * 41},
        {"estimated_cost": 1, "attribution": {"planet": "mars"}},
        {"estimated_cost": 1, "attribution": {"user": "a\x07b"}},
        {"estimated_cost": 1, "attribution": {"user": "*"}},
        {"estimated_cost": 1, "attribution": {"user": "x" * 201}},
        {"estimated_cost": 1, "attribution": "ada"},
        {"estimated_cost": 1, "model": 5},
        {"estimated_cost": 1, "model": "gpt\n"},
        {"estimated_cost": 1, "tools": "web"},
        {"estimated_cost": 1, "tools": [None]},
        {"input_tokens": -1},
        {"input_tokens": 1.5},
        {"input_tokens": 10**10},
        {"input_tokens": True},
        {"surprise": 1},
        [],
        "text",
        None,
    ],
)
def test_what_cannot_be_understood_is_400_in_the_native_shape_and_writes_nothing(acme: Tenant, body: Any) -> None:
    define(acme, "user:ada", 1)
    told = post(client_of(acme), "v1/check", body, 400)
    assert told["error"].keys() == {"code", "message", "details"}
    assert Decision.objects.for_tenant(acme).count() == 0


def test_an_unpriced_model_without_an_estimate_is_refused_by_name(acme: Tenant) -> None:
    told = post(client_of(acme), "v1/check", {"model": "nobody-knows-me"}, 400)
    assert (told["error"]["code"], told["error"]["details"]["model"]) == ("unpriced_model", "nobody-knows-me")


def test_an_unpriced_model_may_be_counted_at_the_default_price(acme: Tenant, settings: Any) -> None:
    settings.DEFAULT_INPUT_NANO_USD_PER_MTOK, settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK = 2 * 10**9, 8 * 10**9
    acme.unpriced_models = "default"
    acme.save()
    refresh_all()
    body = {"model": "nobody-knows-me", "input_tokens": 1000, "max_output_tokens": 500}
    assert post(client_of(acme), "v1/check", body)["estimated_cost"] == "0.006"


def test_a_key_needs_the_permission_to_spend(acme: Tenant) -> None:
    told = post(client_of(acme, permissions=["read"]), "v1/check", {"estimated_cost": 1}, 403)
    assert told["error"]["details"] == {"needed": "spend"}


def test_budgets_of_another_tenant_do_not_apply(acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    stranger = client_of(factories.globex())
    assert ask(stranger, 5)["budgets"] == []
    refused = ask(client_of(acme), 5, 402)
    get(stranger, f"v1/decisions/{refused['decision_id']}", 404)
    assert get(stranger, "v1/decisions")["results"] == []


def test_a_refusal_is_explained_by_its_decision(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 1)
    client = client_of(acme)
    refused = ask(client, 5, 402)
    told = get(client, f"v1/decisions/{refused['decision_id']}")
    assert (told["allowed"], told["bound_by"], told["reason"]) == (False, str(budget.id), "over_hard_cap")
    assert told["budgets"] == refused["budgets"]
    assert told["would_have_passed"] == {"estimated_cost": "1.00", "model": None, "after": refused["resets_at"]}
    assert [row["id"] for row in get(client, "v1/decisions", allowed="false")["results"]] == [refused["decision_id"]]
    assert get(client, "v1/decisions", allowed="true")["results"] == []
    get(client, "v1/decisions", 400, allwed="true")


# --- more than can be held ----------------------------------------------------------------------------

# 1,000,000 USD per million tokens: a dollar a token, and a thousand million of them.
TOO_MUCH = {"attribution": {"user": "ada"}, "model": "dear", "input_tokens": 0, "max_output_tokens": 1_000_000_000}


@pytest.fixture
def dear(acme: Tenant) -> Tenant:
    rate = 1_000_000 * NANO
    factories.PriceFactory(model__name="dear", input_nano_usd_per_mtok=rate, output_nano_usd_per_mtok=rate)
    refresh_all()
    return acme


@pytest.mark.parametrize("mode", ["observe", None])
def test_a_call_that_could_cost_more_than_can_be_held_is_400_before_anything_is(dear: Tenant, mode: str | None) -> None:
    if mode is not None:
        define(dear, "user:ada", 1, mode=mode)
    client = client_of(dear)
    recipe = {"scopeType": "user", "scopeKey": "ada", "modelId": "dear", "maxOutputTokens": 1_000_000_000}
    for told in (post(client, path, TOO_MUCH, 400)["error"] for path in ("v1/check", "v1/reservations")):
        assert told["code"] == "estimate_too_large"
    for facts in ({}, {"requestId": "r-1"}):
        assert post(client, "budget/check", {**recipe, **facts}, 400)["code"] == "estimate_too_large"
    assert Reservation.objects.for_tenant(dear).count() == 0
    assert drive(look_at(Call(dear.pk, timezone.now(), 0, Attribution(user="ada")))).counts == (
        () if mode is None else (Count(0, 0),)
    )
    assert post(client, "v1/reservations", {**TOO_MUCH, "max_output_tokens": 9_000_000}, 201)["amount"] == "9000000.00"


def test_an_enforced_budget_refuses_what_could_cost_more_than_can_be_held(dear: Tenant) -> None:
    define(dear, "user:ada", 9_000_000)
    for path in ("v1/check", "v1/reservations"):
        told = post(client_of(dear), path, TOO_MUCH, 402)["error"]
        assert (told["code"], told["details"]["remaining"]) == ("budget_exceeded", "9000000.00")
