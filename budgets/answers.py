"""Decisions in the words of the wire: what `check` and `reservations` answer, and the headers beside it.

Money as decimal strings in USD, times in ISO 8601 with Z. Source: docs/api.md, "Checking".
"""

from __future__ import annotations

import functools
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from budgets.decisions import ALLOW, DEGRADE, DISABLE_TOOLS, HARD_STOP, WARN, Decision, LookedAt
from budgets.errors import BudgetExceeded
from budgets.periods import as_datetime
from spendhub.money import format_usd


def iso(moment: datetime) -> str:
    """An aware moment as ISO 8601 in UTC, with Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@functools.lru_cache(maxsize=4096)
def iso_of_epoch(epoch_seconds: int | None) -> str | None:
    """Epoch seconds as ISO 8601 with Z; None stays None. The ends of windows are asked for with every call."""
    moment = as_datetime(epoch_seconds)
    return None if moment is None else iso(moment)


def looked_at_answer(each: LookedAt) -> dict[str, Any]:
    """One budget as it stood when the call was checked."""
    budget, scope_key, window, limit, soft, hard, *_ = each.matched
    count = each.count
    return {
        "id": str(budget.id),
        "name": budget.name,
        "scope": f"{budget.scope_type}:{scope_key}",
        "period": budget.period,
        "mode": "enforce" if budget.is_enforced else "observe",
        "window": {"start": iso_of_epoch(window.starts_at), "end": iso_of_epoch(window.ends_at)},
        "limit": format_usd(limit),
        "soft_limit": format_usd(soft),
        "hard_limit": format_usd(hard),
        "spent": format_usd(count.spend_nano_usd),
        "reserved": format_usd(count.reserved_nano_usd),
        "remaining": format_usd(each.remaining_nano_usd),
        "overspent": format_usd(each.overspent_nano_usd),
        "state": each.state,
        "action": each.action,
        "reason": each.reason,
    }


def decision_answer(decision: Decision) -> dict[str, Any]:
    """What `check` answers, allowed or not."""
    call, disabled = decision.call, decision.disabled_tools
    remaining, resets_at = decision.remaining_nano_usd, decision.resets_at
    return {
        "allowed": decision.allowed,
        "action": decision.action,
        "reason": decision.reason,
        "warning": warning_of(decision),
        "decision_id": str(decision.id),
        "model": call.model or None,
        "estimated_cost": format_usd(call.estimated_nano_usd),
        "suggested_model": decision.suggested_model,
        "disabled_tools": disabled,
        "kept_tools": [tool for tool in call.tools if tool not in disabled] if disabled else call.tools,
        "remaining": None if remaining is None else format_usd(remaining),
        "resets_at": None if resets_at is None else iso(resets_at),
        "budgets": [looked_at_answer(each) for each in decision.looked_at],
    }


def reservation_answer(decision: Decision, reservation_id: uuid.UUID, expires_at: datetime) -> dict[str, Any]:
    """What `reservations` answers: the check's answer, and what is held until when."""
    return {
        "id": str(reservation_id),
        "amount": format_usd(decision.call.estimated_nano_usd),
        "expires_at": iso(expires_at),
        **decision_answer(decision),
    }


def refusal_answer(error: BudgetExceeded) -> dict[str, Any]:
    """A 402: the check's answer as always, and the error beside it, whose details hold the budgets too."""
    answer = decision_answer(error.decision)
    details = {**error.details, "budgets": answer["budgets"]}
    return {**answer, "error": {"code": error.code, "message": error.message, "details": details}}


def warning_of(decision: Decision) -> str | None:
    """One sentence for people, None where all is well."""
    bound = decision.bound
    if bound is None or decision.action == ALLOW:
        return None
    name, share = bound.matched.budget.name, _percent(bound, decision.call.estimated_nano_usd)
    if decision.reason == "frozen":
        return f"Budget {name!r} is frozen."
    what = {
        WARN: "has passed its soft cap",
        DEGRADE: f"has passed its soft cap; {decision.suggested_model} is cheaper",
        DISABLE_TOOLS: "has passed its soft cap; some tools are disabled",
        HARD_STOP: "has no room for this call",
    }[decision.action]
    return f"Budget {name!r} {what} ({share} of its limit with this call)."


def budget_headers(decision: Decision) -> dict[str, str]:
    """X-Budget-*: the budget that bound, or the enforced one with the least room. Empty without any."""
    tightest = decision.bound
    if tightest is None:
        for each in decision.looked_at:
            if each.matched.budget.is_enforced and (
                tightest is None or each.remaining_nano_usd < tightest.remaining_nano_usd
            ):
                tightest = each
    if tightest is None:
        return {}
    headers = {
        "X-Budget-Status": tightest.state,
        "X-Budget-Limit": format_usd(tightest.matched.limit_nano_usd),
        "X-Budget-Spent": format_usd(tightest.count.spend_nano_usd),
    }
    if decision.remaining_nano_usd is not None:
        headers["X-Budget-Remaining"] = format_usd(decision.remaining_nano_usd)
    if decision.suggested_model:
        headers["X-Budget-Suggested-Model"] = quote(decision.suggested_model, safe="/:.@ -_")
    warning = warning_of(decision)
    if warning is not None:
        # A header holds ASCII only; the body has the name as it is written.
        headers["X-Budget-Warning"] = warning.encode("ascii", "replace").decode()
    return headers


def _percent(bound: LookedAt, estimated_nano_usd: int) -> str:
    limit = bound.matched.limit_nano_usd
    used = bound.count.spend_nano_usd + bound.count.reserved_nano_usd + estimated_nano_usd
    return f"{1000 * used // limit / 10:.1f} %" if limit else "over 100 %"
