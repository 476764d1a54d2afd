"""Answers of OpenAI's /embeddings. Source: OpenAI's API reference, "Embeddings"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.conversation import Delta, Reply
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.billed import Billed
from routing.upstreams.json_objects import object_in
from routing.upstreams.vendor_errors import raise_for_error_answer, raise_unless_list


class EmbeddingsReader(Billed):
    """Reads the usage of an embeddings answer; there is no stream of them, and nothing is said in words."""

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        answer = object_in(body)
        self.note_tier(answer.get("service_tier"))
        usage = answer.get("usage")
        if isinstance(usage, dict):
            self.note_told_cost(usage)
            # `total_tokens` counts the input a second time here; only the prompt is charged.
            counted = usage.get("prompt_tokens", usage.get("total_tokens"))
            self.usage = self.usage_in(TokenUsage.from_totals, input_tokens=counted)
        raise_for_error_answer(answer)
        raise_unless_list(answer, "data")
        self.is_complete = True
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        raise UpstreamError("embeddings are not streamed")

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader."""
        return False

    def produced_tokens(self) -> int:
        """See UsageReader."""
        return 0

    def reply(self) -> Reply:
        """See UsageReader."""
        raise UpstreamError("embeddings say nothing in words")

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        raise UpstreamError("embeddings are not streamed")
