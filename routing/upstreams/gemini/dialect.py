"""Google's generateContent, as the Gemini API speaks it.

The model and whether a stream is wanted stand in the address, not in the body. Embeddings go to Google's
OpenAI-compatible address, which answers OpenAI's /embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.conversation import SPEECH, Conversation
from routing.model_facts import ModelFacts
from routing.upstreams.base import EMBEDDINGS, GENERATE, UpstreamRequest, UsageReader, Wire
from routing.upstreams.foreign_thoughts import contents_without
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.gemini.request import contents_body, stand_in_for
from routing.upstreams.json_objects import encode
from routing.upstreams.openai.dialect import OWN_FIELDS
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.tool_names import GOOGLES, answered_in, in_plain_names


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
        plainly, own_names = in_plain_names(conversation, GOOGLES)
        request = _contents(model, credential, contents_body(model, plainly), is_stream=is_stream)
        return answered_in(own_names, request, self.reader)

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return EmbeddingsReader() if wire == EMBEDDINGS else ContentsReader(is_native=wire is not None)

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect. What speaks there is asked to by Google's own clients alone."""
        return frozenset((SPEECH,))


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
