"""Budgets as the data plane reads them, made in one line: for tests of the pure rules."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from budgets.calls import Call
from budgets.counters.base import Count
from budgets.decisions import Decision, decide
from budgets.known_models import KnownModels
from budgets.matching import Matched, window_of
from budgets.snapshot import BudgetFacts, DowngradeRule, Raise, TenantBudgets
from routing.model_facts import ModelFacts
from routing.snapshot import Catalog
from spendhub.money import parse_usd
from spendhub.tenants.attribution import Attribution
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 12, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """A moment in UTC: "2026-11-24 12:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def budget(scope: str, limit: str = "10", **values: Any) -> BudgetFacts:
    """The facts of a budget on `scope` ("user:ada"), per month unless said otherwise."""
    scope_type, _, key = scope.partition(":")
    rules = [DowngradeRule(frozenset(models), to) for models, to in values.pop("rules", ())]
    made: dict[str, Any] = {
        "id": uuid.uuid4(),
        "tenant_id": 1,
        "name": scope,
        "scope_type": scope_type,
        "scope_key": key or "*",
        "limit_nano_usd": parse_usd(limit),
        "period": "month",
        "soft_cap": Fraction(values.pop("soft", "0.8")),
        "hard_cap": Fraction(values.pop("hard", "1")),
        "is_enforced": True,
        "is_frozen": False,
        "downgrade_rules": tuple(rules),
        "disabled_tools": tuple(values.pop("tools", ())),
    }
    return BudgetFacts(**made | values)


def raised(by: str, starts_at: datetime = NOW, ends_at: datetime = NEXT_MONTH) -> Raise:
    return Raise(parse_usd(by), starts_at, ends_at)


def tenant(*budgets: BudgetFacts, timezone: str = "UTC") -> TenantBudgets:
    """The snapshot of a tenant that has these budgets."""
    by_scope: dict[tuple[str, str], tuple[BudgetFacts, ...]] = {}
    for each in budgets:
        scope = (each.scope_type, each.scope_key)
        by_scope[scope] = (*by_scope.get(scope, ()), each)
    return TenantBudgets(timezone, by_scope, {each.id: each for each in budgets})


def matched(of: BudgetFacts, now: datetime = NOW) -> Matched:
    """The budget as a call by one of its keys meets it."""
    key = "ada" if of.scope_key == "*" and of.scope_type != "tenant" else of.scope_key
    return Matched(of, key, window_of(of, now, "UTC"), of.limit_at(now), of.soft_at(now), of.hard_at(now))


def call(estimate: str = "0", **values: Any) -> Call:
    """Ada's call of model `m`, estimated at so many USD."""
    made: dict[str, Any] = {"tenant_id": 1, "attribution": Attribution(user="ada"), "model": "m"}
    return Call(now=NOW, estimated_nano_usd=parse_usd(estimate), **made | values)


def known_models(*models: ModelFacts) -> KnownModels:
    """What the tenant's names of models mean where these are its catalog."""
    return KnownModels(1, Catalog((), [replace(model, id=number) for number, model in enumerate(models)], {}))


CATALOG = tuple(map(model_facts, ("sonnet", "haiku", "small")))


def decision(asked: Call, *stands: tuple[BudgetFacts, str, str], catalog: Sequence[ModelFacts] = CATALOG) -> Decision:
    """The decision on a call, given each budget with what is spent and held (USD)."""
    models = known_models(*catalog)
    budgets = [matched(each) for each, _, _ in stands]
    counts = [Count(parse_usd(spent), parse_usd(held)) for _, spent, held in stands]
    return decide(uuid.uuid4(), asked, budgets, counts, lambda: models)
