"""Functions of one's own around routing: append them to a list at start, e.g. in an app's `ready()`.

What a hook raises is logged and otherwise ignored: no call fails because somebody watched it. A hook is on the path of
every call, so it must not wait for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # plans.py runs the hooks
    from routing.plans import Plan
    from routing.requirements import Wanted

logger = logging.getLogger(__name__)

# Before a model is chosen: may answer another `Wanted`, which then counts; None leaves it as it is.
BEFORE_ROUTING: list[Callable[[Wanted], Wanted | None]] = []
# After the plan is made, before anything is held or sent.
AFTER_ROUTING: list[Callable[[Wanted, Plan], None]] = []
# After a call has ended, however it did: the model, status, cost and times, as whoever executes says.
AFTER_EXECUTION: list[Callable[[Mapping[str, Any]], None]] = []


def run_before_routing(wanted: Wanted) -> Wanted:
    """What the hooks make of `wanted`, one after the other."""
    for hook in BEFORE_ROUTING:
        try:
            wanted = hook(wanted) or wanted
        except Exception:  # a hook is a stranger's code: whatever it raises is its own
            logger.exception("hook %r before routing failed", hook)
    return wanted


def run_after_routing(wanted: Wanted, plan: Plan) -> None:
    """Shows the plan to the hooks."""
    for hook in AFTER_ROUTING:
        try:
            hook(wanted, plan)
        except Exception:  # a hook is a stranger's code: whatever it raises is its own
            logger.exception("hook %r after routing failed", hook)


def run_after_execution(facts: Mapping[str, Any]) -> None:
    """Shows the hooks what became of a call."""
    for hook in AFTER_EXECUTION:
        try:
            hook(facts)
        except Exception:  # a hook is a stranger's code: whatever it raises is its own
            logger.exception("hook %r after execution failed", hook)
