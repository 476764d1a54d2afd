"""Service tiers: how fast, how soon or where a vendor answers, at other prices. Names as prices and spans bear them.

"" is the standard tier. A call may be in several at once (Anthropic's `speed: fast` in the `us`): their names are then
joined by "+", in alphabetical order, and are one tier with a price of its own. docs/pricing.md, "Service tiers".
"""

from __future__ import annotations

import re
from typing import Any

STANDARD = ""
MAX_TIER_LENGTH = 40
TIER_PATTERN = r"^[a-z0-9][a-z0-9_.-]*(\+[a-z0-9][a-z0-9_.-]*)*\Z"
# Vendors' words for what costs what everything costs. `auto` in a request leaves the choice to the vendor, whose
# answer then says what it was; `not_available` is Anthropic's word for models without a choice of place.
_STANDARD_WORDS = frozenset(
    ("", "auto", "default", "standard", "standard_only", "on_demand", "unspecified", "global", "not_available")
)
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]*\Z")


def tier_name(*said: Any) -> str:
    """The tier that a vendor's or a client's words come to; what is no word, or says nothing special, is left out."""
    words = {word.strip().lower() for word in said if isinstance(word, str)} - _STANDARD_WORDS
    return "+".join(sorted(word for word in words if _WORD.match(word)))[:MAX_TIER_LENGTH]
