"""Live numbers of budgets, for admins and the API: what is spent, held and left in the current window."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db.models import F, Q

from budgets.counters.charge import counters
from budgets.decisions import spend_state
from budgets.matching import Matched, replaced_keys, window_of
from budgets.models import Budget, BudgetRaise, BudgetWindow
from budgets.periods import Window, as_datetime
from budgets.snapshot import BudgetFacts, Raise, TenantBudgets, facts_of, tenant_budgets
from spendhub.steps import CallInThread, Journey

# An allowance may have any number of keys; a page shows the fullest ones.
MAX_KEYS_PER_ALLOWANCE = 200


@dataclass(frozen=True, slots=True)
class LiveWindow:
    """One budget and key in its current window. Money in nano_usd; `remaining` is the room to the hard cap, `overspent`
    what is spent beyond it."""

    matched: Matched
    spent_nano_usd: int
    reserved_nano_usd: int
    state: str

    @property
    def remaining_nano_usd(self) -> int:
        return max(0, self.matched.hard_nano_usd - self.spent_nano_usd - self.reserved_nano_usd)

    @property
    def overspent_nano_usd(self) -> int:
        return max(0, self.spent_nano_usd - self.matched.hard_nano_usd)

    @property
    def window(self) -> Window:
        return self.matched.window

    @property
    def utilisation(self) -> float:
        """Share of the limit that is spent or held; 0 where there is no limit to speak of."""
        limit = self.matched.limit_nano_usd
        return (self.spent_nano_usd + self.reserved_nano_usd) / limit if limit else 0.0


def live_windows(
    tenant_id: int, now: datetime, budget_ids: Iterable[uuid.UUID] | None = None
) -> Journey[Mapping[uuid.UUID, tuple[LiveWindow, ...]]]:
    """Each budget's current window, per key: one for an exact key or the whole account (also when nothing is
    spent yet), and for an allowance "*" one per key that has spent something, the fullest first; none for a key whose
    own budget replaces it, for of that it tells nothing."""
    budgets = tenant_budgets(tenant_id)
    wanted = budgets.by_id.values() if budget_ids is None else [
        budgets.by_id[budget_id] for budget_id in budget_ids if budget_id in budgets.by_id
    ]  # fmt: skip
    matched = [
        _matched(budget, budget.scope_key, now, budgets.timezone) for budget in wanted if not _is_allowance(budget)
    ]
    allowances = [budget for budget in wanted if _is_allowance(budget)]
    if allowances:
        keys = yield CallInThread(_keys_with_spend, (allowances, budgets, now))
        matched.extend(_matched(budget, key, now, budgets.timezone) for budget, key in keys)
    found: dict[uuid.UUID, list[LiveWindow]] = {budget.id: [] for budget in wanted}
    if matched:
        counts = yield from counters().look(tenant_id, [each.line for each in matched], now.timestamp())
        for each, count in zip(matched, counts, strict=True):
            found[each.budget.id].append(
                LiveWindow(
                    each,
                    count.spend_nano_usd,
                    count.reserved_nano_usd,
                    spend_state(each, count.spend_nano_usd),
                )
            )
    return {budget_id: _fullest_first(windows) for budget_id, windows in found.items()}


def last_windows(
    tenant_id: int, archived: Sequence[Budget], timezone: str
) -> Mapping[uuid.UUID, tuple[LiveWindow, ...]]:
    """The windows in which budgets were put away, as the ledger has them, like those of `live_windows`. Nothing is
    held in them any more."""
    raises: dict[uuid.UUID, list[BudgetRaise]] = defaultdict(list)
    for row in BudgetRaise.objects.for_tenant(tenant_id).filter(budget__in=archived):
        raises[row.budget_id].append(row)
    found: dict[uuid.UUID, tuple[LiveWindow, ...]] = {}
    for budget in archived:
        assert budget.archived_at is not None, "a budget in use has live windows"
        facts = facts_of(budget, tuple(Raise(row.by_nano_usd, row.starts_at, row.ends_at) for row in raises[budget.id]))
        window = window_of(facts, budget.archived_at, timezone)
        if _is_allowance(facts):
            beside = _in_use_at(budget.archived_at, tenant_id, facts.scope_type)
            spent = _spent_by_key(facts, window, besides=replaced_keys(facts, beside, budget.archived_at))
        else:
            spent = {facts.scope_key: _spent_by_key(facts, window).get(facts.scope_key, 0)}
        matched = {key: _matched(facts, key, budget.archived_at, timezone) for key in spent}
        found[budget.id] = _fullest_first(
            LiveWindow(matched[key], nano_usd, 0, spend_state(matched[key], nano_usd))
            for key, nano_usd in spent.items()
        )
    return found


def _fullest_first(windows: Iterable[LiveWindow]) -> tuple[LiveWindow, ...]:
    return tuple(sorted(windows, key=lambda live: (-live.utilisation, live.matched.scope_key)))


def _is_allowance(budget: BudgetFacts) -> bool:
    return budget.scope_key == "*" and budget.scope_type != "tenant"


def _matched(budget: BudgetFacts, key: str, now: datetime, timezone: str) -> Matched:
    return Matched(
        budget, key, window_of(budget, now, timezone), budget.limit_at(now), budget.soft_at(now), budget.hard_at(now)
    )


def _keys_with_spend(
    allowances: Sequence[BudgetFacts], budgets: TenantBudgets, now: datetime
) -> list[tuple[BudgetFacts, str]]:
    return [
        (allowance, key)
        for allowance in allowances
        for key in _spent_by_key(
            allowance,
            window_of(allowance, now, budgets.timezone),
            besides=replaced_keys(allowance, budgets.by_id.values(), now),
        )
    ]


def _spent_by_key(budget: BudgetFacts, window: Window, besides: frozenset[str] = frozenset()) -> dict[str, int]:
    rows = (
        BudgetWindow.objects.for_tenant(budget.tenant_id)
        .filter(budget_id=budget.id, starts_at=as_datetime(window.starts_at))
        .order_by("-spend_nano_usd", "scope_key")
        .values_list("scope_key", F("spend_nano_usd") - F("forgiven_nano_usd"))
    )
    # Left out here: there may be more of them than a query can name.
    found = ((key, nano_usd) for key, nano_usd in rows[: MAX_KEYS_PER_ALLOWANCE + len(besides)] if key not in besides)
    return dict(islice(found, MAX_KEYS_PER_ALLOWANCE))


def _in_use_at(moment: datetime, tenant_id: int, scope_type: str) -> list[BudgetFacts]:
    """Budgets on a type of scope as they were at a moment that is over, without their raises."""
    rows = Budget.objects.for_tenant(tenant_id).filter(scope_type=scope_type, created_at__lte=moment)
    return [facts_of(row) for row in rows.filter(Q(archived_at__isnull=True) | Q(archived_at__gt=moment))]
