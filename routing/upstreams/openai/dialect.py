"""OpenAI's wire formats, as OpenAI and every compatible vendor speak them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from routing.conversation import BESIDE_WORDS, Conversation, NotTranslatable
from routing.model_facts import ModelFacts
from routing.upstreams.base import CHAT, EMBEDDINGS, RESPONSES, UpstreamRequest, UsageReader, Wire
from routing.upstreams.foreign_thoughts import items_without
from routing.upstreams.json_objects import encode
from routing.upstreams.openai.addresses import address
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.compatible import in_its_manners, manners_of
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.generations import NO_THINKING
from routing.upstreams.openai.kept_thoughts import keeper_of
from routing.upstreams.openai.request import TOWARDS, chat_body
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.openai.responses_request import responses_body
from routing.upstreams.openai.responses_said import ReadsResponses
from routing.upstreams.openai.which_wire import goes_to_responses, is_only_at_responses, must_say_none
from routing.upstreams.tool_names import PLAIN, answered_in, in_plain_names

# Fields that are ours or other dialects'; a vendor would refuse them.
OWN_FIELDS = ("spendhub",)
_PATHS: Mapping[Wire, str] = {CHAT: "/chat/completions", RESPONSES: "/responses", EMBEDDINGS: "/embeddings"}
_READERS: Mapping[Wire | None, type[ChatReader | ResponsesReader | EmbeddingsReader]] = {
    None: ChatReader,
    RESPONSES: ResponsesReader,
    EMBEDDINGS: EmbeddingsReader,
}


class OpenAIDialect:
    """Chat completions, responses and embeddings; what is translated becomes a chat completion, where the model can be
    asked by one, else a response."""

    name = "openai"
    wires: frozenset[Wire] = frozenset((CHAT, RESPONSES, EMBEDDINGS))
    # What a refusal to translate calls it.
    towards = TOWARDS

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. A chat stream is asked for its usage even when the client did not ask."""
        asked = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        asked["model"] = model.upstream_name
        if wire == CHAT:
            _ask_for_usage(asked, model, is_stream=is_stream)
            in_its_manners(model, asked)
        elif wire == RESPONSES and isinstance(asked.get("input"), list):
            asked["input"] = items_without(asked["input"])
        return self._request(model, credential, wire, asked, is_stream=is_stream)

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        for name in sorted(conversation.asked_beside() & self.lacks(model)):
            raise NotTranslatable(name, self.towards)
        plainly, own_names = in_plain_names(conversation, PLAIN)
        return answered_in(own_names, self._said(model, credential, plainly, is_stream=is_stream), self.reader)

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return ChatReader(is_native=True) if wire == CHAT else _READERS[wire]()

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect."""
        return BESIDE_WORDS if is_only_at_responses(model) else manners_of(model).lacks

    def _said(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        if goes_to_responses(model, conversation):
            said = responses_body(model, conversation) | ({"stream": True} if is_stream else {})
            request = self._request(model, credential, RESPONSES, said, is_stream=is_stream)
            return replace(request, reader=ReadsResponses(keeper_of(model)))
        effort = NO_THINKING if must_say_none(model, conversation) else ""
        asked = chat_body(model, conversation, effort=effort)
        _ask_for_usage(asked, model, is_stream=is_stream)
        return self._request(model, credential, CHAT, asked, is_stream=is_stream)

    def _request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if is_stream else "application/json",
        }
        if credential:
            name = model.provider.auth_header
            headers[name] = f"Bearer {credential}" if name == "authorization" else credential
        return UpstreamRequest(
            "POST",
            address(model.base_url, _PATHS[wire], model.upstream_name),
            headers,
            encode(body),
            model.provider.timeout_seconds,
        )


def _ask_for_usage(asked: dict[str, Any], model: ModelFacts, *, is_stream: bool) -> None:
    options = asked.pop("stream_options", None)
    if not is_stream:
        return
    asked["stream"] = True
    if manners_of(model).wants_asking:
        asked["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
