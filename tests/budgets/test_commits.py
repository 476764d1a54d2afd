"""Commits over the API: late, repeated, unknown, above what was held; each has one answer."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from budgets.models import Reservation
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from tests import factories
from tests.budgets.api import client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    define(acme, "user:ada", 10)
    return client_of(acme)


def hold(client: Any, cost: Any, **facts: Any) -> str:
    body = {"attribution": {"user": "ada"}, "estimated_cost": cost, **facts}
    told: str = post(client, "v1/reservations", body, 201)["id"]
    return told


def commit(client: Any, reservation_id: Any, status: int = 200, **body: Any) -> dict[str, Any]:
    return post(client, f"v1/reservations/{reservation_id}/commit", body, status)


def standing(client: Any) -> tuple[str, str]:
    row = get(client, "v1/budgets")["results"][0]
    return row["spent"], row["reserved"]


def test_a_commit_books_the_actual_cost_and_releases_the_rest(client: Any) -> None:
    reservation_id = hold(client, 1)
    told = commit(client, reservation_id, actual_cost="0.25")
    assert (told["cost"], told["released"], told["over"]) == ("0.25", "0.75", "0.00")
    assert (told["is_repeat"], told["is_late"]) == (False, False)
    assert standing(client) == ("0.25", "0.00")
    assert get(client, f"v1/reservations/{reservation_id}")["status"] == "committed"
    assert get(client, f"v1/spans/{told['span_id']}")["reserved"] == "1.00"


def test_more_than_was_held_is_booked_in_full_and_shown_as_such(client: Any) -> None:
    told = commit(client, hold(client, 1), actual_cost="1.5")
    assert (told["cost"], told["released"], told["over"]) == ("1.50", "0.00", "0.50")
    assert standing(client) == ("1.50", "0.00")


def test_a_repeated_commit_answers_the_same_and_counts_once(client: Any, acme: Tenant) -> None:
    reservation_id = hold(client, 1)
    first = commit(client, reservation_id, actual_cost="0.25", request_id="r-1")
    again = commit(client, reservation_id, actual_cost="0.25", request_id="r-1")
    assert again == {**first, "is_repeat": True}
    assert standing(client) == ("0.25", "0.00")
    assert CostSpan.objects.for_tenant(acme).count() == 1


def test_a_commit_with_another_cost_is_a_conflict_and_changes_nothing(client: Any) -> None:
    reservation_id = hold(client, 1)
    commit(client, reservation_id, actual_cost="0.25")
    assert commit(client, reservation_id, 409, actual_cost="0.30")["error"]["code"] == "reservation_settled"
    assert standing(client) == ("0.25", "0.00")


def test_a_late_commit_counts_all_the_same(client: Any, acme: Tenant) -> None:
    reservation_id = hold(client, 1)
    past = timezone.now() - timedelta(seconds=1)
    Reservation.objects.for_tenant(acme).update(expires_at=past)
    assert get(client, f"v1/reservations/{reservation_id}")["status"] == "expired"
    assert commit(client, reservation_id, actual_cost="0.25")["is_late"] is True
    assert standing(client) == ("0.25", "0.00")


def test_an_unknown_reservation_is_404_and_nothing_is_booked(client: Any, acme: Tenant) -> None:
    assert commit(client, uuid.uuid4(), 404, actual_cost=1)["error"]["code"] == "reservation_missing"
    assert CostSpan.objects.for_tenant(acme).count() == 0


def test_usage_is_priced_by_the_model_that_was_reserved(client: Any) -> None:
    factories.PriceFactory(model__name="small")
    refresh_all()
    reservation_id = hold(client, 1, model="small")
    told = commit(client, reservation_id, usage={"input_tokens": 1000, "output_tokens": 500})
    assert told["cost"] == "0.003"  # 1,000 x 1 USD + 500 x 4 USD, per million
    assert get(client, f"v1/spans/{told['span_id']}")["breakdown"] == {"input": "0.001", "output": "0.002"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"usage": {"input_tokens": 5}},
        {"actual_cost": -1},
        {"actual_cost": "NaN"},
        {"usage": {"input_tokens": 1, "cache_read_tokens": 2}},
        {"usage": {"output_tokens": 1, "reasoning_tokens": 2}},
        {"actual_cost": 1, "status": "splendid"},
        {"actual_cost": 1, "metadata": {"x": "y" * 20_000}},
        {"actual_cost": 1, "surprise": 1},
    ],
)
def test_a_commit_that_cannot_be_understood_is_400_and_leaves_the_hold(client: Any, acme: Tenant, body: Any) -> None:
    reservation_id = hold(client, 1)
    post(client, f"v1/reservations/{reservation_id}/commit", body, 400)
    assert standing(client) == ("0.00", "1.00")
    assert CostSpan.objects.for_tenant(acme).count() == 0


def test_usage_of_another_tier_with_searches_is_priced_as_its_vendor_would(client: Any) -> None:
    price = factories.PriceFactory(model__name="small")
    factories.PriceFactory(
        model=price.model, service_tier="priority", input_nano_usd_per_mtok=2_000_000_000,
        web_search_nano_usd_per_thousand=10_000_000_000,
    )  # fmt: skip
    refresh_all()
    # Held for 1,000 tokens at 2 USD per million, and 3 searches: 0.01 USD and 8,000 tokens each.
    held = post(
        client, "v1/reservations",
        {"model": "small", "input_tokens": 1000, "max_output_tokens": 0, "service_tier": "priority", "web_searches": 3},
        201,
    )  # fmt: skip
    assert held["estimated_cost"] == "0.08"
    told = commit(client, held["id"], usage={"input_tokens": 1000, "service_tier": "priority", "web_searches": 1})
    assert told["cost"] == "0.012"
    span = get(client, f"v1/spans/{told['span_id']}")
    assert (span["breakdown"], span["is_estimated"]) == ({"input": "0.002", "web_search": "0.01"}, False)
    assert span["metadata"] == {"service_tier": "priority", "web_searches": 1}
