"""What budgets raise: one class per reason, each a kind of spendhub.errors."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from spendhub.errors import Conflict, Invalid, Missing, Refused
from spendhub.money import MAX_NANO_USD, format_usd

if TYPE_CHECKING:
    from budgets.decisions import Decision


# When it is worth asking again for money that calls in flight hold: many last no longer, and with its own two retries
# an SDK that is told so has waited four seconds.
HELD_RETRY_SECONDS = 2


class BudgetExceeded(Refused):
    """A budget has no room for this call; the same call can succeed after `decision.resets_at`, and where money is
    merely held as soon as it is released. None: the budget never begins afresh, or is frozen, until somebody says
    otherwise.

    `decision` says which budget, what remains and which model would still fit.
    """

    code = "budget_exceeded"

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        bound = decision.bound
        assert bound is not None, "a refusal names its budget"
        remaining, asked = bound.remaining_nano_usd, decision.call.estimated_nano_usd
        overspent = format_usd(bound.overspent_nano_usd)
        budget = bound.matched.budget
        if decision.reason == "frozen":
            why = f"Budget {budget.name!r} is frozen: nothing passes until it is unfrozen."
        else:
            beyond = f" and is overspent by {overspent} USD" if bound.overspent_nano_usd else ""
            why = (
                f"Budget {budget.name!r} has {format_usd(remaining)} USD left of "
                f"{format_usd(bound.matched.limit_nano_usd)} USD{beyond}; "
                f"this call needs up to {format_usd(asked)} USD."
            )
        when = f" It begins afresh at {decision.resets_at:%Y-%m-%dT%H:%M:%SZ}." if decision.resets_at else ""
        if decision.is_merely_held:
            when = " The rest is held for calls in flight; the same call can succeed once they are settled."
        cheaper = f" {decision.suggested_model} would still fit." if decision.suggested_model else ""
        super().__init__(
            why + when + cheaper,
            budget=budget.name,
            budget_id=str(budget.id),
            scope=f"{budget.scope_type}:{bound.matched.scope_key}",
            reason=decision.reason,
            remaining=format_usd(remaining),
            overspent=overspent,
            requested=format_usd(asked),
            short_by=format_usd(max(0, asked - remaining)),
            resets_at=decision.resets_at.isoformat().replace("+00:00", "Z") if decision.resets_at else None,
            suggested_model=decision.suggested_model,
            is_merely_held=decision.is_merely_held,
            decision_id=str(decision.id),
        )

    @property
    def retry_after_seconds(self) -> int | None:
        """Whole seconds from the check until the budget begins afresh, HELD_RETRY_SECONDS at most where money is merely
        held; None where nothing is held and it never begins afresh, or it is frozen."""
        told = self.decision
        until_afresh = None
        if told.resets_at is not None:
            until_afresh = max(1, int((told.resets_at - told.call.now).total_seconds()) + 1)
        if not told.is_merely_held:
            return until_afresh
        return HELD_RETRY_SECONDS if until_afresh is None else min(HELD_RETRY_SECONDS, until_afresh)


class EstimateTooLarge(Invalid):
    """The call could cost more than the 9,000,000 USD that can be held for one, and no budget stops it before."""

    code = "estimate_too_large"

    def __init__(self) -> None:
        most = format_usd(MAX_NANO_USD)
        super().__init__(f"This call could cost more than {most} USD: ask for less output.", most=most)


class ReservationMissing(Missing):
    """No reservation of this tenant has that id or idempotency key."""

    code = "reservation_missing"

    def __init__(self, name: uuid.UUID | str) -> None:
        super().__init__(f"There is no reservation {str(name)[:80]!r}.", reservation=str(name)[:80])


class ReservationSettled(Conflict):
    """The reservation has been settled in another way already."""

    code = "reservation_settled"

    def __init__(self, reservation_id: uuid.UUID, status: str) -> None:
        super().__init__(
            f"Reservation {reservation_id} is {status} already.", reservation=str(reservation_id), status=status
        )


class IdempotencyConflict(Conflict):
    """The idempotency key was used before, for a different request."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency key {key[:80]!r} was used for a different request.", idempotency_key=key[:80])
