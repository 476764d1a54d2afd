"""A parameter that an address does not know is refused, whatever the route, and nothing happens."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from spendhub.snapshots import refresh_all
from tests import factories
from tests.routes import Route, every_route

pytestmark = pytest.mark.django_db

# Documents about the API, by the library that draws them.
NOT_OURS = ("/api/schema/", "/api/docs/")
NOBODY = "01a20f64-0000-7000-8000-000000000000"


@pytest.fixture
def client() -> Client:
    secret = factories.ApiKeyFactory(tenant=factories.acme()).secret
    refresh_all()
    return Client(headers={"authorization": f"Bearer {secret}"})


def addresses() -> list[tuple[Route, str]]:
    found = [route for route in every_route("/api/") if route.template not in NOT_OURS]
    return [(route, route.address("7") or route.address(NOBODY) or "") for route in found]


def calls() -> list[tuple[str, str]]:
    return sorted({(method, address) for route, address in addresses() for method in route.methods})


def ask(client: Client, method: str, address: str) -> Any:
    return client.generic(method, address, b"{}", content_type="application/json")


def test_every_route_is_asked() -> None:
    assert all(address for _, address in addresses())
    assert {("post", "/api/v1/check"), ("get", "/api/v1/quality-weights"), ("patch", f"/api/v1/budgets/{NOBODY}"),
            ("post", f"/api/v1/budgets/{NOBODY}/raises"), ("delete", "/api/v1/keys/7"), ("post", "/api/budget/check"),
            ("get", f"/api/v1/spans/{NOBODY}")} <= set(calls())  # fmt: skip


def told_field(answered: Any) -> str:
    """The field that a refusal is about, in the native shape or the recipe's."""
    told = answered.json()
    if "issues" in told:
        return f"{told['code']}: {told['issues'][0]['path']}"
    return f"{told['error']['code']}: {told['error']['details'].get('field')}"


def test_an_unknown_parameter_is_refused_by_name_whatever_is_asked(client: Client) -> None:
    taken = {}
    for method, address in calls():
        answered = ask(client, method.upper(), f"{address}?foo=1")
        found = answered.status_code, told_field(answered) if answered.status_code == 400 else ""
        if found != (400, "invalid_query: foo"):
            taken[f"{method} {address}"] = found
    assert taken == {}


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("post", "/api/v1/check"), ("post", "/api/v1/budgets"), ("post", f"/api/v1/budgets/{NOBODY}/raises"),
        ("get", "/api/v1/usage"), ("get", "/api/v1/quality-weights"), ("get", "/api/v1/keys/7"),
        ("get", f"/api/v1/budgets/{NOBODY}/windows"), ("get", "/api/v1/breakers"),
    ],
)  # fmt: skip
def test_what_has_no_pages_takes_no_page(client: Client, method: str, address: str) -> None:
    answered = ask(client, method.upper(), f"{address}?limit=5")
    assert (answered.status_code, answered.json()["error"]["details"].get("field")) == (400, "limit")


@pytest.mark.parametrize(
    "address",
    ["budgets", "decisions", "events", "brakes", "brake-stops", "cache-rules", "credentials", "feedback", "keys", "models",
     "prices", "providers", "routes", "spans"],
)  # fmt: skip
def test_lists_take_a_limit_and_say_what_else_they_take(client: Client, address: str) -> None:
    answered = client.get(f"/api/v1/{address}?limit=5&format=json")
    assert (answered.status_code, answered.json()["results"]) == (200, answered.json()["results"])
    assert "cursor" in client.get(f"/api/v1/{address}?foo=1").json()["error"]["message"]


def test_a_budgets_own_lists_have_pages_too(client: Client) -> None:
    budget = client.post(
        "/api/v1/budgets", {"scope_type": "user", "limit": "1"}, content_type="application/json"
    ).json()["id"]
    for name in ("raises", "events"):
        assert client.get(f"/api/v1/budgets/{budget}/{name}?limit=5").status_code == 200
    assert client.get(f"/api/v1/budgets/{budget}/suggestion?model=m").status_code == 200


def test_a_stranger_is_not_told_of_parameters() -> None:
    for address in ("/api/v1/quality-weights?foo=1", "/api/v1/keys/7?foo=1"):
        assert Client().get(address).status_code == 401
    assert Client().post("/api/v1/check?foo=1", {}, content_type="application/json").status_code == 401
