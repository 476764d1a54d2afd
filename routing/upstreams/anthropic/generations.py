"""What the generations of Claude take differently. Anthropic refuses with 400 what a model does not take.

Source: platform.claude.com, "Thinking", "What's new in Claude Opus 4.7 / Opus 5 / Opus 5.5 / Sonnet 5.5 / Haiku 5.5"
and their migration guides, read 2026-11-24.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# claude-opus-4-8, claude-sonnet-4-20250514; before them claude-3-7-sonnet-20250219.
_NAME = re.compile(r"claude-(?P<line>[a-z]+)-(?P<major>\d{1,2})(?!\d)(?:-(?P<minor>\d{1,2})(?!\d))?")
_OLD_NAME = re.compile(r"claude-(?P<major>\d)(?:-(?P<minor>\d))?-(?P<line>[a-z]+)")
_ALWAYS_THINK = ("fable", "mythos")


@dataclass(frozen=True, slots=True)
class Generation:
    """`thinks_in`: whether thinking is asked for as a number of tokens or in words. `stops_thinking_by`: the
    `thinking.type` for none of it; "" when nothing need be said, None when it always thinks."""

    thinks_in: Literal["tokens", "words"]
    stops_thinking_by: str | None
    takes_sampling: bool
    takes_forced_tools: bool
    takes_schemas: bool
    takes_xhigh: bool


def generation_of(upstream_name: str) -> Generation:
    """What the model called `upstream_name` takes. A Claude we do not know is taken for a new one; another vendor's
    model that speaks this dialect for one that takes everything."""
    if "claude" not in upstream_name:
        return Generation("tokens", "", True, True, True, False)
    found = _NAME.search(upstream_name) or _OLD_NAME.search(upstream_name)
    if found is None:
        return Generation("words", None, False, False, True, True)
    line = found["line"]
    version = (int(found["major"]), int(found["minor"] or 0))
    is_newest = version >= (5, 5) or (line in _ALWAYS_THINK and version >= (5, 1))
    if version < (4, 6):
        stops: str | None = ""
    elif line in _ALWAYS_THINK or (line == "opus" and version >= (5, 5)):
        stops = None
    else:
        stops = "between_tools" if line == "sonnet" and version >= (5, 5) else "disabled"
    return Generation(
        thinks_in="words" if version >= (4, 6) else "tokens",
        stops_thinking_by=stops,
        takes_sampling=version < (4, 7),
        takes_forced_tools=not is_newest or line == "haiku",
        takes_schemas=version >= (4, 5),
        takes_xhigh=version >= (4, 7),
    )
