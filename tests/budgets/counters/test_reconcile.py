"""What the worker does for the counters: nothing that was missed stays missed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from budgets.counters import database, drive
from budgets.counters.base import Count
from budgets.counters.charge import counters
from budgets.counters.drive import drive as run
from budgets.counters.reconcile import publish_recent_totals, sweep_lapsed_reservations
from budgets.models import BudgetWindow, Hold, HoldLine
from spendhub import group_commit
from tests.budgets.counters.conftest import call, line, make_budget, reservation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["redis", "database"])
def in_charge(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    settings.REDIS_URL = request.getfixturevalue("valkey_url") if request.param == "redis" else None
    yield request.param
    drive.close()
    database.close()
    group_commit.writer().close()


@pytest.fixture
def day(acme: Any) -> Any:
    start = int(time.time()) // 3600 * 3600
    return line(make_budget(acme, "Ada").pk)._replace(starts_at=start, ends_at=start + 3600)


def test_a_total_that_the_store_missed_is_told_again(acme: Any, day: Any, in_charge: str) -> None:
    now = time.time()
    moment = datetime.fromtimestamp(now, UTC)
    assert run(counters().look(acme.pk, [day], now)) == (Count(0, 0),)
    starts_at, ends_at = database._moment(day.starts_at), database._moment(day.ends_at)
    values: dict[str, Any] = {
        "tenant": acme,
        "budget_id": day.budget_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "version": 3,
    }
    BudgetWindow.objects.create(
        **values, scope_key=day.scope_key, spend_nano_usd=70, forgiven_nano_usd=20, updated_at=moment
    )
    BudgetWindow.objects.create(
        **values, scope_key="long ago", spend_nano_usd=1, updated_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert publish_recent_totals(moment) == 1
    assert run(counters().look(acme.pk, [day], now)) == (Count(50, 0),)
    assert publish_recent_totals(moment) == 1
    assert run(counters().look(acme.pk, [day], now)) == (Count(50, 0),)


def test_reservations_of_a_tenant_who_does_not_come_back_are_taken_out(acme: Any, day: Any, in_charge: str) -> None:
    now = time.time()
    run(counters().reserve(reservation(acme.pk, [day], 10, expires_at=now + 5), now))
    run(counters().reserve(reservation(acme.pk, [day], 20, expires_at=now + 50), now))
    run(counters().reserve(call(acme.pk, [day], 30, expires_at=now + 5), now))
    assert sweep_lapsed_reservations(datetime.fromtimestamp(now + 10, UTC)) == 1
    assert sweep_lapsed_reservations(datetime.fromtimestamp(now + 10, UTC)) == 0
    assert run(counters().look(acme.pk, [day], now)) == (Count(0, 50),)
    if in_charge == "database":
        assert Hold.objects.for_tenant(acme).count() == HoldLine.objects.for_tenant(acme).count() == 2
