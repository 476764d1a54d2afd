"""Budgets as the data plane reads them: immutable, by tenant and scope."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from budgets.models import BUDGETS_SNAPSHOT, Budget, BudgetRaise
from spendhub.moments import within_bounds
from spendhub.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Raise:
    """A one-off raise of a limit, while it lasts."""

    by_nano_usd: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class DowngradeRule:
    """Models (or "*") that give way to a cheaper one above the soft cap, by any of their names: see known_models.py."""

    from_models: frozenset[str]
    to: str

    @property
    def is_for_any(self) -> bool:
        return "*" in self.from_models


class Threshold(NamedTuple):
    """A share of the limit that is told when it is reached, as it is written and as a number."""

    name: str
    share: Fraction

    def is_reached(self, counted_nano_usd: int, limit_nano_usd: int) -> bool:
        return counted_nano_usd * self.share.denominator >= limit_nano_usd * self.share.numerator

    def line_nano_usd(self, limit_nano_usd: int) -> int:
        """The least spend at which it is reached."""
        return -(-limit_nano_usd * self.share.numerator // self.share.denominator)


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """One budget: rules only, no spend."""

    id: uuid.UUID
    tenant_id: int
    name: str
    scope_type: str
    scope_key: str
    limit_nano_usd: int
    period: str
    soft_cap: Fraction
    hard_cap: Fraction
    is_enforced: bool
    is_frozen: bool
    thresholds: tuple[Threshold, ...] = ()
    downgrade_rules: tuple[DowngradeRule, ...] = ()
    disabled_tools: tuple[str, ...] = ()
    strict: bool = False
    patience_seconds: int = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    raises: tuple[Raise, ...] = ()

    def is_in_force(self, now: datetime) -> bool:
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)

    def limit_at(self, now: datetime) -> int:
        """The limit in nano_usd, raises included."""
        if not self.raises:
            return self.limit_nano_usd
        return self.limit_nano_usd + sum(r.by_nano_usd for r in self.raises if r.starts_at <= now < r.ends_at)

    def hard_at(self, now: datetime) -> int:
        """Where calls stop, in nano_usd: limit x hard cap, rounded down."""
        limit = self.limit_at(now)
        return limit * self.hard_cap.numerator // self.hard_cap.denominator

    def soft_at(self, now: datetime) -> int:
        """Where the policy begins to degrade, in nano_usd: limit x soft cap, rounded up."""
        limit = self.limit_at(now)
        return -(-limit * self.soft_cap.numerator // self.soft_cap.denominator)


@dataclass(frozen=True, slots=True)
class TenantBudgets:
    """One tenant's budgets by (scope type, key); "*" holds the allowances."""

    timezone: str
    by_scope: Mapping[tuple[str, str], tuple[BudgetFacts, ...]]
    by_id: Mapping[uuid.UUID, BudgetFacts]
    # Matches already worked out (see matching.py), by who is calling; they live and die with this snapshot.
    matched: dict[tuple[tuple[str, str], ...], Any] = field(default_factory=dict)


NO_BUDGETS = TenantBudgets("UTC", {}, {})


def facts_of(budget: Budget, raises: tuple[Raise, ...] = ()) -> BudgetFacts:
    """The immutable facts of one row."""
    return BudgetFacts(
        id=budget.id,
        tenant_id=budget.tenant_id,
        name=budget.name,
        scope_type=budget.scope_type,
        scope_key=budget.scope_key,
        limit_nano_usd=budget.limit_nano_usd,
        period=budget.period,
        soft_cap=Fraction(Decimal(budget.soft_cap)),
        hard_cap=Fraction(Decimal(budget.hard_cap)),
        is_enforced=budget.mode == Budget.Mode.ENFORCE,
        is_frozen=budget.is_frozen,
        thresholds=_thresholds(budget.thresholds),
        downgrade_rules=tuple(DowngradeRule(frozenset(r["from"]), r["to"]) for r in budget.downgrade_rules),
        disabled_tools=tuple(budget.disabled_tools),
        strict=budget.strict,
        patience_seconds=budget.patience_seconds,
        # The database holds years of which no window can be cut.
        starts_at=None if budget.starts_at is None else within_bounds(budget.starts_at),
        ends_at=None if budget.ends_at is None else within_bounds(budget.ends_at),
        raises=raises,
    )


def _thresholds(shares: Iterable[Any]) -> tuple[Threshold, ...]:
    # As numbers once, not with every commit.
    found = (Threshold(str(share), Fraction(str(share))) for share in shares)
    return tuple(sorted(found, key=lambda threshold: threshold.share))


def raises_of(budget: Budget) -> tuple[Raise, ...]:
    """The raises of one row, lasting or not."""
    rows = BudgetRaise.objects.for_tenant(budget.tenant_id).filter(budget=budget)
    return tuple(Raise(row.by_nano_usd, row.starts_at, row.ends_at) for row in rows)


def _build() -> Mapping[int, TenantBudgets]:
    raises: dict[uuid.UUID, list[Raise]] = defaultdict(list)
    for row in BudgetRaise.objects.across_tenants():
        raises[row.budget_id].append(Raise(row.by_nano_usd, row.starts_at, row.ends_at))
    timezones: dict[int, str] = {}
    by_tenant: dict[int, list[BudgetFacts]] = defaultdict(list)
    live = Budget.objects.across_tenants().filter(archived_at__isnull=True).select_related("tenant")
    for budget in live.order_by("created_at", "id"):
        timezones[budget.tenant_id] = budget.tenant.timezone
        by_tenant[budget.tenant_id].append(facts_of(budget, tuple(raises[budget.id])))
    built: dict[int, TenantBudgets] = {}
    for tenant_id, budgets in by_tenant.items():
        by_scope: dict[tuple[str, str], list[BudgetFacts]] = defaultdict(list)
        for facts in budgets:
            by_scope[(facts.scope_type, facts.scope_key)].append(facts)
        built[tenant_id] = TenantBudgets(
            timezones[tenant_id],
            {scope: tuple(found) for scope, found in by_scope.items()},
            {facts.id: facts for facts in budgets},
        )
    return built


BUDGETS: Snapshot[Mapping[int, TenantBudgets]] = Snapshot(BUDGETS_SNAPSHOT, _build)


def tenant_budgets(tenant_id: int) -> TenantBudgets:
    """The budgets in force for one tenant, from this process's snapshot."""
    return BUDGETS.current().get(tenant_id, NO_BUDGETS)
