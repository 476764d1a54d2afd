"""What every answer says about its money: our headers, and the recipe's under their own names.

docs/gateway.md, "What comes back", is their list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgets.decisions import ALLOW, Decision, LookedAt
from spendhub.gateway.exchange import Headers, header_text
from spendhub.money import format_usd

# Where SDKs look for the vendor's own id of an answer, which its support asks for: OpenAI's and Anthropic's.
OPENAIS_ID, ANTHROPICS_ID = "x-request-id", "request-id"
_AMAZONS_ID = "x-amzn-requestid"
# How often a vendor may still be asked, and when again: OpenAI and those who follow it, Anthropic.
_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-")


def vendors_id(told: Mapping[str, str], name: str) -> str | None:
    """The vendor's own id in the headers it has told: by this `name`, else by any that vendors use for it."""
    return told.get(name) or told.get(OPENAIS_ID) or told.get(ANTHROPICS_ID) or told.get(_AMAZONS_ID)


def vendors_id_headers(told: Mapping[str, str], *names: str) -> Headers:
    """That id under each of these names; nothing where the vendor gives none."""
    found = [(name.encode(), vendors_id(told, name)) for name in names]
    return [(name, given.encode("latin-1", "replace")) for name, given in found if given]


def limit_headers(told: Mapping[str, str]) -> Headers:
    """How often the vendor that has told these headers may still be asked, in its own words; nothing where it does not
    say."""
    return [(name.encode(), told[name].encode("latin-1", "replace")) for name in told if name.startswith(_LIMITS)]


def money_headers(
    decision: Decision, model: str, request_id: str, cost_nano_usd: int | None, *, earlier_nano_usd: int = 0
) -> Headers:
    """The headers of a call that was let through. Without a cost (a stream's beginning) the estimate counts.

    `earlier_nano_usd` was spent for the same answer before `decision` was made, which therefore knows of it."""
    charged = decision.call.estimated_nano_usd if cost_nano_usd is None else cost_nano_usd
    headers: Headers = [
        (b"x-spendhub-model", header_text(model)),
        (b"x-spendhub-decision", decision.action.encode()),
        (b"x-spendhub-request-id", request_id.encode()),
    ]
    if cost_nano_usd is not None:
        headers.append((b"x-spendhub-cost", format_usd(cost_nano_usd + earlier_nano_usd).encode()))
    remaining = remaining_after(decision, charged)
    if remaining is not None:
        headers.append((b"x-spendhub-remaining", format_usd(remaining).encode()))
    if decision.action != ALLOW:
        _advise(headers, decision)
    told = _told_about(decision)
    if told is not None:
        spent = told.count.spend_nano_usd + (cost_nano_usd or 0)
        _describe(headers, told, spent, max(0, told.remaining_nano_usd - charged))
    return headers


def review_headers(
    confidence: float | None, count: int, left_out: Mapping[str, str], is_escalated: bool, not_escalated_because: str
) -> Headers:
    """What reviewers thought of an answer: `count` scored it, `left_out` did not, each for a reason."""
    told = f"{count} of {count + len(left_out)}"
    if left_out:
        told += f" ({'; '.join(f'{name}: {reason}' for name, reason in left_out.items())})"
    headers: Headers = [
        (b"x-spendhub-confidence", b"unreviewed" if confidence is None else f"{round(confidence, 4):g}".encode()),
        (b"x-spendhub-escalated", b"true" if is_escalated else b"false"),
        (b"x-spendhub-reviews", header_text(told)),
    ]
    if not_escalated_because:
        headers.append((b"x-spendhub-not-escalated", header_text(not_escalated_because)))
    return headers


def standing_headers(decision: Decision) -> Headers:
    """How the tightest enforced budget stands, for an answer that no budget had to be asked for. Empty without one."""
    told = decision.tightest
    if told is None:
        return []
    headers: Headers = [(b"x-spendhub-remaining", format_usd(told.remaining_nano_usd).encode())]
    _describe(headers, told, told.count.spend_nano_usd, told.remaining_nano_usd)
    return headers


def refusal_headers(decision: Decision) -> Headers:
    """The headers of a refusal."""
    headers: Headers = [(b"x-spendhub-decision", decision.action.encode())]
    headers.append((b"x-spendhub-decision-id", str(decision.id).encode()))
    if decision.remaining_nano_usd is not None:
        headers.append((b"x-spendhub-remaining", format_usd(decision.remaining_nano_usd).encode()))
    _advise(headers, decision)
    told = _told_about(decision)
    if told is not None:
        _describe(headers, told, told.count.spend_nano_usd, told.remaining_nano_usd)
    return headers


def money_object(
    decision: Decision,
    model: str,
    cost_nano_usd: int,
    *,
    is_estimated: bool,
    earlier_nano_usd: int = 0,
    over_hold_nano_usd: int = 0,
) -> dict[str, Any]:
    """The same as an object, for the last usage event of a stream."""
    remaining = remaining_after(decision, cost_nano_usd)
    told: dict[str, Any] = {
        "cost": format_usd(cost_nano_usd + earlier_nano_usd),
        "model": model,
        "remaining": None if remaining is None else format_usd(remaining),
        "decision": decision.action,
    }
    if decision.suggested_model:
        told["suggested_model"] = decision.suggested_model
    if decision.disabled_tools:
        told["disabled_tools"] = list(decision.disabled_tools)
    if over_hold_nano_usd:
        told["over_hold"] = format_usd(over_hold_nano_usd)
    if is_estimated:
        told["estimated"] = True
    return told


def ended_early(money: Mapping[str, Any], reason: str, budget: str) -> dict[str, Any]:
    """`money` of a stream that was ended before its vendor had said all, for a `reason` of `budget`'s."""
    return {**money, "ended": reason, "budget": budget}


def remaining_after(decision: Decision, charged_nano_usd: int) -> int | None:
    """The least room of the enforced budgets once the call has cost this much; None without such a budget."""
    if decision.remaining_nano_usd is None:
        return None
    return max(0, decision.remaining_nano_usd + decision.call.estimated_nano_usd - charged_nano_usd)


def _told_about(decision: Decision) -> LookedAt | None:
    """The budget to tell about: the one that decided, else the enforced one with the least room."""
    return decision.bound or decision.tightest


def _advise(headers: Headers, decision: Decision) -> None:
    if decision.suggested_model:
        headers.append((b"x-spendhub-suggested-model", header_text(decision.suggested_model)))
        headers.append((b"x-budget-suggested-model", header_text(decision.suggested_model)))
    if decision.disabled_tools:
        headers.append((b"x-spendhub-disabled-tools", header_text(",".join(decision.disabled_tools))))
    if decision.bound is not None:
        budget = decision.bound.matched.budget
        warning = f"budget {budget.name!r}: {decision.action} ({decision.reason})"
        headers.append((b"x-spendhub-warning", header_text(warning)))
        headers.append((b"x-budget-warning", header_text(warning)))


def _describe(headers: Headers, told: LookedAt, spent_nano_usd: int, remaining_nano_usd: int) -> None:
    headers.append((b"x-budget-status", told.action.encode()))
    headers.append((b"x-budget-limit", format_usd(told.matched.limit_nano_usd).encode()))
    headers.append((b"x-budget-spent", format_usd(spent_nano_usd).encode()))
    headers.append((b"x-budget-remaining", format_usd(remaining_nano_usd).encode()))
