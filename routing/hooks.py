"""Functions of one's own around routing: append them to a list at start, e.g. in an app's `ready()`.

What a hook raises is logged and otherwise ignored: no call fails because somebody watched it. A hook is on the path of
every call, so it must not wait for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # plans.py and retries.py run the hooks
    from routing.errors import UpstreamError
    from routing.plans import Plan
    from routing.wanted import Wanted

logger = logging.getLogger(__name__)

# Before a model is chosen: may answer another `Wanted`, which then counts; None leaves it as it is.
BEFORE_ROUTING: list[Callable[[Wanted], Wanted | None]] = []
# After the plan is made, before anything is held or sent.
AFTER_ROUTING: list[Callable[[Wanted, Plan], None]] = []
# After a call has ended, however it did: the model, status, cost and times, as whoever executes says.
AFTER_EXECUTION: list[Callable[[Mapping[str, Any]], None]] = []
# Whether the same model may be asked again after a failure: yes, no, or None where it has nothing to say of this one.
MAY_REPEAT: list[Callable[[UpstreamError], bool | None]] = []
# A circuit breaker has changed its state, in this process: its "provider/model", the state before, and the one now
# (closed, open, half-open).
BREAKER_CHANGED: list[Callable[[str, str, str], None]] = []


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
    _show(AFTER_ROUTING, "after routing", wanted, plan)


def run_after_execution(facts: Mapping[str, Any]) -> None:
    """Shows the hooks what became of a call."""
    _show(AFTER_EXECUTION, "after execution", facts)


def asked_whether_to_repeat(error: UpstreamError) -> bool | None:
    """What the first hook that has something to say of the failure says; None where none has."""
    for hook in MAY_REPEAT:
        try:
            said = hook(error)
        except Exception:  # a hook is a stranger's code: whatever it raises is its own
            logger.exception("hook %r on a failure failed", hook)
        else:
            if said is not None:
                return bool(said)
    return None


def run_breaker_changed(key: str, before: str, after: str) -> None:
    """Shows the hooks a breaker's change of state."""
    _show(BREAKER_CHANGED, "on a breaker", key, before, after)


def _show(hooks: Iterable[Callable[..., None]], when: str, *facts: object) -> None:
    for hook in hooks:
        try:
            hook(*facts)
        except Exception:  # a hook is a stranger's code: whatever it raises is its own
            logger.exception("hook %r %s failed", hook, when)
