"""Decisions that are kept: every refusal, and a sample of the rest."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from budgets.answers import looked_at_answer
from budgets.decisions import Decision, LookedAt
from budgets.models import BudgetEvent, BudgetWindow
from budgets.models import Decision as DecisionRow
from budgets.periods import as_datetime
from spendhub import group_commit
from spendhub.bulk_insert import insert_rows


def store_decisions(decisions: Sequence[Decision]) -> list[uuid.UUID]:
    """Applier of the group commit: stores decisions, and tells the first refusal of each window."""
    DecisionRow.objects.across_tenants().bulk_create([_row(each) for each in decisions], ignore_conflicts=True)
    _tell_first_refusals([each for each in decisions if not each.allowed])
    return [each.id for each in decisions]


def keep_sample(decision: Decision) -> None:
    """Stores an allowed decision now and then (SPENDHUB_DECISION_SAMPLE, a share), without waiting for it;
    those that warn or degrade ten times as often."""
    share = float(settings.DECISION_SAMPLE) * (1 if decision.action == "allow" else 10)
    if random.random() < share:
        group_commit.submit(store_decisions, decision)


def _row(decision: Decision) -> DecisionRow:
    call = decision.call
    return DecisionRow(
        id=decision.id,
        tenant_id=call.tenant_id,
        created_at=call.now,
        allowed=decision.allowed,
        action=decision.action,
        reason=decision.reason,
        budget_id=decision.bound.matched.budget.id if decision.bound else None,
        attribution=call.attribution.as_dict(),
        api_key=call.api_key,
        provider=call.provider,
        model=call.model,
        estimated_cost_nano_usd=call.estimated_nano_usd,
        remaining_nano_usd=decision.remaining_nano_usd,
        resets_at=decision.resets_at,
        suggested_model=decision.suggested_model or "",
        disabled_tools=list(decision.disabled_tools),
        looked_at=[looked_at_answer(each) for each in decision.looked_at],
    )


def _tell_first_refusals(refusals: Sequence[Decision]) -> None:
    bound: dict[tuple[uuid.UUID, str, int], tuple[Decision, LookedAt]] = {}
    for decision in refusals:
        each = decision.bound
        if each is not None:
            key = (each.matched.budget.id, each.matched.scope_key, each.matched.window.starts_at)
            bound.setdefault(key, (decision, each))
    if not bound:
        return
    ordered = sorted(bound, key=lambda key: (bound[key][0].call.tenant_id, *key))
    rows: list[tuple[Any, ...]] = [
        (
            bound[key][0].call.tenant_id,
            key[0],
            key[1],
            as_datetime(key[2]),
            as_datetime(bound[key][1].matched.window.ends_at),
            0, 0, 0, "active", 0, "", [], True,
            bound[key][0].call.now,
        )
        for key in ordered
    ]  # fmt: skip
    columns = (
        "tenant_id", "budget_id", "scope_key", "starts_at", "ends_at", "spend_nano_usd", "forgiven_nano_usd", "version",
        "state", "breach_count", "last_threshold", "told_thresholds", "hard_stop_told", "updated_at",
    )  # fmt: skip
    first = insert_rows(
        BudgetWindow,
        columns,
        rows,
        "(tenant_id, budget_id, scope_key, starts_at) DO UPDATE SET hard_stop_told = excluded.hard_stop_told "
        "WHERE NOT budgets_budgetwindow.hard_stop_told",
        ("budget_id", "scope_key"),
    )
    from_now_on_told = {(uuid.UUID(str(row[0])), row[1]) for row in first}
    events = [
        BudgetEvent(
            tenant_id=decision.call.tenant_id,
            budget_id=key[0],
            kind=BudgetEvent.Kind.HARD_STOP,
            occurred_at=decision.call.now,
            scope_key=key[1],
            window_starts_at=as_datetime(key[2]),
            spend_nano_usd=each.count.spend_nano_usd,
            limit_nano_usd=each.matched.limit_nano_usd,
        )
        for key, (decision, each) in bound.items()
        if (key[0], key[1]) in from_now_on_told
    ]
    BudgetEvent.objects.across_tenants().bulk_create(events)
