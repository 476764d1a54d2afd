"""Counts of tokens as vendors tell them. Those that no call can have count as not told: the answer is whole all the
same, and its vendor bills it. Such a call is counted by us (docs/gateway.md, "When something goes wrong").
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ParamSpec

from routing.errors import ImpossibleUsage
from routing.token_usage import TokenUsage

logger = logging.getLogger(__name__)

# Who tells such counts tells them with each answer, or with each event of one.
WARNS_AGAIN_AFTER_SECONDS = 600.0
MAX_WARNED = 1_000

Counts = ParamSpec("Counts")

_warned: dict[str, float] = {}  # in monotonic seconds, by who has told


def possible(
    told_by: str, read: Callable[Counts, TokenUsage], *counts: Counts.args, **more: Counts.kwargs
) -> TokenUsage | None:
    """What `read` makes of a vendor's counts; None, and a line of log, for those that it refuses. `told_by` names the
    vendor's model there; with "" nothing is logged."""
    try:
        return read(*counts, **more)
    except ImpossibleUsage as error:
        if told_by:
            _warn(told_by, error)
        return None


def _warn(told_by: str, error: ImpossibleUsage) -> None:
    now = time.monotonic()
    if now - _warned.get(told_by, -WARNS_AGAIN_AFTER_SECONDS) < WARNS_AGAIN_AFTER_SECONDS:
        return
    if len(_warned) >= MAX_WARNED:
        _warned.clear()
    _warned[told_by] = now
    logger.warning("%s told usage that cannot be, and is counted by us: %s", told_by, error.message)
