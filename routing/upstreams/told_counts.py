"""Counts of tokens as vendors tell them. Those that no call can have count as not told: the answer is whole all the
same, and its vendor bills it. Such a call is counted by us (docs/gateway.md, "When something goes wrong").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from routing.errors import ImpossibleUsage
from routing.token_usage import TokenUsage
from routing.upstreams.rare_warnings import warn_of

Counts = ParamSpec("Counts")


def possible(
    told_by: str, read: Callable[Counts, TokenUsage], *counts: Counts.args, **more: Counts.kwargs
) -> TokenUsage | None:
    """What `read` makes of a vendor's counts; None, and a line of log, for those that it refuses. `told_by` names the
    vendor's model there; with "" nothing is logged."""
    try:
        return read(*counts, **more)
    except ImpossibleUsage as error:
        warn_of(told_by, "told usage that cannot be, and is counted by us", error.message)
        return None
