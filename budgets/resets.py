"""A fresh count on demand: what was spent stays in the ledger, but no longer counts against the limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import F

from budgets.counters.base import WindowTotal
from budgets.counters.charge import counters
from budgets.ledger import budgets_for_writing
from budgets.matching import window_of
from budgets.models import BudgetEvent, BudgetWindow, State
from budgets.snapshot import NO_BUDGETS, TenantBudgets
from spendhub import group_commit
from spendhub.steps import AwaitFuture, Journey


class Reset(NamedTuple):
    """Which windows begin afresh: of all budgets on a scope, or of one budget; `scope_key` "*" is every key."""

    tenant_id: int
    scope_type: str
    scope_key: str
    budget_id: str | None
    actor: str
    now: datetime


def reset_scope(tenant_id: int, scope_type: str, scope_key: str, *, actor: str, now: datetime) -> Journey[int]:
    """Begins every current window of the scope's budgets afresh; says how many there were."""
    return (yield from _reset(Reset(tenant_id, scope_type, scope_key, None, actor, now)))


def reset_budget(tenant_id: int, budget_id: str, *, scope_key: str = "*", actor: str, now: datetime) -> Journey[int]:
    """Begins one budget's current windows afresh (of one key, or of all); says how many there were."""
    return (yield from _reset(Reset(tenant_id, "", scope_key, budget_id, actor, now)))


def _reset(wanted: Reset) -> Journey[int]:
    totals: list[WindowTotal] = yield AwaitFuture(group_commit.submit(apply_resets, wanted))
    if totals:
        yield from counters().publish(wanted.tenant_id, totals)
    return len(totals)


def apply_resets(resets: Sequence[Reset]) -> list[list[WindowTotal]]:
    """Applier of the group commit: the new absolute totals of the windows that each reset touched."""
    budgets = budgets_for_writing()
    return [_apply(reset, budgets.get(reset.tenant_id, NO_BUDGETS)) for reset in resets]


def _apply(reset: Reset, budgets: TenantBudgets) -> list[WindowTotal]:
    totals: list[WindowTotal] = []
    for budget in budgets.by_id.values():
        if reset.budget_id is not None:
            if str(budget.id) != str(reset.budget_id):
                continue
        elif budget.scope_type != reset.scope_type or (
            reset.scope_key != "*" and budget.scope_key not in ("*", reset.scope_key)
        ):
            continue
        window = window_of(budget, reset.now, budgets.timezone)
        rows = BudgetWindow.objects.for_tenant(reset.tenant_id).filter(
            budget_id=budget.id, starts_at=datetime.fromtimestamp(window.starts_at, reset.now.tzinfo)
        )
        if reset.scope_key != "*":
            rows = rows.filter(scope_key=reset.scope_key)
        for row in rows.select_for_update().order_by("scope_key"):
            counted = row.spend_nano_usd - row.forgiven_nano_usd
            BudgetWindow.objects.for_tenant(reset.tenant_id).filter(id=row.id).update(
                forgiven_nano_usd=F("spend_nano_usd"),
                version=F("version") + 1,
                state=State.ACTIVE,
                told_thresholds=[],
                last_threshold="",
                hard_stop_told=False,
                updated_at=reset.now,
            )
            BudgetEvent.objects.create(
                tenant_id=reset.tenant_id,
                budget_id=budget.id,
                kind=BudgetEvent.Kind.BUDGET_RESET,
                occurred_at=reset.now,
                scope_key=row.scope_key,
                window_starts_at=row.starts_at,
                from_state=row.state,
                to_state=State.ACTIVE,
                spend_nano_usd=counted,
                limit_nano_usd=budget.limit_at(reset.now),
                actor=reset.actor,
            )
            totals.append(WindowTotal(budget.id, row.scope_key, window.starts_at, window.ends_at, 0, row.version + 1))
    return totals
