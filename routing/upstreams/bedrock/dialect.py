"""Amazon Bedrock's Converse API: one wire format for the models of many vendors. No client speaks it: every chat is
translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from routing.conversation import BESIDE_WORDS, Conversation
from routing.errors import DialectNotSpoken
from routing.model_facts import ModelFacts
from routing.upstreams.base import UpstreamRequest, UsageReader, Wire
from routing.upstreams.bedrock.converse import ConverseReader
from routing.upstreams.bedrock.event_stream import CONTENT_TYPE
from routing.upstreams.bedrock.request import converse_body
from routing.upstreams.bedrock.signing import authentication_headers
from routing.upstreams.json_objects import encode
from routing.upstreams.tool_names import PLAIN, answered_in, in_plain_names


class BedrockDialect:
    """Chats, translated."""

    name = "bedrock"
    wires: frozenset[Wire] = frozenset()

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. There is no such wire."""
        raise DialectNotSpoken(f"{model.provider.name} does not take {wire} as they are", provider=model.provider.name)

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. Raises CredentialUnusable and SigningUnavailable too."""
        method = "converse-stream" if is_stream else "converse"
        url = f"{_address(model)}/model/{_in_path(model.upstream_name)}/{method}"
        plainly, own_names = in_plain_names(conversation, PLAIN)
        body = encode(converse_body(model, plainly))
        # What is signed may not change on the way: the client adds its own user-agent, and that is not signed.
        signed = {"content-type": "application/json"}
        headers = {**signed, "accept": CONTENT_TYPE if is_stream else "application/json"}
        headers |= authentication_headers(model, credential, url, signed, body)
        request = UpstreamRequest("POST", url, headers, body, model.provider.timeout_seconds)
        return answered_in(own_names, request, self.reader)

    def reader(self, wire: Wire | None) -> UsageReader:
        """See Dialect."""
        return ConverseReader()

    def lacks(self, model: ModelFacts) -> frozenset[str]:
        """See Dialect."""
        return BESIDE_WORDS


def _address(model: ModelFacts) -> str:
    # The same host speaks OpenAI's format below /openai/v1: whoever switches the dialect need not change the address.
    return model.base_url.rstrip("/").removesuffix("/openai/v1")


def _in_path(model_id: str) -> str:
    """A model's id, or its ARN, as one segment of the path. A colon stays: a path may have it, and the HTTP client
    would decode it again, after the path was signed."""
    return quote(model_id, safe=":")
