"""What an answer says of its bill: counts that can be, the service tier it was given in, what we have no price for.

Every reader of answers is one of these; where the vendor says nothing of the kind, nothing is ever set.
Rules: docs/pricing.md, "Service tiers", "Searches of the web" and "Not counted".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from routing.errors import ImpossibleUsage
from routing.service_tiers import tier_name
from routing.token_usage import TokenUsage
from routing.upstreams.rare_warnings import warn_of


class Billed:
    """The part of a reader (see UsageReader) that knows of counts, tiers and tools."""

    service_tier: str | None = None  # the tier's name, "" the standard one; None: the vendor has not said
    not_priced: tuple[str, ...] = ()
    told_cost: Mapping[str, Any] = MappingProxyType({})
    ends_with_body = False
    left_out: tuple[str, ...] = ()
    _told_by = ""

    def logs_as(self, told_by: str) -> None:
        """See UsageReader."""
        self._told_by = told_by

    def usage_in(self, read: Callable[..., TokenUsage], *counts: Any, **more: Any) -> TokenUsage | None:
        """What `read` makes of the vendor's counts; None, and a line of log, for those that no call can have, as if it
        had told none: the answer is whole all the same, and billed. The call is then counted by us."""
        try:
            return read(*counts, **more)
        except ImpossibleUsage as error:
            warn_of(self._told_by, "told usage that cannot be, and is counted by us", error.message)
            return None

    def searched(self) -> int:
        """How many searches of the web were seen, for an answer that never reached its usage."""
        return 0

    def missing_end(self) -> bytes:
        """See UsageReader. There is none where the word for why a stream ends is its last one."""
        return b""

    def note_tier(self, *said: Any) -> None:
        """Takes the vendor's words for the tier; all None: it has not said."""
        if any(word is not None for word in said):
            self.service_tier = tier_name(*said)

    def note_told_cost(self, usage: Mapping[str, Any]) -> None:
        """Takes a usage in which the vendor may say what the call has cost (routing/told_costs.py reads it)."""
        if "cost" in usage or "cost_in_usd_ticks" in usage:
            self.told_cost = usage

    def note_left_out(self, *names: str) -> None:
        """Takes the names of what cannot be told to clients of another format."""
        self.left_out = tuple(dict.fromkeys((*self.left_out, *names)))

    def note_not_priced(self, *names: str) -> None:
        """Takes the names of what was used and is billed by a price that we do not have."""
        self.not_priced = tuple(dict.fromkeys((*self.not_priced, *names)))
