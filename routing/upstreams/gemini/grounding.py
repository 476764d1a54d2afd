"""How many searches an answer of Google's was grounded in, as they are billed.

Source: ai.google.dev, "Gemini Developer API pricing" and "Grounding with Google Search": up to Gemini 2.5 a prompt that
was grounded costs once, however often was searched for it; since Gemini 3 each search costs, where the same words count
once and empty ones not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from routing.upstreams.json_objects import objects_among

_BY_PROMPT = re.compile(r"(models/)?gemini-[12]\b")


class Grounding:
    """Collects what the events of one answer say of the searches made for it."""

    def __init__(self) -> None:
        self.has_maps = False
        self._queries: set[str] = set()
        self._is_grounded = False
        self._is_by_prompt = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes one answer, or one event of a stream."""
        for candidate in objects_among(event.get("candidates")):
            found = candidate.get("groundingMetadata")
            if not isinstance(found, Mapping):
                continue
            self._is_by_prompt = bool(_BY_PROMPT.match(str(event.get("modelVersion") or "")))
            queries = found.get("webSearchQueries")
            if isinstance(queries, list):
                self._queries |= {query for query in queries if isinstance(query, str) and query.strip()}
            chunks = list(objects_among(found.get("groundingChunks")))
            self._is_grounded = self._is_grounded or bool(self._queries) or any("web" in chunk for chunk in chunks)
            self.has_maps = self.has_maps or any("maps" in chunk for chunk in chunks)

    def searches(self) -> int:
        """How many searches are billed."""
        if self._is_by_prompt:
            return int(self._is_grounded)
        return len(self._queries) or int(self._is_grounded)
