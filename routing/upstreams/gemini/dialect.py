"""Google's generateContent, as the Gemini API speaks it.

The model and whether a stream is wanted stand in the address, not in the body. Embeddings go to Google's
OpenAI-compatible address, which answers OpenAI's /embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.conversation import Conversation
from routing.snapshot import ModelFacts
from routing.upstreams.base import EMBEDDINGS, GENERATE, UpstreamRequest, UsageReader, Wire
from routing.upstreams.foreign_thoughts import contents_without
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.gemini.request import contents_body, stand_in_for
from routing.upstreams.json_objects import encode
from routing.upstreams.openai.dialect import OWN_FIELDS
from routing.upstreams.openai.embeddings import EmbeddingsReader


class GeminiDialect:
    """Generated contents, passed through and translated; OpenAI's embeddings, passed through."""

    name = "gemini"
    wires: frozenset[Wire] = frozenset((EMBEDDINGS, GENERATE))

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. A stream of generated contents always says its usage."""
        asked = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        if wire == EMBEDDINGS:
            return _embeddings(model, credential, asked)
        asked.pop("model", None)
        if isinstance(asked.get("contents"), list):
            asked["contents"] = contents_without(asked["contents"], stand_in=stand_in_for(model))
        return _contents(model, credential, asked, is_stream=is_stream)

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        return _contents(model, credential, contents_body(model, conversation), is_stream=is_stream)

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return EmbeddingsReader() if wire == EMBEDDINGS else ContentsReader(is_native=wire is not None)

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect."""
        return frozenset()


def _contents(model: ModelFacts, credential: str, body: Mapping[str, Any], *, is_stream: bool) -> UpstreamRequest:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if is_stream else "application/json",
    }
    if credential:
        headers["x-goog-api-key"] = credential
    method = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
    name = model.upstream_name.removeprefix("models/")
    url = f"{model.base_url.rstrip('/')}/models/{name}:{method}"
    return UpstreamRequest("POST", url, headers, encode(body), model.provider.timeout_seconds)


def _embeddings(model: ModelFacts, credential: str, body: dict[str, Any]) -> UpstreamRequest:
    headers = {"content-type": "application/json", "accept": "application/json"}
    if credential:
        headers["authorization"] = f"Bearer {credential}"
    body["model"] = model.upstream_name
    url = f"{model.base_url.rstrip('/')}/openai/embeddings"
    return UpstreamRequest("POST", url, headers, encode(body), model.provider.timeout_seconds)
