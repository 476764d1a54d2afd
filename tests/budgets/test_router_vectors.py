"""The recipe's router counted money too: its cases about budgets. The others are in tests/routing/test_router_vectors.py.

A case that we answer differently on purpose says why in one line, and its test asserts our answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from budgets.decisions import Decision
from spendhub.money import parse_usd
from tests.budgets.api import client_of, define, post
from tests.budgets.facts import budget, call, decision
from tests.factories import acme

FILE = Path(__file__).parents[1] / "routing" / "vectors" / "router.json"
BY_NAME = {vector["name"]: vector for vector in json.loads(FILE.read_text("utf-8"))}

Test = Callable[..., None]


def case(name: str, differs: str = "") -> Callable[[Test], Test]:
    """Marks the test that runs the case; `differs` is the reason where ours is another answer."""
    return pytest.mark.parametrize("vector", [BY_NAME[name]], ids=[name])


def checked(vector: dict[str, Any], estimate: str, **facts: Any) -> Decision:
    given = vector["given"]
    of = budget("user:ada", str(given["dailyLimit"]), period="day", **facts)
    return decision(call(estimate), (of, str(given["spent"]), "0"))


@case("router budget: exactly the remaining is allowed")
def test_exactly_the_remaining_is_allowed(vector: dict[str, Any]) -> None:
    told = checked(vector, "2")
    assert {"allowed": told.allowed, "remaining": told.remaining_nano_usd} == vector["then"]


@case("router budget: soft limit")
def test_a_budget_that_only_observes_says_what_it_would_have_done(vector: dict[str, Any]) -> None:
    assert vector["given"]["hardLimit"] is False
    told = checked(vector, "1", is_enforced=False)
    (looked_at,) = told.looked_at
    assert {
        "allowed": told.allowed,
        "limitExceeded": looked_at.action == "hard-stop",
        "remaining": looked_at.remaining_nano_usd,
    } == vector["then"]


@pytest.mark.django_db(transaction=True)
@case("router budget: negative estimate", "what makes no sense is a 400, not a full budget")
def test_a_negative_estimate_is_refused(vector: dict[str, Any]) -> None:
    assert vector["then"]["allowed"] is False
    told = post(client_of(acme()), "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": -1}, 400)
    assert told["error"]["message"] == "'-1' is not an amount of 0 USD or more"


@pytest.mark.django_db(transaction=True)
@case("router budget: new day resets lazily")
def test_on_a_new_day_nothing_is_spent(vector: dict[str, Any]) -> None:
    tenant, given = acme(), vector["given"]
    define(tenant, "user:ada", given["dailyLimit"], period="day")
    client = client_of(tenant)
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    spent = {"request_id": "r", "cost": str(given["spent"]), "occurred_at": yesterday, "attribution": {"user": "ada"}}
    post(client, "v1/spans", spent, 202)
    told = post(client, "v1/check", {"attribution": {"user": "ada"}, "estimated_cost": "0"})
    assert parse_usd(told["remaining"]) == parse_usd(str(vector["then"]))


@case("remaining budget exhausted gives no model, not a budget error", "it is the budget that is told, by its name")
def test_a_budget_that_is_used_up_is_told_as_such(vector: dict[str, Any]) -> None:
    assert vector["given"]["remainingBudget"] == 0
    told = decision(call("0.000000001"), (budget("user:ada", "10"), "10", "0"))
    assert (told.allowed, told.reason) == (False, "exhausted")
    assert told.bound is not None and told.bound.matched.budget.name == "user:ada"
    # As 402 of the gateway and 429 of the recipe's router: tests/gateway/test_fallback.py.
