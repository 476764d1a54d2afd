"""Anthropic's wire format, as Anthropic and those who speak it too write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.conversation import BESIDE_WORDS, Conversation
from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.anthropic.request import messages_body
from routing.upstreams.anthropic.thinking import edits_without_thinking
from routing.upstreams.anthropic.tool_loops import may_think_in_tokens, turns_of
from routing.upstreams.base import MESSAGES, UpstreamRequest, UsageReader, Wire
from routing.upstreams.foreign_thoughts import messages_without
from routing.upstreams.json_objects import encode
from routing.upstreams.tool_names import PLAIN, answered_in, in_plain_names

# Fields that are ours; the vendor would refuse them.
OWN_FIELDS = ("spendhub",)
VERSION = "2023-06-01"


class AnthropicDialect:
    """Messages, passed through and translated."""

    name = "anthropic"
    wires: frozenset[Wire] = frozenset((MESSAGES,))

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. A stream of this wire format always says its usage."""
        asked = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        asked["model"] = model.upstream_name
        if isinstance(asked.get("messages"), list):
            asked["messages"] = messages_without(asked["messages"])
            asked = _thinking_only_where_that_is_taken(model, asked)
        return _request(model, credential, asked, is_stream=is_stream)

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect."""
        plainly, own_names = in_plain_names(conversation, PLAIN)
        request = _request(model, credential, messages_body(model, plainly), is_stream=is_stream)
        return answered_in(own_names, request, self.reader)

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return MessagesReader()

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect."""
        return BESIDE_WORDS


def _thinking_only_where_that_is_taken(model: ModelFacts, asked: dict[str, Any]) -> dict[str, Any]:
    thinking = asked.get("thinking")
    if not isinstance(thinking, Mapping) or thinking.get("type") != "enabled":
        return asked
    if may_think_in_tokens(model.upstream_name, turns_of(asked["messages"]), passes_prefills=True):
        return asked
    del asked["thinking"]
    return edits_without_thinking(asked)


def _request(model: ModelFacts, credential: str, body: dict[str, Any], *, is_stream: bool) -> UpstreamRequest:
    if is_stream:
        body["stream"] = True
    else:
        body.pop("stream", None)
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if is_stream else "application/json",
        "anthropic-version": VERSION,
    }
    if credential:
        headers["x-api-key"] = credential
    address = model.base_url.rstrip("/").removesuffix("/v1")
    return UpstreamRequest("POST", f"{address}/v1/messages", headers, encode(body), model.provider.timeout_seconds)
