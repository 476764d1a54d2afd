"""Budgets made, edited and put away: by admins, over the API, and from the installation's settings.

Every edit is kept with who made it, and in force everywhere within two seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.forms.models import model_to_dict

from budgets.matching import window_of
from budgets.models import Budget, BudgetRaise, Period, ScopeType
from budgets.scope_names import counted_as
from budgets.snapshot import facts_of
from spendhub.errors import Conflict, Invalid, Missing
from spendhub.money import format_usd
from spendhub.tenants.attribution import clean_key
from spendhub.tenants.changes import record_change
from spendhub.tenants.models import Change, Tenant

logger = logging.getLogger(__name__)

MAX_RAISES_AT_ONCE = 100


class InvalidBudget(Invalid):
    """A budget whose parts contradict each other, e.g. a soft cap above the hard cap."""

    code = "invalid_budget"


class BudgetExists(Conflict):
    """The scope has a budget for that period already; edit that one, or put it away first."""

    code = "budget_exists"

    def __init__(self, scope_type: str, scope_key: str, period: str, budget_id: UUID | None = None) -> None:
        super().__init__(
            f"{scope_type}:{scope_key} has a budget per {period} already",
            scope=f"{scope_type}:{scope_key}",
            period=period,
            budget_id=None if budget_id is None else str(budget_id),
        )


class BudgetScopeFixed(Conflict):
    """Scope, period and beginning of a budget cannot change: its ledger is counted by them. Make a new one."""

    code = "budget_scope_fixed"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} of a budget cannot change, for its spend is counted by it; delete this one and make a new one",
            field=field,
        )


class BudgetMissing(Missing):
    """No budget of this tenant has that id."""

    code = "budget_missing"


def check_scope(scope_type: str, scope_key: str) -> None:
    """Raises Invalid for a scope that no call can fall under."""
    if scope_type == ScopeType.TENANT and scope_key != "*":
        raise InvalidBudget("the scope_key of a tenant's budget is always '*'", field="scope_key")
    if scope_key != "*" and clean_key("scope_key", scope_key) != scope_key:
        raise InvalidBudget("scope_key must not begin or end with a space", field="scope_key")


def check_policy(soft_cap: Decimal, hard_cap: Decimal, starts_at: datetime | None, ends_at: datetime | None) -> None:
    """Raises InvalidBudget for caps or moments in the wrong order."""
    if Decimal(soft_cap) > Decimal(hard_cap):
        raise InvalidBudget(f"soft_cap {soft_cap} must not exceed hard_cap {hard_cap}", field="soft_cap")
    if starts_at is not None and ends_at is not None and starts_at >= ends_at:
        raise InvalidBudget("starts_at must be before ends_at", field="starts_at")


def describe_budget(budget: Budget) -> dict[str, Any]:
    """What the record of changes keeps of a budget."""
    shown = model_to_dict(budget, exclude=["tenant", "limit_nano_usd"])
    return {**shown, "limit": format_usd(budget.limit_nano_usd), "archived_at": budget.archived_at}


def create_budget(tenant_id: int, values: Mapping[str, Any], *, source: str, actor: str) -> Budget:
    """A new budget; its ledger opens with what its window has already spent. A model or provider may be called by any
    name that the catalog knows it by. Raises BudgetExists."""
    if "scope_key" in values:
        values = {**values, "scope_key": counted_as(tenant_id, values["scope_type"], values["scope_key"])}
    facts = {"name": default_name(values), **values}
    budget = Budget(tenant_id=tenant_id, source=source, **facts)
    try:
        with transaction.atomic():
            budget.save()
            record_change(tenant_id, actor, "create", budget, {}, describe_budget(budget))
    except IntegrityError:
        same = live_budget(tenant_id, budget.scope_type, budget.scope_key, budget.period)
        raise BudgetExists(
            budget.scope_type, budget.scope_key, budget.period, same.id if isinstance(same, Budget) else None
        ) from None
    return budget


def edit_budget(budget: Budget, values: Mapping[str, Any], *, actor: str, now: datetime) -> Budget:
    """Changes a budget's limit or policy. Raises BudgetScopeFixed for what its ledger is counted by."""
    with transaction.atomic():
        # Locked and read again: of two edits at the same moment neither undoes the other's fields.
        row = locked(budget.tenant_id, budget.id)
        named = values.get("scope_key", row.scope_key)
        if named != row.scope_key and counted_as(row.tenant_id, row.scope_type, named) == row.scope_key:
            values = {**values, "scope_key": row.scope_key}
        for field in ("scope_type", "scope_key", "period"):
            if field in values and values[field] != getattr(row, field):
                raise BudgetScopeFixed(field)
        before, counts_from = describe_budget(row), _window_start(row, now)
        for name, value in values.items():
            setattr(row, name, value)
        check_policy(row.soft_cap, row.hard_cap, row.starts_at, row.ends_at)
        if _window_start(row, now) != counts_from:
            raise BudgetScopeFixed("starts_at")
        row.save(update_fields=[*values] or None)
        record_change(row.tenant_id, actor, "update", row, before, describe_budget(row))
    return row


