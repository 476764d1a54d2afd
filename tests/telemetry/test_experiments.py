"""How experiments turn out: arm beside arm from what calls keep of their choice, and a verdict in plain words."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from routing.models import Route
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan, Feedback
from tests import factories
from tests.budgets.api import client_of, get

NANO = 10**9
SPLIT = {"old": 0.75, "new": 0.25}

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> Tenant:
    return factories.acme()


def set_up(tenant: Tenant, name: str = "support", **options: Any) -> None:
    Route.objects.create(tenant=tenant, name=name, strategy="weighted", options={"split": SPLIT, **options})
    refresh_all()


def book(tenant: Tenant, arm: str, count: int = 1, *, rated: float | None = None, **facts: Any) -> list[CostSpan]:
    """Records `count` calls that drew `arm`, answered by it unless `model` says otherwise."""
    at = facts.pop("at", timezone.now() - timedelta(minutes=1))
    choice = {"route": "support", "experiment": "support", "arm": arm, **facts.pop("metadata", {})}
    values = {"source": "gateway", "model": arm, "status": "ok", "duration_ms": 100, "cost_nano_usd": NANO, **facts}
    spans = CostSpan.objects.for_tenant(tenant).bulk_create(
        CostSpan(tenant=tenant, request_id=uuid.uuid4().hex, occurred_at=at, recorded_at=at, metadata=choice, **values)
        for _ in range(count)
    )
    if rated is not None:
        rate(spans, rated)
    return spans


def rate(spans: list[CostSpan], overall: float | None, source: str = "caller", thumbs: str = "") -> None:
    Feedback.objects.for_tenant(spans[0].tenant_id).bulk_create(
        Feedback(tenant_id=span.tenant_id, span=span, source=source, at=timezone.now(), model=span.model,
                 overall=overall, thumbs=thumbs)
        for span in spans
    )  # fmt: skip


def arms_of(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["name"]: arm for arm in told["arms"]}


def test_each_arm_is_told_with_its_calls_cost_speed_and_quality(acme: Tenant) -> None:
    set_up(acme)
    for milliseconds in (100, 200, 300):
        book(acme, "old", duration_ms=milliseconds, rated=4)
    book(acme, "old", status="error", duration_ms=9_000, cost_nano_usd=0)
    book(acme, "new", 4, cost_nano_usd=NANO // 2)
    told = get(client_of(acme), "v1/experiments/support")
    assert (told["name"], told["routes"]) == ("support", ["support"])
    assert told["sample"] == {"calls": 8, "recorded": 8, "at_most": 20_000}
    assert [arm["name"] for arm in told["arms"]] == ["old", "new"]
    assert arms_of(told)["old"] == {
        "name": "old", "share_wanted": 0.75, "share_seen": 0.5, "calls": 4, "errors": 1, "success_rate": 0.75,
        "cost": "3.00", "cost_per_call": "0.75", "p50_ms": 200.0, "p95_ms": 290.0, "p99_ms": 298.0, "quality": 4.0,
        "ratings": 3, "rules": {"score": None, "calls": 0, "faults": {}}, "blended_quality": 4.0, "elsewhere": 0,
    }  # fmt: skip
    new = arms_of(told)["new"]
    assert (new["cost_per_call"], new["success_rate"], new["quality"], new["ratings"]) == ("0.50", 1.0, None, 0)


def test_a_better_arm_is_named_and_said_in_plain_words(acme: Tenant) -> None:
    set_up(acme)
    book(acme, "old", 180, rated=3)
    book(acme, "old", 20, status="error")
    book(acme, "new", 120, rated=4)
    book(acme, "new", 60, status="error")
    [compared] = get(client_of(acme), "v1/experiments/support")["comparisons"]
    assert (compared["baseline"], compared["arm"]) == ("old", "new")
    success = compared["success"]
    assert (success["better"], success["is_significant"], success["missing"]) == ("old", True, None)
    assert success["note"] == "old is better: chance alone shows this in less than 0.1% (old 90.0%, new 66.7%)."
    assert compared["quality"]["better"] == "new"
    assert compared["quality"]["note"].startswith("new is better: chance alone shows this in less than 0.1%")


def test_what_cannot_be_said_yet_is_said_with_how_many_are_missing(acme: Tenant) -> None:
    set_up(acme)
    book(acme, "old", 90, rated=4)
    book(acme, "old", 10, status="error")
    book(acme, "new", 48, rated=4)
    book(acme, "new", 7, status="error")
    [compared] = get(client_of(acme), "v1/experiments/support")["comparisons"]
    success = compared["success"]
    # (1.95996 + 0.84162)^2 x (0.9 x 0.1 + 0.87273 x 0.12727) / 0.02727^2 = 2,122; 55 are there.
    assert (success["better"], success["missing"]) == (None, 2_122 - 55)
    assert success["note"].startswith("No difference to speak of: chance alone shows one like it in 60% of such")
    assert success["note"].endswith(" About 2,100 more calls of the one with fewer would tell, as things stand.")
    quality = compared["quality"]
    assert (quality["better"], quality["p_value"], quality["missing"]) == (None, 1.0, None)


def test_an_arm_without_calls_or_ratings_proves_nothing(acme: Tenant) -> None:
    set_up(acme)
    book(acme, "old", 10, rated=5)
    told = get(client_of(acme), "v1/experiments/support")
    assert arms_of(told)["new"]["calls"] == 0
    [compared] = told["comparisons"]
    assert compared["success"]["note"] == "Too early to say: one of them has had no calls."
    assert compared["quality"]["note"] == "Too early to say: one of them has not been rated."


def test_with_three_arms_each_must_be_surer(acme: Tenant) -> None:
    # 100 of 200 against 120 of 200 is p = 0.044: enough for one comparison, too little for two.
    for arm, succeeded in (("a", 100), ("b", 120)):
        book(acme, arm, succeeded)
        book(acme, arm, 200 - succeeded, status="error")
    client = client_of(acme)
    assert get(client, "v1/experiments/support")["comparisons"][0]["success"]["better"] == "b"
    book(acme, "c", 50)
    book(acme, "c", 50, status="error")
    compared = get(client, "v1/experiments/support")["comparisons"]
    assert [(each["baseline"], each["arm"], each["success"]["better"]) for each in compared] == [
        ("a", "b", None), ("a", "c", None),
    ]  # fmt: skip


def test_an_experiment_is_found_by_its_own_name_or_its_routes(acme: Tenant) -> None:
    set_up(acme, experiment="tone/1")
    client = client_of(acme)
    for name in ("support", "tone/1"):  # nothing has called it yet
        told = get(client, f"v1/experiments/{name}")
        assert (told["name"], [arm["name"] for arm in told["arms"]]) == ("tone/1", ["old", "new"])
        assert [arm["share_seen"] for arm in told["arms"]] == [None, None]
    book(acme, "old", metadata={"experiment": "tone/0"}, at=timezone.now() - timedelta(days=2))
    book(acme, "old", 3, metadata={"experiment": "tone/1"})
    assert get(client, "v1/experiments/support")["name"] == "tone/1"
    over = get(client, "v1/experiments/tone/0")
    assert ([arm["name"] for arm in over["arms"]], over["arms"][0]["share_wanted"]) == (["old"], None)
    assert over["comparisons"] == []


def test_who_answered_instead_counts_for_neither(acme: Tenant) -> None:
    set_up(acme)
    book(acme, "old", status="error")
    book(acme, "old", model="third", metadata={"attempt": 2})
    book(acme, "old", status="aborted")
    told = get(client_of(acme), "v1/experiments/support")
    old = arms_of(told)["old"]
    assert (old["calls"], old["errors"], old["success_rate"], old["elsewhere"]) == (2, 1, 0.0, 1)
    assert old["share_seen"] == 1.0


def test_a_call_rated_twice_counts_once(acme: Tenant) -> None:
    spans = book(acme, "old", 2)
    rate(spans[:1], 5)
    rate(spans[:1], 2, source="judge")
    rate(spans[1:], None, thumbs="down")
    old = arms_of(get(client_of(acme), "v1/experiments/support"))["old"]
    assert (old["ratings"], old["quality"]) == (2, 1.75)


def test_the_experiments_of_the_period_are_listed_the_latest_first(acme: Tenant) -> None:
    now = datetime.now(UTC)
    book(acme, "old", 2, at=now - timedelta(days=3))
    book(acme, "new", 1, at=now - timedelta(days=2))
    book(acme, "x", 1, at=now - timedelta(days=1), metadata={"experiment": "other", "route": "elsewhere"})
    book(acme, "old", 1, at=now - timedelta(days=40), metadata={"experiment": "long over"})
    book(acme, "old", 1, source="api", metadata={"experiment": "a client's own word"})
    CostSpan.objects.create(tenant=acme, request_id="plain", occurred_at=now, recorded_at=now, source="gateway",
                            cost_nano_usd=1, metadata={"needs": ["tools"]})  # fmt: skip
    told = get(client_of(acme), "v1/experiments")
    assert [(each["name"], each["routes"], each["arms"], each["calls"]) for each in told["results"]] == [
        ("other", ["elsewhere"], ["x"], 1), ("support", ["support"], ["new", "old"], 3),
    ]  # fmt: skip
    assert told["results"][1]["first_seen"] < told["results"][1]["last_seen"]
    day = (now - timedelta(days=60)).date().isoformat()
    assert [each["name"] for each in get(client_of(acme), "v1/experiments", **{"from": day})["results"]][
        -1
    ] == "long over"


def test_a_large_period_is_sampled_by_its_latest_calls(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.call_samples.MAX_CALLS", 3)
    now = timezone.now()
    for minutes in range(1, 6):
        book(acme, "old" if minutes <= 2 else "new", at=now - timedelta(minutes=minutes))
    told = get(client_of(acme), "v1/experiments/support")
    assert told["sample"] == {"calls": 3, "recorded": 5, "at_most": 3}
    assert {name: arm["calls"] for name, arm in arms_of(told).items()} == {"new": 1, "old": 2}
    assert get(client_of(acme), "v1/experiments")["results"][0]["calls"] == 3


def test_another_tenants_experiment_is_not_there(acme: Tenant, settings: Settings) -> None:
    set_up(acme)
    book(acme, "old", 3, rated=5)
    stranger = client_of(factories.globex())
    assert get(stranger, "v1/experiments")["results"] == []
    assert get(stranger, "v1/experiments/support", 404)["error"]["code"] == "experiment_missing"
    assert client_of(acme, permissions=("spend",)).get("/api/v1/experiments").status_code == 403
