"""The sandbox's dialect: OpenAI's wire format, sent to the responder in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from routing.conversation import LOGPROBS, NotTranslatable
from routing.model_facts import ModelFacts
from routing.upstreams.base import CHAT, EMBEDDINGS, UpstreamRequest, Wire
from routing.upstreams.openai.dialect import OpenAIDialect

SANDBOX_SCHEME = "sandbox:"


class SandboxDialect(OpenAIDialect):
    """As OpenAI's; needs no address and no key."""

    name = "sandbox"
    wires: frozenset[Wire] = frozenset((CHAT, EMBEDDINGS))
    towards = "SpendHub's sandbox"

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. Raises NotTranslatable where a client wants to know how likely the words are."""
        if wire == CHAT and (body.get("logprobs") or body.get("top_logprobs")):
            raise NotTranslatable("logprobs", self.towards)
        return super().native_request(model, credential, wire, body, is_stream=is_stream)

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect. What nobody has thought has no probability."""
        return frozenset((LOGPROBS,))

    def _request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        request = super()._request(model, "", wire, body, is_stream=is_stream)
        return replace(request, url=f"{SANDBOX_SCHEME}{request.url.removeprefix(model.base_url)}")
