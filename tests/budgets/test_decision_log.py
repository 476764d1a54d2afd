"""What is kept of decisions, for whom, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from budgets import retention
from budgets.decision_log import keep_sample
from budgets.models import Decision, Reservation
from budgets.retention import prune_decisions, prune_reservations
from spendhub import group_commit
from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import client_of, define, get, post
from tests.budgets.facts import budget, call, decision

pytestmark = pytest.mark.django_db(transaction=True)

ADA = {"attribution": {"user": "ada"}}


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    return client_of(acme)


def written(acme: Tenant) -> list[str]:
    """The actions of the decisions on disk, once the writer has nothing left to do."""
    group_commit.writer().close()
    return list(Decision.objects.for_tenant(acme).order_by("created_at", "id").values_list("action", flat=True))


@pytest.mark.parametrize(("share", "kept"), [(0, []), (1, ["allow"])])
def test_of_the_allowed_a_share_is_kept(
    client: Any, acme: Tenant, settings: Any, share: float, kept: list[str]
) -> None:
    settings.DECISION_SAMPLE = share
    define(acme, "user:ada", 10)
    post(client, "v1/check", {**ADA, "estimated_cost": 1})
    assert written(acme) == kept


@pytest.mark.parametrize(("estimate", "kept"), [("1", 0), ("9", 1)])
def test_those_that_warn_are_kept_ten_times_as_often(
    acme: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch, estimate: str, kept: int
) -> None:
    settings.DECISION_SAMPLE = 0.05
    monkeypatch.setattr("budgets.decision_log.random.random", lambda: 0.4)  # the dice, not our code
    of = define(acme, "user:ada", 10)
    keep_sample(decision(call(estimate, tenant_id=acme.pk), (budget("user:ada", id=of.id), "0", "0")))
    assert len(written(acme)) == kept


def test_decisions_are_listed_the_latest_first_filtered_and_in_pages(client: Any, acme: Tenant) -> None:
    budgets = {user: define(acme, f"user:{user}", 1) for user in ("ada", "ben")}
    for user, model in (("ada", "m"), ("ben", "n"), ("ada", "n")):
        body = {"attribution": {"user": user}, "estimated_cost": 5, "model": model}
        post(client, "v1/check", body, 402)

    def seen(**query: Any) -> list[tuple[str, str]]:
        rows = get(client, "v1/decisions", **query)["results"]
        return [(row["attribution"]["user"], row["model"]) for row in rows]

    assert seen() == [("ada", "n"), ("ben", "n"), ("ada", "m")]
    assert seen(budget=str(budgets["ben"].id)) == [("ben", "n")]
    assert seen(model="m") == [("ada", "m")]
    assert seen(action="hard-stop", allowed="false") == seen()
    assert seen(action="warn") == []
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    assert (seen(**{"from": tomorrow}), seen(to=tomorrow)) == ([], seen())
    page = get(client, "v1/decisions", limit=2)
    assert [len(page["results"]), len(client.get(page["next"]).json()["results"])] == [2, 1]
    for wrong in ({"allowed": "maybe"}, {"budget": "one"}, {"from": "soon"}, {"planet": "mars"}):
        get(client, "v1/decisions", 400, **wrong)


def test_decisions_are_for_reading_only(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    refused = post(client, "v1/check", {**ADA, "estimated_cost": 5}, 402)
    for method in ("post", "put", "patch", "delete"):
        address = f"/api/v1/decisions/{refused['decision_id']}"
        assert getattr(client, method)(address, {}, format="json").status_code == 405
    get(client_of(acme, permissions=["spend"]), "v1/decisions", 403)


def test_old_decisions_go_in_small_portions_and_young_ones_stay(
    client: Any, acme: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DECISION_DAYS = 30
    monkeypatch.setattr(retention, "PORTION", 2)
    define(acme, "user:ada", 1)
    ids = [post(client, "v1/check", {**ADA, "estimated_cost": 5}, 402)["decision_id"] for _ in range(4)]
    now = timezone.now()
    Decision.objects.for_tenant(acme).filter(id__in=ids[:3]).update(created_at=now - timedelta(days=30, seconds=1))
    assert [prune_decisions(now) for _ in range(3)] == [2, 1, 0]
    assert [str(row.id) for row in Decision.objects.for_tenant(acme)] == ids[3:]


def test_reservations_are_understood_for_as_long_as_decisions_are_kept(
    client: Any, acme: Tenant, settings: Any
) -> None:
    settings.DECISION_DAYS = 30
    for key in ("old", "young"):
        post(client, "v1/reservations", {**ADA, "estimated_cost": 1, "idempotency_key": key}, 201)
    now = timezone.now()
    old = Reservation.objects.for_tenant(acme).filter(idempotency_key="old")
    old.update(expires_at=now - timedelta(days=30, seconds=1))
    assert [prune_reservations(now), prune_reservations(now)] == [1, 0]
    assert Reservation.objects.for_tenant(acme).get().idempotency_key == "young"
