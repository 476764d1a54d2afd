"""May this call be made? The rule of DESIGN 5 as a pure function over what each budget holds.

All budgets that match are looked at and the strictest answer wins:
hard-stop > degrade > disable-tools > warn > allow. docs/budgets.md, "Deciding a check", is its page.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from budgets.calls import Call
from budgets.counters.base import Count, has_room
from budgets.known_models import KnownModels
from budgets.matching import Matched
from budgets.periods import as_datetime

ALLOW, WARN, DISABLE_TOOLS, DEGRADE, HARD_STOP = "allow", "warn", "disable-tools", "degrade", "hard-stop"
STRICTNESS = {ALLOW: 0, WARN: 1, DISABLE_TOOLS: 2, DEGRADE: 3, HARD_STOP: 4}

# Asked for only where a rule could apply: most calls are below every soft cap.
ModelsKnown = Callable[[], KnownModels]


class LookedAt(msgspec.Struct, frozen=True):
    """One budget as it stood when the call was checked, and what it alone would have answered.

    `remaining_nano_usd` is the room to the hard cap before this call, never below 0; `overspent_nano_usd` what is spent
    beyond it. The action of a budget that only observes is what it would have done.
    """

    matched: Matched
    count: Count
    state: str
    action: str
    reason: str
    suggested_model: str | None
    disabled_tools: tuple[str, ...]

    @property
    def remaining_nano_usd(self) -> int:
        used = self.count.spend_nano_usd + self.count.reserved_nano_usd
        return max(0, self.matched.hard_nano_usd - used)

    @property
    def overspent_nano_usd(self) -> int:
        return max(0, self.count.spend_nano_usd - self.matched.hard_nano_usd)


class Decision(msgspec.Struct, frozen=True):
    """The answer to one check, and why.

    `bound` is the budget that decided (None when every budget simply allows, or there is none).
    `remaining_nano_usd` is the least room among the enforced budgets: after this call where it is
    allowed, as it stands where it is refused; None without an enforced budget.
    `resets_at` is when the budget that stopped the call begins afresh; None where it never does, or is frozen.
    """

    id: uuid.UUID
    call: Call
    allowed: bool
    action: str
    reason: str
    bound: LookedAt | None
    suggested_model: str | None
    disabled_tools: tuple[str, ...]
    remaining_nano_usd: int | None
    resets_at: datetime | None
    matched: tuple[Matched, ...]
    counts: tuple[Count, ...]
    models_known: ModelsKnown

    @property
    def looked_at(self) -> tuple[LookedAt, ...]:
        """Each budget as it stood. Worked out when asked for: most calls are allowed and never explained."""
        return tuple(
            _look(self.call, each, count, self.models_known)
            for each, count in zip(self.matched, self.counts, strict=True)
        )

    @property
    def tightest(self) -> LookedAt | None:
        """The enforced budget with the least room, as it stood; the first of several alike. None without one."""
        least: tuple[int, Matched, Count] | None = None
        for each, count in zip(self.matched, self.counts, strict=True):
            if each.budget.is_enforced:
                room = max(0, each.hard_nano_usd - count.spend_nano_usd - count.reserved_nano_usd)
                if least is None or room < least[0]:
                    least = (room, each, count)
        return None if least is None else _look(self.call, least[1], least[2], self.models_known)

    @property
    def is_merely_held(self) -> bool:
        """Whether a refused call would fit in every budget if nothing but what is spent counted: the same call can
        succeed as soon as calls in flight are settled."""
        stops = [each for each in self.looked_at if each.action == HARD_STOP and each.matched.budget.is_enforced]
        return bool(stops) and all(
            each.reason != "frozen"
            and has_room(each.matched.line, each.count._replace(reserved_nano_usd=0), self.call.estimated_nano_usd)
            for each in stops
        )


def decide(
    decision_id: uuid.UUID,
    call: Call,
    matched: Sequence[Matched],
    counts: Sequence[Count],
    models_known: ModelsKnown,
) -> Decision:
    """The decision on `call`, given each matching budget and its count before the call."""
    least = _least_room_when_all_allow(call, matched, counts)
    if least is not None:
        remaining = None if least == _NO_LIMIT else least
        return Decision(
            decision_id, call, True, ALLOW, "within_budget", None, None, (), remaining, None,
            tuple(matched), tuple(counts), models_known,
        )  # fmt: skip
    looked_at = tuple(_look(call, each, count, models_known) for each, count in zip(matched, counts, strict=True))
    enforced = [each for each in looked_at if each.matched.budget.is_enforced]
    bound: LookedAt | None = None
    for each in enforced:
        if bound is None or _weight(each) > _weight(bound):
            bound = each
    action = bound.action if bound is not None else ALLOW
    allowed = action != HARD_STOP
    remaining = min((each.remaining_nano_usd for each in enforced), default=None)
    if remaining is not None and allowed:
        remaining -= call.estimated_nano_usd
    tools = dict.fromkeys(tool for each in enforced for tool in each.disabled_tools)
    return Decision(
        id=decision_id,
        call=call,
        allowed=allowed,
        action=action,
        reason=bound.reason if bound is not None else "within_budget",
        bound=bound if action != ALLOW else None,
        suggested_model=bound.suggested_model if bound is not None else None,
        disabled_tools=tuple(tools),
        remaining_nano_usd=remaining,
        resets_at=None
        if allowed or bound is None or bound.reason == "frozen"
        else as_datetime(bound.matched.window.ends_at),
        matched=tuple(matched),
        counts=tuple(counts),
        models_known=models_known,
    )


def _weight(each: LookedAt) -> tuple[int, bool, int]:
    """The heaviest is the one to name: of equally strict ones what stays when others begin afresh, then what has the
    least room."""
    return STRICTNESS[each.action], each.reason == "frozen", -each.remaining_nano_usd


_NO_LIMIT = 1 << 62


def _least_room_when_all_allow(call: Call, matched: Sequence[Matched], counts: Sequence[Count]) -> int | None:
    """The room that the call leaves in the fullest enforced budget, if every budget simply allows it; else None.

    The usual case in one pass, without explaining each budget.
    """
    least = _NO_LIMIT
    for each, count in zip(matched, counts, strict=True):
        used = count.spend_nano_usd + count.reserved_nano_usd + call.estimated_nano_usd
        if used >= each.soft_nano_usd or each.budget.is_frozen:
            return None
        if each.budget.is_enforced:
            left = each.hard_nano_usd - used
            if left < 0 or used - call.estimated_nano_usd >= each.hard_nano_usd:
                return None
            least = min(least, left)
    return least


def _look(call: Call, matched: Matched, count: Count, models_known: ModelsKnown) -> LookedAt:
    budget = matched.budget
    used = count.spend_nano_usd + count.reserved_nano_usd
    state = spend_state(matched, count.spend_nano_usd)
    if budget.is_frozen:
        return LookedAt(matched, count, state, HARD_STOP, "frozen", None, budget.disabled_tools)
    if not has_room(matched.line, count, call.estimated_nano_usd):
        reason = "exhausted" if used >= matched.hard_nano_usd else "over_hard_cap"
        return LookedAt(matched, count, state, HARD_STOP, reason, None, budget.disabled_tools)
    if used + call.estimated_nano_usd < matched.soft_nano_usd:
        return LookedAt(matched, count, state, ALLOW, "within_budget", None, ())
    if budget.downgrade_rules:
        known = models_known()
        asked = known.all_meant(call.model_names or (call.model,))
        rule = known.next_rule(budget.downgrade_rules, asked, tried=asked)
        if rule is not None:
            return LookedAt(matched, count, state, DEGRADE, "over_soft_cap", rule.to, budget.disabled_tools)
    if not set(call.tools).isdisjoint(budget.disabled_tools):
        return LookedAt(matched, count, state, DISABLE_TOOLS, "over_soft_cap", None, budget.disabled_tools)
    return LookedAt(matched, count, state, WARN, "over_soft_cap", None, budget.disabled_tools)


def spend_state(matched: Matched, spend_nano_usd: int) -> str:
    """active, warned, degraded or stopped: where the money actually spent has brought the window."""
    return state_of(
        spend_nano_usd,
        matched.soft_nano_usd,
        matched.hard_nano_usd,
        degrades=bool(matched.budget.downgrade_rules or matched.budget.disabled_tools),
    )


def state_of(spend_nano_usd: int, soft_nano_usd: int, hard_nano_usd: int, *, degrades: bool) -> str:
    """The state for a spend; `degrades` says that the policy has rules to apply above the soft cap."""
    if spend_nano_usd >= hard_nano_usd:
        return "stopped"
    if spend_nano_usd >= soft_nano_usd:
        return "degraded" if degrades else "warned"
    return "active"
