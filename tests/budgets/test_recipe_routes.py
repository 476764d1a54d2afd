"""The recipe's /api/budget/check, record and reset: its shapes and status codes, to the letter."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone

from budgets.models import BudgetEvent, BudgetWindow, Decision, Reservation
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)

ADA = {"scopeType": "user", "scopeKey": "ada"}


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    return client_of(acme)


def check(client: Any, status: int = 200, headers: dict[str, str] | None = None, **facts: Any) -> dict[str, Any]:
    return post(client, "budget/check", {**ADA, "estimatedCost": 1, **facts}, status, **(headers or {}))


def record(client: Any, status: int = 200, **facts: Any) -> dict[str, Any]:
    return post(client, "budget/record", {**ADA, "actualCost": 1, **facts}, status)


def refused(client: Any, route: str, body: Any) -> dict[str, Any]:
    """The answer to a bad body: 400, in the recipe's shape."""
    response = client.post(f"/api/budget/{route}", body, format="json")
    told: dict[str, Any] = response.json()
    assert (response.status_code, set(told)) == (400, {"error", "code", "issues"}), (body, told)
    return told


def standing(client: Any) -> tuple[str, str]:
    """What the only budget has spent and holds."""
    (row,) = get(client, "v1/budgets")["results"]
    return row["spent"], row["reserved"]


# --- check -------------------------------------------------------------------------------------


