"""Money held over the API: once per key, in every budget or in none, until it is settled or ends by itself."""

from __future__ import annotations

from typing import Any

import pytest

from budgets.models import Reservation
from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)

ADA = {"user": "ada"}


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def hold(client: Any, cost: Any, status: int = 201, **facts: Any) -> dict[str, Any]:
    return post(client, "v1/reservations", {"attribution": ADA, "estimated_cost": cost, **facts}, status)


def held(client: Any) -> list[str]:
    return [row["reserved"] for row in get(client, "v1/budgets")["results"]]


def test_a_reservation_holds_its_estimate_in_every_matching_budget(acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    define(acme, "tenant", 100)
    client = client_of(acme)
    told = hold(client, "0.60", ttl_seconds=90)
    assert (told["amount"], told["allowed"], told["remaining"]) == ("0.60", True, "9.40")
    assert held(client) == ["0.60", "0.60"]
    kept = get(client, f"v1/reservations/{told['id']}")
    assert (kept["status"], kept["amount"], kept["attribution"]) == ("held", "0.60", ADA)


def test_a_call_is_stopped_when_another_one_holds_the_last_of_the_budget(acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    define(acme, "tenant", 100)
    client = client_of(acme)
    hold(client, "0.60")
    refused = hold(client, "0.50", 402)
    assert (refused["error"]["details"]["scope"], refused["error"]["details"]["remaining"]) == ("user:ada", "0.40")
    assert held(client) == ["0.60", "0.60"]
    assert Reservation.objects.for_tenant(acme).count() == 1


def test_the_same_idempotency_key_is_held_once_and_answered_the_same(acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    client = client_of(acme)
    first = hold(client, "0.60", idempotency_key="k-1")
    assert hold(client, "0.60", 200, idempotency_key="k-1") == first
    assert held(client) == ["0.60"]


def test_the_key_may_come_as_a_header(acme: Tenant) -> None:
    client = client_of(acme)
    body = {"estimated_cost": 1}
    first = post(client, "v1/reservations", body, 201, HTTP_IDEMPOTENCY_KEY="k-1")
    assert post(client, "v1/reservations", body, 200, HTTP_IDEMPOTENCY_KEY="k-1") == first


def test_a_key_used_for_another_request_is_a_conflict(acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    client = client_of(acme)
    hold(client, "0.60", idempotency_key="k-1")
    assert hold(client, "0.70", 409, idempotency_key="k-1")["error"]["code"] == "idempotency_conflict"
    assert held(client) == ["0.60"]


def test_another_tenants_key_is_not_a_repeat(acme: Tenant) -> None:
    hold(client_of(acme), 1, idempotency_key="k-1")
    hold(client_of(factories.globex()), 2, 201, idempotency_key="k-1")


def test_a_release_gives_the_money_back_and_may_be_repeated(acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    client = client_of(acme)
    path = f"v1/reservations/{hold(client, '0.60')['id']}/release"
    first = post(client, path)
    assert (first["status"], first["released"]) == ("released", "0.60")
    assert post(client, path) == first
    assert held(client) == ["0.00"]


def test_what_was_released_cannot_be_committed_and_the_other_way_round(acme: Tenant) -> None:
    client = client_of(acme)
    released, committed = hold(client, 1)["id"], hold(client, 1)["id"]
    post(client, f"v1/reservations/{released}/release")
    told = post(client, f"v1/reservations/{released}/commit", {"actual_cost": 1}, 409)
    assert told["error"]["code"] == "reservation_settled"
    post(client, f"v1/reservations/{committed}/commit", {"actual_cost": 1})
    post(client, f"v1/reservations/{committed}/release", None, 409)


def test_a_frozen_budget_holds_nothing_until_it_is_unfrozen(acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10)
    client = client_of(acme)
    post(client, f"v1/budgets/{budget.id}/freeze")
    assert hold(client, "0.60", 402)["reason"] == "frozen"
    post(client, f"v1/budgets/{budget.id}/unfreeze")
    hold(client, "0.60", 201)


@pytest.mark.parametrize("path", ["", "/release", "/commit"])
def test_a_strangers_reservation_does_not_exist(acme: Tenant, path: str) -> None:
    mine = hold(client_of(acme), 1)["id"]
    stranger = client_of(factories.globex())
    if path:
        post(stranger, f"v1/reservations/{mine}{path}", {"actual_cost": 1}, 404)
    else:
        get(stranger, f"v1/reservations/{mine}", 404)
    assert Reservation.objects.for_tenant(acme).get().status == "held"


@pytest.mark.parametrize(
    "facts",
    [
        {"ttl_seconds": 0},
        {"ttl_seconds": 86_401},
        {"ttl_seconds": True},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 201},
        {"idempotency_key": "a\nb"},
        {"idempotency_key": 5},
    ],
)
def test_what_cannot_be_held_is_400(acme: Tenant, facts: dict[str, Any]) -> None:
    hold(client_of(acme), 1, 400, **facts)
    assert Reservation.objects.for_tenant(acme).count() == 0
