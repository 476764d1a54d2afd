"""Spend far above the usual: what is usual, when it is too much, and that a resumed scope is not stopped for old spend."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spendhub.tenants.models import Tenant
from telemetry.brake_stops import resume
from telemetry.models import Brake, BrakeStop, CostSpan
from telemetry.spend_rates import watch_spend
from tests import factories

pytestmark = pytest.mark.django_db

NANO = 10**9
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def brake(tenant: Tenant, **facts: Any) -> Brake:
    values = {
        "name": "dear", "repeats": None, "spend_factor": 10, "within_seconds": 600, "scope_type": "user",
        "action": "pause",
    }  # fmt: skip
    return Brake.objects.create(tenant=tenant, **{**values, **facts})


def spend(tenant: Tenant, dollars: float, ago: timedelta, **who: str) -> None:
    at = NOW - ago
    CostSpan.objects.create(
        tenant=tenant,
        request_id=uuid.uuid4().hex,
        occurred_at=at,
        recorded_at=at,
        source="gateway",
        cost_nano_usd=int(dollars * NANO),
        **(who or {"user": "ada"}),
    )


def habits(tenant: Tenant, dollars_an_hour: float, hours: int = 5, **who: str) -> None:
    for hour in range(1, hours + 1):
        spend(tenant, dollars_an_hour, timedelta(hours=hour, minutes=30), **who)


def stops(tenant: Tenant) -> list[tuple[str, str, str]]:
    rows = BrakeStop.objects.for_tenant(tenant).order_by("since", "scope_key")
    return list(rows.values_list("scope_type", "scope_key", "action"))


def test_a_user_who_spends_more_than_so_many_times_the_usual_is_paused(acme: Tenant) -> None:
    brake(acme)
    habits(acme, 6)  # 6 USD an hour is 1 USD in ten minutes
    spend(acme, 10.01, timedelta(minutes=5))
    assert watch_spend(NOW) == 1
    assert stops(acme) == [("user", "ada", "pause")]
    stop = BrakeStop.objects.for_tenant(acme).get()
    assert (stop.cause, stop.reason) == ("spend", "10.01 USD within 600 s, 10.0 times the usual 1.00")
    assert watch_spend(NOW + timedelta(seconds=15)) == 1
    assert len(stops(acme)) == 1


VECTORS = json.loads((Path(__file__).parents[1] / "routing" / "vectors" / "router.json").read_text("utf-8"))


def case(name: str) -> Any:
    """Marks the test that runs a worked case of the recipe's router (tests/routing/test_router_vectors.py)."""
    return pytest.mark.parametrize("vector", [each for each in VECTORS if each["name"] == name], ids=[name])


# Ours differs on purpose: an anomaly is so many times the usual of all hours, not deviations from the two before.
@case("anomaly against the preceding window")
def test_an_hour_far_above_the_hours_before_it_is_an_anomaly_and_the_hours_before_are_none(
    acme: Tenant, vector: dict[str, Any]
) -> None:
    brake(acme, within_seconds=3600, spend_factor=2)
    costs, found = vector["given"]["costs"], []
    for hour, dollars in enumerate(costs):
        ago = timedelta(hours=len(costs) - 1 - hour)
        spend(acme, dollars, ago + timedelta(minutes=30))
        if watch_spend(NOW - ago):
            found.append(hour)
    (told,) = vector["then"]
    assert found == [told["index"]]
    assert told["expected"] == 1.5
    stop = BrakeStop.objects.for_tenant(acme).get()
    assert stop.reason == "10.00 USD within 3600 s, 6.7 times the usual 1.50"


@pytest.mark.parametrize(
    ("facts", "dollars", "ago_minutes"),
    [
        ({}, 10, 5),  # exactly ten times is not more than ten times
        ({}, 50, 11),  # longer ago than the brake looks
        ({"spend_least_nano_usd": 51 * NANO}, 50, 5),
        ({"spend_factor": 51}, 50, 5),
        ({"is_enabled": False}, 50, 5),
        ({"spend_factor": None, "repeats": 5}, 50, 5),
    ],
)
def test_less_is_left_alone(acme: Tenant, facts: dict[str, Any], dollars: float, ago_minutes: int) -> None:
    brake(acme, **facts)
    habits(acme, 6)
    spend(acme, dollars, timedelta(minutes=ago_minutes))
    assert watch_spend(NOW) == 0
    assert stops(acme) == []


def test_where_nothing_is_usual_yet_nothing_is_too_much(acme: Tenant) -> None:
    brake(acme)
    habits(acme, 6, hours=2)
    spend(acme, 1_000, timedelta(minutes=5))
    assert watch_spend(NOW) == 0


def test_a_new_session_is_compared_with_what_sessions_do_on_average(acme: Tenant) -> None:
    brake(acme, scope_type="session")
    for name, dollars in (("s1", 2), ("s2", 4), ("s3", 6), ("s4", 12)):
        spend(acme, dollars, timedelta(hours=3), session=name)  # on average 6 USD in an hour
    spend(acme, 10.01, timedelta(minutes=5), session="new")
    spend(acme, 9.99, timedelta(minutes=5), session="quiet")
    assert watch_spend(NOW) == 1
    assert stops(acme) == [("session", "new", "pause")]


def test_callers_are_told_apart_by_the_first_thing_they_name(acme: Tenant) -> None:
    brake(acme, scope_type="caller")
    habits(acme, 6, user="ada", api_key="k1")
    habits(acme, 600, user="ada", api_key="k1", session="big")
    spend(acme, 20, timedelta(minutes=5), user="ada", api_key="k1")
    spend(acme, 900, timedelta(minutes=5), user="ada", api_key="k1", session="big")
    spend(acme, 5, timedelta(minutes=5), api_key="k1")
    assert watch_spend(NOW) == 1
    assert stops(acme) == [("user", "ada", "pause")]


def test_what_a_scope_was_resumed_from_does_not_stop_it_again(acme: Tenant) -> None:
    brake(acme)
    habits(acme, 6)
    spend(acme, 50, timedelta(minutes=5))
    watch_spend(NOW)
    resume(BrakeStop.objects.for_tenant(acme).get(), "user:ada", NOW + timedelta(seconds=10))
    assert watch_spend(NOW + timedelta(seconds=15)) == 0
    spend(acme, 11, -timedelta(seconds=20))
    assert watch_spend(NOW + timedelta(seconds=30)) == 1
    assert len(stops(acme)) == 2


def test_a_pause_that_has_ended_does_not_begin_again_for_the_same_spend(acme: Tenant) -> None:
    brake(acme, pause_seconds=60)
    habits(acme, 6)
    spend(acme, 50, timedelta(minutes=1))
    watch_spend(NOW)
    assert watch_spend(NOW + timedelta(seconds=61)) == 0
    assert BrakeStop.objects.for_tenant(acme).get().is_open is False


def test_a_warning_lasts_as_long_as_the_spend_does(acme: Tenant) -> None:
    brake(acme, action="warn")
    habits(acme, 6)
    spend(acme, 50, timedelta(minutes=1))
    for seconds in (0, 15, 30):
        watch_spend(NOW + timedelta(seconds=seconds))
    stop = BrakeStop.objects.for_tenant(acme).get()
    assert stop.ends_at == NOW + timedelta(seconds=630)


def test_what_another_tenant_does_is_no_measure(acme: Tenant) -> None:
    brake(acme)
    other = factories.globex()
    habits(other, 6)
    spend(other, 50, timedelta(minutes=5))
    spend(acme, 50, timedelta(minutes=5))
    assert watch_spend(NOW) == 0
    assert (stops(acme), stops(other)) == ([], [])
