"""The sandbox's dialect: OpenAI's wire format, sent to the responder in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from routing.snapshot import ModelFacts
from routing.upstreams.base import UpstreamRequest
from routing.upstreams.openai.chat import OpenAIDialect

SANDBOX_SCHEME = "sandbox:"


class SandboxDialect(OpenAIDialect):
    """As OpenAI's; needs no address and no key."""

    name = "sandbox"

    def chat_request(
        self, model: ModelFacts, credential: str, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        request = super().chat_request(model, "", body, is_stream=is_stream)
        return replace(request, url=f"{SANDBOX_SCHEME}/chat/completions")
