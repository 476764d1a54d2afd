"""The headers `x-spendhub-...` that a request may have. One that is misspelt is refused, as an unknown field of the
body's `spendhub` is: else its call would count for nobody, or without its limits, and no SDK shows its user a warning
among an answer's headers. docs/gateway.md, "Who a call is for"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from spendhub.errors import Invalid
from spendhub.tenants.attribution import DIMENSIONS

# What a call may demand: each a header, and a field of the body's `spendhub`; see declared.py.
DEMANDS = (
    "strategy", "capabilities", "min_quality", "max_cost", "max_latency_ms", "timeout_ms", "region", "allow", "deny",
    "user_tier", "confidence_threshold", "wait_seconds",
)  # fmt: skip
PREFIX = b"x-spendhub-"
WAIT = b"x-spendhub-wait"
CACHE = b"x-spendhub-cache"
IDEMPOTENCY_KEY = b"x-spendhub-idempotency-key"
REQUEST_ID = b"x-spendhub-request-id"
MAX_NAME = 60


def _headers_of(names: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, PREFIX + name.replace("_", "-").encode()) for name in names)


# Pairs of a name and its header.
DIMENSION_HEADERS = _headers_of(DIMENSIONS)
DEMAND_HEADERS = _headers_of(DEMANDS)
_KNOWN = frozenset(header for _, header in (*DIMENSION_HEADERS, *DEMAND_HEADERS)).union(
    (WAIT, CACHE, IDEMPOTENCY_KEY, REQUEST_ID)
)
_WORDS = sorted(name.removeprefix(PREFIX).decode() for name in _KNOWN)


class InvalidDemand(Invalid):
    """A header `x-spendhub-...`, or a field of the body's `spendhub`, says something that cannot be, or has a name that
    we do not know."""

    code = "invalid_demand"


def check_names(names: Iterable[bytes]) -> None:
    """Raises InvalidDemand for the first of a request's headers that is named as ours are, and is none of them."""
    for name in names:
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise _unknown(name[:MAX_NAME].decode("ascii", "replace"))


def _unknown(name: str) -> InvalidDemand:
    shown = "".join(character if "!" <= character <= "~" else "?" for character in name)
    ours = PREFIX.decode()
    close = get_close_matches(shown.removeprefix(ours), _WORDS, 1)
    instead = f"did you mean {ours}{close[0]}?" if close else f"there are {ours} {', '.join(_WORDS)}"
    return InvalidDemand(f"there is no header {shown}; {instead}", field=shown)