def test_a_check_that_passes_has_the_recipes_shape(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    told = check(client, estimatedCost="2.5", modelId="m", tools=["web"])
    assert told | {"decisionId": ""} == {
        "allowed": True,
        "action": "allow",
        "suggestedModel": None,
        "disabledTools": [],
        "remaining": 7.5,
        "limit": 10,
        "spent": 0,
        "estimatedCost": 2.5,
        "reason": "within_budget",
        "warning": None,
        "decisionId": "",
        "resetsAt": None,
        "reservationId": None,
    }


def test_a_hard_stop_is_402_with_the_same_answer_the_error_and_when_to_come_back(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10, name="Ada")
    body = {**ADA, "estimatedCost": 12}
    response = client.post("/api/budget/check", body, format="json")
    told = response.json()
    assert response.status_code == 402
    assert (told["allowed"], told["action"], told["remaining"], told["code"]) == (
        False,
        "hard-stop",
        10,
        "budget_exceeded",
    )
    assert told["error"].startswith("Budget 'Ada' has 10.00 USD left of 10.00 USD; this call needs up to 12.00 USD.")
    assert told["issues"] == [{"path": "", "message": told["error"]}]
    seconds = (datetime.fromisoformat(told["resetsAt"]) - timezone.now()).total_seconds()
    assert abs(int(response["Retry-After"]) - seconds) < 5
    assert {
        name: response[name] for name in ("X-Budget-Status", "X-Budget-Limit", "X-Budget-Spent", "X-Budget-Remaining")
    } == {
        "X-Budget-Status": "active",
        "X-Budget-Limit": "10.00",
        "X-Budget-Spent": "0.00",
        "X-Budget-Remaining": "10.00",
    }
    assert Decision.objects.for_tenant(acme).get().allowed is False


def test_money_that_is_merely_held_is_worth_coming_back_for_soon(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10, period="total")
    held = client.post("/api/budget/check", {**ADA, "estimatedCost": 8, "requestId": "1"}, format="json")
    response = client.post("/api/budget/check", {**ADA, "estimatedCost": 4}, format="json")
    assert (held.status_code, response.status_code, response["Retry-After"]) == (200, 402, "2")
    assert response.json()["resetsAt"] is None


def test_a_frozen_budget_says_no_moment_to_come_back(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10, name="Ada", is_frozen=True)
    response = client.post("/api/budget/check", {**ADA, "estimatedCost": 1}, format="json")
    told = response.json()
    assert (response.status_code, told["reason"], told["resetsAt"]) == (402, "frozen", None)
    assert told["error"] == "Budget 'Ada' is frozen: nothing passes until it is unfrozen."
    assert "Retry-After" not in response


def test_the_budget_that_binds_is_the_one_whose_numbers_are_told(client: Any, acme: Tenant) -> None:
    define(acme, "tenant", 100)
    define(acme, "user:ada", 10)
    define(acme, "user:*", 1, period="total", mode="observe")
    assert (check(client)["limit"], check(client)["remaining"]) == (10, 9)


def test_the_scope_may_come_in_headers_and_the_body_stands_before_them(client: Any, acme: Tenant) -> None:
    define(acme, "session:s-1", 10)
    headers = {"HTTP_X_BUDGET_SCOPE_TYPE": "session", "HTTP_X_BUDGET_SCOPE_KEY": "s-1"}
    assert post(client, "budget/check", {"estimatedCost": 1}, **headers)["limit"] == 10
    assert check(client, headers=headers)["limit"] is None


def test_a_scope_of_any_type_can_be_asked_for(client: Any, acme: Tenant) -> None:
    factories.PriceFactory(model__name="m")
    for scope in ("tenant", "provider:vendor", "model:m"):
        define(acme, scope, 10)
    for scope_type, key in (("tenant", "acme"), ("tenant", "*"), ("provider", "vendor"), ("model", "m")):
        assert check(client, scopeType=scope_type, scopeKey=key)["limit"] == 10


def test_an_estimate_of_nothing_is_worked_out_from_the_models_price(client: Any, acme: Tenant) -> None:
    factories.PriceFactory(model__name="m")
    refresh_all()
    told = check(client, estimatedCost=0, modelId="m", inputTokens=1_000_000, maxOutputTokens=500_000)
    assert told["estimatedCost"] == 3


BAD_SCOPES: list[dict[str, Any]] = [
    {"scopeType": ""},
    {"scopeKey": ""},
    {"scopeKey": "   "},
    {"scopeType": "planet"},
    {"scopeType": "user", "scopeKey": "*"},
    {"scopeType": "tenant", "scopeKey": "globex"},
    {"scopeType": "api_key", "scopeKey": "sh_of_somebody"},
    {"scopeKey": "a\x07b"},
    {"scopeKey": "x" * 201},
    {"scopeType": 5},
    {"scopeKey": ["ada"]},
]
BAD_CHECKS: list[Any] = [
    *({**ADA, "estimatedCost": 1, **scope} for scope in BAD_SCOPES),
    *({**ADA, "estimatedCost": cost} for cost in (-1, "NaN", "Infinity", True, [1], "much", 9_000_001, "1e400")),
    {**ADA, "estimatedCost": 1, "modelId": 5},
    {**ADA, "estimatedCost": 1, "tools": "web"},
    {**ADA, "estimatedCost": 1, "tools": [None]},
    {**ADA, "estimatedCost": 1, "inputTokens": -1},
    {**ADA, "estimatedCost": 1, "requestId": ""},
    {**ADA, "estimatedCost": 1, "requestId": "x" * 191},
    {**ADA, "estimatedCost": 1, "surprise": 1},
    {**ADA, "estimated_cost": 1},
    {**ADA, "modelId": "nobody-knows-me"},
    [],
    "text",
    5,
    None,
]


def test_a_bad_check_is_400_in_the_recipes_shape_and_writes_nothing(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    for body in BAD_CHECKS:
        told = refused(client, "check", body)
        assert [issue.keys() for issue in told["issues"]] == [{"path", "message"}]
    for model in (Decision, Reservation, BudgetWindow):
        assert model.objects.for_tenant(acme).count() == 0


@pytest.mark.parametrize("route", ["check", "record", "reset"])
def test_what_is_no_json_is_400(client: Any, route: str) -> None:
    for body in ("{", '{"scopeType": NaN}', "\x00", ""):
        response = client.generic("POST", f"/api/budget/{route}", body, content_type="application/json")
        assert (response.status_code, sorted(response.json())) == (400, ["code", "error", "issues"]), body


@pytest.mark.parametrize("route", ["check", "record", "reset"])
def test_the_recipes_routes_need_a_key_and_take_post_alone(client: Any, route: str) -> None:
    response = client.get(f"/api/budget/{route}")
    assert (response.status_code, response["Allow"], response.json()["code"]) == (405, "POST", "wrong_method")
    client.credentials()
    post(client, f"budget/{route}", {**ADA, "actualCost": 1}, 401)


# --- a check that holds, and its record ----------------------------------------------------------


def test_a_check_with_a_request_id_holds_its_estimate_until_record(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    told = check(client, estimatedCost=6, requestId="r-1")
    assert told["reservationId"] == str(Reservation.objects.for_tenant(acme).get().id)
    assert standing(client) == ("0.00", "6.00")
    check(client, 402, estimatedCost=5)
    assert record(client, actualCost=2, requestId="r-1")["cost"] == 2
    assert standing(client) == ("2.00", "0.00")
    assert check(client, estimatedCost=8)["remaining"] == 0


def test_a_check_without_a_request_id_holds_nothing(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, estimatedCost=6)
    assert standing(client) == ("0.00", "0.00")
    assert Reservation.objects.for_tenant(acme).count() == 0


def test_a_repeated_check_is_held_once_and_answered_the_same(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    first = check(client, estimatedCost=6, requestId="r-1")
    assert check(client, estimatedCost=6, requestId="r-1") == first
    assert standing(client) == ("0.00", "6.00")


def test_a_request_id_with_another_question_is_400_for_the_recipe_knows_no_409(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, estimatedCost=6, requestId="r-1")
    assert check(client, 400, estimatedCost=2, requestId="r-1")["code"] == "idempotency_conflict"
    assert standing(client) == ("0.00", "6.00")


def test_a_refused_check_holds_nothing_and_its_request_can_be_recorded_all_the_same(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, 402, estimatedCost=11, requestId="r-1")
    assert Reservation.objects.for_tenant(acme).count() == 0
    record(client, actualCost=11, requestId="r-1")
    assert standing(client) == ("11.00", "0.00")


def test_a_held_call_counts_in_the_scope_of_its_check(client: Any, acme: Tenant) -> None:
    check(client, requestId="r-1")
    record(client, requestId="r-1", scopeKey="ben")
    assert CostSpan.objects.for_tenant(acme).get().user == "ada"


def test_the_recipes_request_ids_are_apart_from_native_idempotency_keys(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, estimatedCost=1, requestId="r-1")
    native = {"attribution": {"user": "ada"}, "estimated_cost": 2, "idempotency_key": "r-1"}
    post(client, "v1/reservations", native, 201)
    assert standing(client) == ("0.00", "3.00")


# --- record --------------------------------------------------------------------------------------


def test_a_record_counts_and_answers_with_its_span(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    told = record(client, actualCost="0.25", inputTokens=10, outputTokens=5, modelId="m", metadata={"run": 7})
    span = CostSpan.objects.for_tenant(acme).get()
    assert told == {"ok": True, "spanId": str(span.id), "cost": 0.25, "duplicate": False}
    assert (span.user, span.model, span.input_tokens, span.output_tokens, span.source, span.metadata) == (
        "ada", "m", 10, 5, "recipe", {"run": 7},
    )  # fmt: skip
    assert standing(client) == ("0.25", "0.00")


def test_a_record_without_a_cost_is_priced_by_its_model(client: Any) -> None:
    factories.PriceFactory(model__name="m")
    refresh_all()
    body = {**ADA, "inputTokens": 1000, "outputTokens": 500, "modelId": "m"}
    assert post(client, "budget/record", body)["cost"] == 0.003


@pytest.mark.parametrize("is_checked_first", [True, False])
def test_the_same_request_id_counts_once(client: Any, acme: Tenant, is_checked_first: bool) -> None:
    define(acme, "user:ada", 10)
    if is_checked_first:
        check(client, requestId="r-1")
    first, again = record(client, requestId="r-1"), record(client, requestId="r-1")
    assert (first["duplicate"], again["duplicate"], again["spanId"]) == (False, True, first["spanId"])
    assert standing(client) == ("1.00", "0.00")


def test_a_repeated_record_tells_what_was_booked_not_what_it_asks_for_now(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    record(client, actualCost=1, requestId="r-1")
    again = record(client, actualCost=7, requestId="r-1")
    assert (again["duplicate"], again["cost"]) == (True, 1)
    assert standing(client) == ("1.00", "0.00")


def test_another_cost_for_a_call_that_was_held_and_booked_is_400(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, requestId="r-1")
    record(client, actualCost=1, requestId="r-1")
    assert record(client, 400, actualCost=7, requestId="r-1")["code"] == "reservation_settled"
    assert standing(client) == ("1.00", "0.00")


def test_the_scope_of_a_record_is_joined_by_the_keys_own_attribution(acme: Tenant) -> None:
    record(client_of(acme, attribution={"agent": "bot", "user": "ben"}))
    span = CostSpan.objects.for_tenant(acme).get()
    assert (span.user, span.agent) == ("ada", "bot")


BAD_RECORDS: list[dict[str, Any]] = [
    *BAD_SCOPES,
    {"actualCost": None},
    {"actualCost": -1},
    {"actualCost": "NaN"},
    {"actualCost": "Infinity"},
    {"actualCost": True},
    {"actualCost": 9_000_001},
    {"actualCost": None, "inputTokens": 5},
    {"actualCost": None, "inputTokens": 5, "modelId": "nobody-knows-me"},
    {"inputTokens": -1},
    {"outputTokens": 1.5},
    {"inputTokens": 10**10},
    {"requestId": ""},
    {"metadata": {"x": "y" * 20_000}},
    {"metadata": "x"},
    {"surprise": 1},
]


def test_a_bad_record_is_400_in_the_recipes_shape_and_writes_nothing(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    for facts in BAD_RECORDS:
        refused(client, "record", {**ADA, "actualCost": 1, **facts})
    assert CostSpan.objects.for_tenant(acme).count() == 0
    assert standing(client) == ("0.00", "0.00")


def test_a_bad_record_of_a_held_request_leaves_the_hold(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, requestId="r-1")
    record(client, 400, actualCost=-1, requestId="r-1")
    assert standing(client) == ("0.00", "1.00")


# --- reset ---------------------------------------------------------------------------------------


def test_a_reset_begins_the_scope_afresh_and_says_who_did_it(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    record(client, actualCost=10)
    check(client, 402)
    assert post(client, "budget/reset", ADA) == {"ok": True, "windows": 1}
    assert check(client)["remaining"] == 9
    event = BudgetEvent.objects.for_tenant(acme).get(kind="budget-reset")
    assert (event.spend_nano_usd, event.actor.partition(":")[0]) == (10 * NANO, "key")
    assert CostSpan.objects.for_tenant(acme).get().cost_nano_usd == 10 * NANO


def test_a_reset_of_what_has_no_budget_is_ok_and_touches_nothing(client: Any) -> None:
    assert post(client, "budget/reset", ADA) == {"ok": True, "windows": 0}


def test_the_whole_account_is_reset_by_its_slug_or_a_star(client: Any, acme: Tenant) -> None:
    define(acme, "tenant", 10)
    record(client)
    for key in ("acme", "*"):
        assert post(client, "budget/reset", {"scopeType": "tenant", "scopeKey": key})["windows"] == 1


BAD_RESETS: list[Any] = [
    {},
    {"scopeType": "user"},
    {"scopeType": "user", "scopeKey": ""},
    {"scopeType": "planet", "scopeKey": "mars"},
    {"scopeType": "tenant", "scopeKey": "globex"},
    {"scopeType": "user", "scopeKey": " ada"},
    {"scopeType": "user", "scopeKey": 5},
    {**ADA, "surprise": 1},
    [],
    None,
]


def test_a_bad_reset_is_400_and_resets_nothing(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    record(client)
    for body in BAD_RESETS:
        refused(client, "reset", body)
    assert BudgetEvent.objects.for_tenant(acme).count() == 0


def test_a_reset_needs_the_permission_to_manage(acme: Tenant) -> None:
    told = post(client_of(acme, permissions=["spend"]), "budget/reset", ADA, 403)
    assert told["code"] == "missing_permission"


def test_a_stranger_neither_sees_holds_nor_resets_anything_of_acmes(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    check(client, estimatedCost=2, requestId="r-1")
    record(client, actualCost=3)
    stranger = client_of(factories.globex())
    assert check(stranger, estimatedCost=99)["limit"] is None
    check(stranger, estimatedCost=99, requestId="r-1")
    assert record(stranger, actualCost=99, requestId="r-1")["duplicate"] is False
    assert post(stranger, "budget/reset", ADA)["windows"] == 0
    assert standing(client) == ("3.00", "2.00")
