"""What can stand between a repeated call and its answer."""

from __future__ import annotations

from spendhub.errors import Conflict
from spendhub.money import format_usd


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used before, by this API key, for another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("this idempotency key was used for another request; a new request needs a key of its own")


class IdempotencyInProgress(Conflict):
    """The first call with this idempotency key is still running; ask again after `retry_after_seconds`."""

    code = "idempotency_in_progress"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "the first call with this idempotency key is still running", retry_after_seconds=retry_after_seconds
        )
        self.retry_after_seconds = retry_after_seconds


TOO_LARGE = "was too large to be kept"
UNREADABLE = "does not open with any of the installation's encryption keys of today"


class IdempotencyNotReplayable(Conflict):
    """The call was made and billed once, but its answer `why` (TOO_LARGE, UNREADABLE) and cannot be given again."""

    code = "idempotency_not_replayable"

    def __init__(self, request_id: str, cost_nano_usd: int | None, why: str) -> None:
        cost = None if cost_nano_usd is None else format_usd(cost_nano_usd)
        super().__init__(
            f"the call with this idempotency key was answered and billed once, but its answer {why}",
            request_id=request_id,
            cost=cost,
        )
