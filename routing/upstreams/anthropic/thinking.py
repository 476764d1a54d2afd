"""What a request to Claude may not ask for where it does not think."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def edits_without_thinking(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `body`, a request of messages, but for the edits of its context that demand thinking:
    "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive" (400)."""
    managed = body.get("context_management")
    if not isinstance(managed, Mapping) or not isinstance(managed.get("edits"), list):
        return dict(body)
    edits = [each for each in managed["edits"] if not _clears_thoughts(each)]
    if edits:
        return {**body, "context_management": {**managed, "edits": edits}}
    return {name: value for name, value in body.items() if name != "context_management"}


def _clears_thoughts(edit: Any) -> bool:
    return isinstance(edit, Mapping) and str(edit.get("type")).startswith("clear_thinking")
