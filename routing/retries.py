"""When a failed call may be asked again, and after which pause. Pure, but for what hooks of one's own say (hooks.py).

A call is repeated at the same model only where the vendor has not done the work: it could not be reached, it said
"too often" (429), or it said that it had failed (5xx). A timeout is not repeated there, nor a connection that was
closed after a while, since the vendor may still be working, and billing; another model may be asked. Each attempt is a
call of its own: held, and recorded as a span. docs/routing.md, "When a call fails".
"""

from __future__ import annotations

import random
from collections.abc import Callable

from routing import hooks
from routing.content_refusals import refuses_content
from routing.errors import AnswerTooLarge, AnswerTooLate, UpstreamError, UpstreamRefused, UpstreamTimeout
from routing.upstreams.json_objects import readable_object

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
# OpenAI, Anthropic and Google: try again later. 408 and 409 are theirs for "could not finish in time" and "locked",
# 424 is Amazon's for "the model has failed".
REPEATABLE = frozenset((408, 409, 424, 425, 429, 500, 502, 503, 504, 529))
# A vendor's refusal for reasons of content comes as 400 or 403.
CONTENT_REFUSALS = frozenset((400, 403))


def may_repeat(error: UpstreamError) -> bool:
    """Whether the same model may be asked again: as `MAY_REPEAT` of the hooks says, else as the module does."""
    said = hooks.asked_whether_to_repeat(error) if hooks.MAY_REPEAT else None
    if said is not None:
        return said
    if isinstance(error, UpstreamRefused):
        return error.status in REPEATABLE
    return not (error.was_asked or isinstance(error, UpstreamTimeout))


def may_fall_back(error: UpstreamError, *, on_content_refusal: bool) -> bool:
    """Whether another model may be asked instead."""
    if not isinstance(error, UpstreamRefused):
        return on_content_refusal or not error.refuses_content
    if error.status in REPEATABLE or error.status in (401, 404):
        # A key that was revoked, or a model that is gone: the next vendor knows nothing of it.
        return True
    return on_content_refusal and is_content_refusal(error)


def is_content_refusal(error: UpstreamRefused) -> bool:
    """Whether the vendor refused what was said, not how."""
    return error.status in CONTENT_REFUSALS and refuses_content(readable_object(error.body) or {})


def is_failure(error: UpstreamError) -> bool:
    """Whether it counts against the vendor's health: what the client did wrong, or has no time for, and "too often" do
    not."""
    if isinstance(error, UpstreamRefused):
        return error.status >= 500
    return not isinstance(error, (AnswerTooLate, AnswerTooLarge))


def pause_seconds(error: UpstreamError, attempt: int, dice: Callable[[], float] = random.random) -> float:
    """How long to wait before attempt number `attempt` + 1 at the same model: what the vendor asks for, else a
    pause that doubles, between half and all of it by chance so that callers do not come back all at once."""
    if isinstance(error, UpstreamRefused) and "retry-after" in error.headers and error.retry_after_seconds is not None:
        return float(error.retry_after_seconds)
    longest: float = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
    return longest * (0.5 + dice() / 2)
