"""Warnings of what a vendor does with each of its answers, or with each event of one: once in a while will do."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

WARNS_AGAIN_AFTER_SECONDS = 600.0
MAX_WARNED = 1_000

_warned: dict[tuple[str, str], float] = {}  # in monotonic seconds, by who has done what


def warn_of(told_by: str, what: str, details: str = "") -> None:
    """Logs that `told_by`, a vendor's model, has done `what`, unless it was logged lately. With "" nobody is told."""
    now = time.monotonic()
    key = told_by, what
    if not told_by or now - _warned.get(key, -WARNS_AGAIN_AFTER_SECONDS) < WARNS_AGAIN_AFTER_SECONDS:
        return
    if len(_warned) >= MAX_WARNED:
        _warned.clear()
    _warned[key] = now
    logger.warning("%s %s%s", told_by, what, f": {details}" if details else "")