def _window_start(budget: Budget, now: datetime) -> int:
    """Where the budget's window of this moment begins, wherever it ends."""
    return window_of(replace(facts_of(budget), ends_at=None), now, budget.tenant.timezone).starts_at


def set_frozen(budget: Budget, is_frozen: bool, *, actor: str) -> Budget:
    """Freezes (every call under it is stopped) or unfreezes a budget. Repeating it changes nothing."""
    with transaction.atomic():
        row = locked(budget.tenant_id, budget.id)
        if row.is_frozen != is_frozen:
            row.is_frozen = is_frozen
            row.save(update_fields=["is_frozen"])
            action = "freeze" if is_frozen else "unfreeze"
            record_change(row.tenant_id, actor, action, row, {"is_frozen": not is_frozen}, {"is_frozen": is_frozen})
    return row


def archive_budget(budget: Budget, *, actor: str, now: datetime) -> None:
    """Puts a budget away: it stops nothing any more; what it has counted is kept."""
    with transaction.atomic():
        row = locked(budget.tenant_id, budget.id)
        row.archived_at = now
        row.save(update_fields=["archived_at"])
        record_change(row.tenant_id, actor, "delete", row, {"archived_at": None}, {"archived_at": now})


def raise_budget(budget: Budget, values: Mapping[str, Any], *, actor: str, now: datetime) -> BudgetRaise:
    """A one-off raise of the limit, from `starts_at` (now) until `ends_at`. Raises InvalidBudget."""
    facts: dict[str, Any] = {"starts_at": now, **values}
    if facts["ends_at"] <= max(now, facts["starts_at"]):
        raise InvalidBudget("ends_at must lie in the future, and after starts_at", field="ends_at")
    with transaction.atomic():
        row = locked(budget.tenant_id, budget.id)
        lasting = BudgetRaise.objects.for_tenant(row.tenant_id).filter(budget=row, ends_at__gt=now)
        in_all = row.limit_nano_usd + sum(each.by_nano_usd for each in lasting) + facts["by_nano_usd"]
        highest = Budget._meta.get_field("limit_nano_usd").validators
        try:
            for validator in highest:
                validator(in_all)
        except ValidationError:
            raise InvalidBudget("the limit with its raises would pass 9,000,000 USD", field="by") from None
        if len(lasting) >= MAX_RAISES_AT_ONCE:
            raise InvalidBudget(f"a budget has at most {MAX_RAISES_AT_ONCE} raises at once")
        made = BudgetRaise.objects.create(
            tenant_id=row.tenant_id,
            budget=row,
            by_nano_usd=facts["by_nano_usd"],
            starts_at=facts["starts_at"],
            ends_at=facts["ends_at"],
            reason=facts.get("reason", ""),
            actor=actor,
        )
        after = {"by": format_usd(made.by_nano_usd), "starts_at": made.starts_at, "ends_at": made.ends_at}
        record_change(row.tenant_id, actor, "raise", row, {}, after)
    return made


