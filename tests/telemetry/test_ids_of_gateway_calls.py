"""The gateway's calls are booked by the gateway: nobody who knows the id of one can put another cost in its place."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from budgets.calls import Call
from budgets.counters.drive import drive, drive_async
from budgets.models import BudgetWindow, Reservation
from budgets.reservations import HeldCall, reserve
from spendhub.ids import is_call_id, new_call_id, new_id
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.interrupted import book_interrupted, payload_for
from telemetry.models import CostSpan, SpanCorrection
from telemetry.recording import settle_call
from telemetry.span_store import StoredBatch
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Attribution(user="ada")
COST = 3 * NANO


@pytest.fixture
def acme() -> Tenant:
    acme = factories.acme()
    define(acme, "user:ada", 10)
    return acme


@pytest.fixture
def client(acme: Tenant) -> Any:
    """It may spend, and no more."""
    return client_of(acme, permissions=["spend"])


def begin(acme: Tenant, now: datetime) -> HeldCall:
    """A call of the gateway that has been held, and that its vendor answers."""
    call, call_id = Call(acme.pk, now, COST, ADA, "sh_1", "vendor", "m"), new_call_id()
    return drive(reserve(call, hold_id=call_id, ttl_seconds=60, payload=payload_for(call, str(call_id), "m", "t", {})))


def id_of(held: HeldCall) -> str:
    assert held.hold is not None
    return str(held.hold.hold_id)


def draft_of(held: HeldCall) -> SpanDraft:
    return SpanDraft(id_of(held), held.call.now, "gateway", COST, ADA, "sh_1", "vendor", "m")


def by_group_commit(held: HeldCall) -> StoredBatch:
    return drive(settle_call(held, draft_of(held), timezone.now()))


def on_the_event_loop(held: HeldCall) -> StoredBatch:
    return asyncio.run(drive_async(settle_call(held, draft_of(held), timezone.now())))


def spent(acme: Tenant) -> int:
    return sum(BudgetWindow.objects.for_tenant(acme).values_list("spend_nano_usd", flat=True))


def reservation_of(client: Any) -> str:
    held: str = post(client, "v1/reservations", {"attribution": {"user": "ada"}, "estimated_cost": 1}, 201)["id"]
    return held


def report(client: Any, request_id: str, status: int, cost: Any = 0) -> dict[str, Any]:
    return post(client, "v1/spans", {"request_id": request_id, "cost": cost, "attribution": {"user": "ada"}}, status)


def test_its_ids_are_told_apart_from_all_others_by_their_form() -> None:
    made = [new_call_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert {(each.version, each.variant) for each in made} == {(8, uuid.RFC_4122)}
    assert all(is_call_id(str(each)) for each in made)
    others = (str(new_id()), str(uuid.uuid4()), str(uuid.uuid5(new_id(), "x")), uuid.uuid4().hex, "r-1", "")
    assert [is_call_id(each) for each in others] == [False] * 6


@pytest.mark.parametrize("book", [by_group_commit, on_the_event_loop])
def test_what_a_call_has_cost_is_counted_whatever_its_client_has_said_of_it_while_it_ran(
    acme: Tenant, client: Any, book: Callable[[HeldCall], StoredBatch]
) -> None:
    held = begin(acme, timezone.now())
    assert report(client, id_of(held), 409)["error"]["code"] == "call_not_booked"
    told = post(client, "v1/spans", [{"cost": 1}, {"request_id": id_of(held), "cost": 0}], 400)["error"]["details"]
    assert [(each["index"], each["code"]) for each in told["errors"]] == [(1, "call_not_booked")]
    recorded = {"scopeType": "user", "scopeKey": "ada", "actualCost": 0, "requestId": id_of(held)}
    assert post(client, "budget/record", recorded, 400)["code"] == "call_not_booked"
    assert not CostSpan.objects.for_tenant(acme).exists()

    assert book(held).accepted == 1

    assert spent(acme) == COST
    assert CostSpan.objects.for_tenant(acme).get().source == "gateway"


def test_without_that_a_client_could_make_its_own_calls_free(
    acme: Tenant, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr("telemetry.request_ids.is_call_id", lambda text: False)
    held = begin(acme, timezone.now())
    report(client, id_of(held), 202)
    assert by_group_commit(held).accepted == 0
    assert spent(acme) == 0


def test_a_commit_under_the_id_of_a_call_under_way_is_refused_and_its_money_stays_held(
    acme: Tenant, client: Any
) -> None:
    held, reservation_id = begin(acme, timezone.now()), reservation_of(client)
    body = {"actual_cost": 0, "request_id": id_of(held)}
    told = post(client, f"v1/reservations/{reservation_id}/commit", body, 409)["error"]
    assert (told["code"], told["details"]) == ("call_not_booked", {"request_id": id_of(held)})
    assert Reservation.objects.for_tenant(acme).get().status == "held"
    by_group_commit(held)
    assert spent(acme) == COST


def test_a_client_that_reports_a_call_that_is_booked_is_told_of_the_span_that_is_there(
    acme: Tenant, client: Any
) -> None:
    held = begin(acme, timezone.now())
    by_group_commit(held)
    span = CostSpan.objects.for_tenant(acme).get()
    assert report(client, id_of(held), 202) == {"accepted": 0, "duplicates": 1, "ids": [str(span.id)]}
    recorded = {"scopeType": "user", "scopeKey": "ada", "actualCost": 0, "requestId": id_of(held)}
    told = post(client, "budget/record", recorded)
    assert (told["duplicate"], told["spanId"], told["cost"]) == (True, str(span.id), 3)
    reservation_id = reservation_of(client)
    body = {"actual_cost": 0, "request_id": id_of(held)}
    post(client, f"v1/reservations/{reservation_id}/commit", body, 409)
    assert spent(acme) == COST


def test_what_an_interrupted_call_was_booked_at_is_corrected_by_its_own_answer_and_by_no_client(
    acme: Tenant, client: Any
) -> None:
    held = begin(acme, timezone.now() - timedelta(seconds=120))
    assert book_interrupted(timezone.now()) == 1
    for cost in (0, 9):
        assert report(client, id_of(held), 202, cost)["duplicates"] == 1
    span = CostSpan.objects.for_tenant(acme).get()
    assert (span.status, span.cost_nano_usd, spent(acme)) == ("interrupted", COST, COST)
    assert not SpanCorrection.objects.for_tenant(acme).exists()

    late = SpanDraft(id_of(held), held.call.now, "gateway", NANO, ADA, "sh_1", "vendor", "m")
    drive(settle_call(held, late, timezone.now()))

    span.refresh_from_db()
    assert (span.status, span.cost_nano_usd, spent(acme)) == ("ok", NANO, NANO)


def test_an_id_of_that_form_in_another_account_says_nothing_of_this_one(acme: Tenant, client: Any) -> None:
    held = begin(acme, timezone.now())
    by_group_commit(held)
    stranger = client_of(factories.globex())
    assert report(stranger, id_of(held), 409)["error"]["code"] == "call_not_booked"
    assert get(stranger, "v1/spans")["results"] == []


def test_ids_of_ones_own_stay_free_whatever_kind_of_uuid_they_are(acme: Tenant, client: Any) -> None:
    for request_id in (str(new_id()), str(uuid.uuid4()), str(new_call_id()).upper()):
        assert report(client, request_id, 202, 1)["accepted"] == 1
    assert spent(acme) == 3 * NANO
