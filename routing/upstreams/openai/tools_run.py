"""Which of OpenAI's own tools a response has run, as far as they are billed beside tokens.

Source: OpenAI's API reference, "Responses" (output items), and its pricing page, "Built-in tools": each search costs,
opening and reading a page does not; sandboxes, searches of files and pictures have prices of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from routing.upstreams.json_objects import objects_among

# Their prices (by the session, the call, the picture) are none of ours.
_NOT_PRICED = ("code_interpreter_call", "file_search_call", "image_generation_call")
# With models that do not reason the tool's first version has a price of its own.
_FIRST_VERSION = "web_search_preview"
_WITHOUT_REASONING = re.compile(r"gpt-4(o|\.1)")


def searches_in(items: Any) -> int:
    """How many searches of the web are among these output items."""
    return sum(map(is_search, objects_among(items)))


def is_search(item: Mapping[str, Any]) -> bool:
    """Whether an output item is a search that is billed."""
    action = item.get("action")
    kind = action.get("type") if isinstance(action, Mapping) else None
    return item.get("type") == "web_search_call" and item.get("status") != "failed" and kind in (None, "search")


def not_priced_in(response: Mapping[str, Any], searches: int) -> Iterator[str]:
    """Names of what the response has used and is billed by prices that we do not have."""
    for item in objects_among(response.get("output")):
        if item.get("type") in _NOT_PRICED:
            yield str(item["type"])
    if searches and _WITHOUT_REASONING.match(str(response.get("model") or "")):
        for tool in objects_among(response.get("tools")):
            if str(tool.get("type") or "").startswith(_FIRST_VERSION):
                yield _FIRST_VERSION
