"""Google's generateContent, as the Gemini API speaks it. No client's wire format: every chat is translated.

Embeddings are the exception: Google answers OpenAI's /embeddings itself, at its OpenAI-compatible address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.conversation import Conversation
from routing.snapshot import ModelFacts
from routing.upstreams.base import EMBEDDINGS, UpstreamRequest, UsageReader, Wire
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.gemini.request import contents_body
from routing.upstreams.json_objects import encode
from routing.upstreams.openai.dialect import OWN_FIELDS
from routing.upstreams.openai.embeddings import EmbeddingsReader


class GeminiDialect:
    """Chats, translated; OpenAI's embeddings, passed through."""

    name = "gemini"
    wires: frozenset[Wire] = frozenset((EMBEDDINGS,))

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        asked = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        asked["model"] = model.upstream_name
        headers = {"content-type": "application/json", "accept": "application/json"}
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        url = f"{model.base_url.rstrip('/')}/openai/embeddings"
        return UpstreamRequest("POST", url, headers, encode(asked), model.provider.timeout_seconds)

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if is_stream else "application/json",
        }
        if credential:
            headers["x-goog-api-key"] = credential
        method = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
        name = model.upstream_name.removeprefix("models/")
        return UpstreamRequest(
            "POST",
            f"{model.base_url.rstrip('/')}/models/{name}:{method}",
            headers,
            encode(contents_body(model, conversation)),
            model.provider.timeout_seconds,
        )

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return EmbeddingsReader() if wire == EMBEDDINGS else ContentsReader()
