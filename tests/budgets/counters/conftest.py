"""Both stores behind one fixture: every test of the contract runs on each, sync and from an event loop."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from budgets.counters import database
from budgets.counters.async_scripts import AsyncRedisScripts
from budgets.counters.base import Count, CounterLine, CounterStore, Hold, Reserved, WindowTotal
from budgets.counters.database import DatabaseCounters
from budgets.counters.redis import RedisCounters
from budgets.counters.scripts import RedisScripts
from budgets.models import Budget, BudgetWindow, Period, ScopeType
from spendhub import group_commit
from spendhub.ids import new_id
from spendhub.steps import Journey, run, run_async
from tests.factories import acme as make_acme
from tests.factories import globex as make_globex

# A Sunday in November 2026; the counters never read a clock, so tests say what time it is.
NOW = 1_795_000_000.0
DAY_STARTS, DAY_ENDS = 1_794_960_000, 1_795_046_400


class Counters:
    """A store with a driver, so that tests read as plain calls."""

    def __init__(
        self, store: CounterStore, scripts: RedisScripts | None, loop: asyncio.Runner | None, url: str
    ) -> None:
        self.store = store
        self.scripts = scripts
        self.url = url
        self._loop = loop
        self._async_scripts = AsyncRedisScripts(url) if loop and url else None

    @property
    def is_redis(self) -> bool:
        return isinstance(self.store, RedisCounters)

    def drive(self, journey: Journey[Any]) -> Any:
        if self._loop is not None:
            return self._loop.run(run_async(journey, self._async_scripts))
        return run(journey, self.scripts)

    def look(self, lines: Sequence[CounterLine], now: float = NOW, tenant_id: int | None = None) -> tuple[Count, ...]:
        tenant_id = self.tenant_id if tenant_id is None else tenant_id
        return tuple(self.drive(self.store.look(tenant_id, lines, now)))

    def reserve(self, hold: Hold, now: float = NOW) -> Reserved:
        answer = self.drive(self.store.reserve(hold, now))
        assert isinstance(answer, Reserved)
        return answer

    def settle(self, hold: Hold, totals: Sequence[WindowTotal] = (), now: float = NOW) -> None:
        for total in totals:
            self.book(total)
        self.drive(self.store.settle(hold, totals, now))

    def publish(self, *totals: WindowTotal) -> None:
        for total in totals:
            self.book(total)
        self.drive(self.store.publish(self.tenant_id, totals))

    def book(self, total: WindowTotal) -> None:
        """What the ledger would have written before: its row only ever grows in version."""
        row = BudgetWindow.objects.for_tenant(self.tenant_id).filter(
            budget_id=total.budget_id, scope_key=total.scope_key, starts_at=database._moment(total.starts_at)
        )
        if not row.exists():
            BudgetWindow.objects.create(
                tenant_id=self.tenant_id,
                budget_id=total.budget_id,
                scope_key=total.scope_key,
                starts_at=database._moment(total.starts_at),
                ends_at=None if total.ends_at is None else database._moment(total.ends_at),
                spend_nano_usd=total.spend_nano_usd,
                version=total.version,
                updated_at=database._moment(NOW),
            )
        else:
            row.filter(version__lt=total.version).update(spend_nano_usd=total.spend_nano_usd, version=total.version)

    tenant_id: int

    def close(self) -> None:
        if self._async_scripts is not None:
            self._async_scripts.close()
        if self._loop is not None:
            self._loop.close()
        if self.scripts is not None:
            self.scripts.close()


@pytest.fixture
def acme(transactional_db: None) -> Any:
    return make_acme()


@pytest.fixture
def globex(transactional_db: None) -> Any:
    return make_globex()


@pytest.fixture(params=["redis", "redis-async", "database", "database-async"])
def counters(request: pytest.FixtureRequest, acme: Any) -> Iterator[Counters]:
    """One counter store, open and empty."""
    kind, _, manner = request.param.partition("-")
    loop = asyncio.Runner() if manner else None
    if kind == "redis":
        url = request.getfixturevalue("valkey_url")
        scripts = RedisScripts(url)
        store: CounterStore = RedisCounters(epoch=1)
        run(store.open_epoch(), scripts)  # type: ignore[attr-defined]  # it is the Redis store
        made = Counters(store, scripts, loop, url)
    else:
        made = Counters(DatabaseCounters(epoch=None), None, loop, "")
    made.tenant_id = acme.pk
    yield made
    made.close()
    database.close()
    group_commit.writer().close()


@pytest.fixture
def budget_ids(acme: Any) -> list[uuid.UUID]:
    """Ten budgets of acme's, of which the counters only need the ids."""
    return [make_budget(acme, f"Budget {number}").pk for number in range(10)]


def make_budget(tenant: Any, name: str) -> Budget:
    return Budget.objects.create(
        tenant=tenant,
        name=name,
        scope_type=ScopeType.USER,
        scope_key=name,
        limit_nano_usd=100,
        period=Period.DAY,
        counts_from=database._moment(0),
    )


@pytest.fixture
def day(acme: Any) -> CounterLine:
    """A window of acme's that is open at this moment."""
    now = int(time.time())
    return line(make_budget(acme, "Ada").pk, cap=100)._replace(starts_at=now - 3600, ends_at=now + 3600)


def line(
    budget_id: uuid.UUID, cap: int = 100, key: str = "ada", is_enforced: bool = True, is_total: bool = False
) -> CounterLine:
    if is_total:
        return CounterLine(budget_id, key, 0, None, cap, is_enforced)
    return CounterLine(budget_id, key, DAY_STARTS, DAY_ENDS, cap, is_enforced)


def total(of: CounterLine, spend: int, version: int) -> WindowTotal:
    return WindowTotal(of.budget_id, of.scope_key, of.starts_at, of.ends_at, spend, version)


def call(tenant_id: int, lines: Sequence[CounterLine], amount: int, **values: Any) -> Hold:
    made: dict[str, Any] = {"kind": "call", "expires_at": NOW + 60, "payload": {}, "hold_id": new_id()} | values
    return Hold(tenant_id=tenant_id, lines=tuple(lines), amount_nano_usd=amount, **made)


def reservation(tenant_id: int, lines: Sequence[CounterLine], amount: int, **values: Any) -> Hold:
    return call(tenant_id, lines, amount, **({"kind": "reservation"} | values))


def hold_of(tenant: Any, *lines: CounterLine, amount: int = 60) -> Hold:
    """A call of this moment."""
    return call(tenant.pk, lines, amount, expires_at=time.time() + 60)