def live_budget(tenant_id: int, scope_type: str, scope_key: str, period: str) -> Budget | None:
    """The budget in use for a scope and period."""
    rows = Budget.objects.for_tenant(tenant_id).filter(archived_at__isnull=True)
    return rows.filter(scope_type=scope_type, scope_key=scope_key, period=period).first()


def locked(tenant_id: int, budget_id: UUID) -> Budget:
    """The live budget, locked until the transaction ends. Raises BudgetMissing."""
    rows = Budget.objects.for_tenant(tenant_id).filter(id=budget_id, archived_at__isnull=True)
    row = rows.select_for_update(of=("self",)).select_related("tenant").first()
    if row is None:
        raise BudgetMissing(f"there is no budget {budget_id}")
    return row


def default_name(values: Mapping[str, Any]) -> str:
    """A name made from the scope, e.g. "Each user per day"."""
    scope_type, key, period = values["scope_type"], values.get("scope_key", "*"), values.get("period", Period.MONTH)
    if scope_type == ScopeType.TENANT:
        who = "Whole account"
    else:
        label = ScopeType(scope_type).label
        who = f"Each {label.lower() if scope_type != ScopeType.API_KEY else label}" if key == "*" else f"{label} {key}"
    return f"{who[:100]} {'in total' if period == Period.TOTAL else f'per {period}'}"


def apply_settings_budgets(now: datetime | None = None) -> int:
    """Makes the budgets that DEFAULT_DAILY_BUDGET (each user, daily) and TENANT_BUDGETS (whole accounts) ask
    for, and follows those settings later; says how many it made or changed.

    What an admin has edited or put away since is left alone. Safe to run in several processes at once.
    """
    changed = 0
    for tenant in Tenant.objects.all():
        for scope_type, period, limit in _wanted_for(tenant):
            changed += _apply(tenant, scope_type, period, limit)
    return changed


def _wanted_for(tenant: Tenant) -> list[tuple[str, str, int]]:
    wanted = [
        (ScopeType.TENANT.value, period, limit)
        for period, limit in settings.TENANT_BUDGETS_NANO_USD.get(tenant.slug, {}).items()
    ]
    if settings.DEFAULT_DAILY_BUDGET_NANO_USD is not None:
        wanted.append((ScopeType.USER.value, Period.DAY.value, settings.DEFAULT_DAILY_BUDGET_NANO_USD))
    return wanted


def _apply(tenant: Tenant, scope_type: str, period: str, limit_nano_usd: int) -> bool:
    # Archived ones count too: what an admin has put away does not come back.
    rows = Budget.objects.for_tenant(tenant).filter(scope_type=scope_type, scope_key="*", period=period)
    known = rows.order_by("archived_at").first() if rows.exists() else None
    if known is None:
        values = {"scope_type": scope_type, "scope_key": "*", "period": period, "limit_nano_usd": limit_nano_usd}
        try:
            create_budget(tenant.pk, values, source=Budget.Source.SETTINGS, actor="system")
        except BudgetExists:
            return False  # another process was faster
        logger.info("%s: made the budget %s per %s from the settings", tenant.slug, scope_type, period)
        return True
    edits = Change.objects.for_tenant(tenant).filter(subject_type="budgets.budget", subject_id=str(known.pk))
    is_ours = known.source == Budget.Source.SETTINGS and not edits.exclude(actor="system").exists()
    if not is_ours or known.archived_at is not None or known.limit_nano_usd == limit_nano_usd:
        return False
    with transaction.atomic():
        row = locked(tenant.pk, known.pk)
        before = describe_budget(row)
        row.limit_nano_usd = limit_nano_usd
        row.save(update_fields=["limit_nano_usd"])
        record_change(tenant.pk, "system", "update", row, before, describe_budget(row))
    return True
