"""Commits over the API: late, repeated, unknown, above what was held; each has one answer."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from budgets.models import Reservation
from budgets.retention import prune_reservations
from spendhub import group_commit
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan
from telemetry.request_ids import RequestIdTaken
from telemetry.span_store import SpanBatch, store_spans
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

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


def test_a_commit_under_another_reservations_request_id_is_a_conflict_and_its_money_stays_held(
    client: Any, acme: Tenant
) -> None:
    first, other = hold(client, 1), hold(client, 1)
    commit(client, first, actual_cost="0.25", request_id="r-1")
    for cost in ("0.25", "0.75"):
        told = commit(client, other, 409, actual_cost=cost, request_id="r-1")["error"]
        assert (told["code"], told["details"]) == ("request_id_taken", {"request_id": "r-1"})
    assert get(client, f"v1/reservations/{other}")["status"] == "held"
    assert standing(client) == ("0.25", "1.00")
    assert commit(client, other, actual_cost="0.75", request_id="r-2")["is_repeat"] is False
    assert standing(client) == ("1.00", "0.00")
    assert CostSpan.objects.for_tenant(acme).count() == 2


def test_a_repeat_under_another_reservations_request_id_is_a_conflict_even_at_the_same_cost(client: Any) -> None:
    first, other = hold(client, 1), hold(client, 1)
    commit(client, first, actual_cost="0.25", request_id="r-1")
    commit(client, other, actual_cost="0.25", request_id="r-2")
    told = commit(client, other, 409, actual_cost="0.25", request_id="r-1")
    assert told["error"]["code"] == "reservation_settled"
    assert standing(client) == ("0.50", "0.00")


def test_a_commit_under_the_request_id_of_a_span_that_says_another_cost_is_a_conflict(client: Any) -> None:
    reservation_id = hold(client, 2)
    post(client, "v1/spans", {"request_id": "r-1", "cost": "0.01", "attribution": {"user": "ada"}}, 202)
    assert commit(client, reservation_id, 409, actual_cost=2, request_id="r-1")["error"]["code"] == "request_id_taken"
    assert standing(client) == ("0.01", "2.00")


def test_a_commit_under_a_taken_request_id_is_refused_before_it_comes_to_those_that_share_its_commit(
    client: Any, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation_id = hold(client, 2)
    post(client, "v1/spans", {"request_id": "r-1", "cost": "0.01", "attribution": {"user": "ada"}}, 202)
    submitted: list[Any] = []
    submit = group_commit.submit

    def watched(applier: Any, *args: Any, **named: Any) -> Any:
        submitted.append(applier)
        return submit(applier, *args, **named)

    monkeypatch.setattr(group_commit, "submit", watched)
    assert commit(client, reservation_id, 409, actual_cost=2, request_id="r-1")["error"]["code"] == "request_id_taken"
    assert submitted == []
    commit(client, reservation_id, actual_cost=2, request_id="r-2")
    assert submitted == [store_spans]


def test_an_idempotency_key_that_is_used_again_once_it_is_forgotten_makes_a_reservation_like_any_other(
    client: Any, acme: Tenant, settings: Any
) -> None:
    settings.DECISION_DAYS = 30
    spans = []
    for cost in ("0.25", "0.25", "0.75"):
        reservation_id = hold(client, 1, idempotency_key="job-1")
        told = commit(client, reservation_id, actual_cost=cost)
        assert (told["cost"], told["is_repeat"]) == (cost, False)
        assert commit(client, reservation_id, actual_cost=cost) == {**told, "is_repeat": True}
        assert get(client, f"v1/reservations/{reservation_id}")["span_id"] == told["span_id"]
        spans.append(told["span_id"])
        past = timezone.now() - timedelta(days=31)
        Reservation.objects.for_tenant(acme).update(expires_at=past)
        assert prune_reservations(timezone.now()) == 1
    assert standing(client) == ("1.25", "0.00")
    assert len(set(spans)) == CostSpan.objects.for_tenant(acme).count() == 3


def test_commits_of_two_reservations_that_meet_under_one_request_id_are_one_booked_and_one_refused(
    client: Any, acme: Tenant
) -> None:
    held = [uuid.UUID(hold(client, 1)) for _ in range(2)]
    now = timezone.now()
    batches = [
        SpanBatch(
            acme.pk, (SpanDraft("r-1", now, "api", NANO, reservation_id=each, id=each),), now, reservation_id=each
        )
        for each in held
    ]
    with pytest.raises(RequestIdTaken), transaction.atomic():
        store_spans(batches)
    # What the writer does then.
    futures = [group_commit.submit(store_spans, batch) for batch in batches]
    assert (futures[0].result().accepted, type(futures[1].exception())) == (1, RequestIdTaken)
    assert [get(client, f"v1/reservations/{each}")["status"] for each in held] == ["committed", "held"]


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
