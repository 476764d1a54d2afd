"""POST /v1/embeddings: how a client of OpenAI's embeddings asks. Its answers always pass through.

Source: OpenAI's API reference, "Create embeddings".
"""

from __future__ import annotations

from typing import Any

from routing.conversation import Conversation, NotTranslatable, Reply
from routing.model_facts import ModelFacts
from routing.upstreams.base import EMBEDDINGS, UsageReader, Wire
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames
from spendhub.gateway.openai.errors import error_answer, error_event
from spendhub.gateway.request_bodies import flag_in, model_in, object_field, object_in

TOWARDS = "another dialect"
_NEEDS = frozenset(("embeddings",))


class EmbeddingsDialect:
    """OpenAI's embeddings: no tools, no output tokens, no streams, and no words to translate."""

    wire: Wire = EMBEDDINGS
    own_names: OwnNames = {}

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        body = object_in(raw)
        model = model_in(body)
        if not _is_input(body.get("input")):
            raise Invalid("input must be a text, tokens, or a list of either, and not empty", field="input")
        if flag_in(body, "stream"):
            raise Invalid("stream: embeddings are not streamed", field="stream")
        return CallRequest(
            wire=EMBEDDINGS,
            body=body,
            model=model,
            wants_usage=False,
            max_output_tokens=0,
            user=body.get("user"),
            metadata=object_field(body, "metadata"),
            kind="embedding",
        )

    def needs(self, request: CallRequest) -> frozenset[str]:
        """See ClientDialect."""
        return _NEEDS

    def text(self, request: CallRequest) -> str:
        """See ClientDialect. Tokens are no words."""
        given = request.body["input"]
        return given if isinstance(given, str) else "\n".join(each for each in given if isinstance(each, str))

    def conversation(self, request: CallRequest) -> Conversation:
        """See ClientDialect. An embedding is nothing that is said."""
        raise NotTranslatable("input", TOWARDS)

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """See ClientDialect."""
        return request

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """See ClientDialect."""
        return request

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """See ClientDialect."""
        raise NotTranslatable("input", TOWARDS)

    def passing(self, request: CallRequest) -> StreamOut:
        """See ClientDialect."""
        raise NotTranslatable("stream", TOWARDS)

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """See ClientDialect."""
        raise NotTranslatable("stream", TOWARDS)

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect."""
        return error_answer(error, EMBEDDINGS)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return error_event(error)


EMBEDDINGS_DIALECT = EmbeddingsDialect()


def _is_input(given: Any) -> bool:
    if isinstance(given, str):
        return bool(given)
    if not isinstance(given, list) or not given:
        return False
    if isinstance(given[0], int):
        return _are_tokens(given)
    return all(isinstance(each, str) and each for each in given) or all(_are_tokens(each) for each in given)


def _are_tokens(given: Any) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in given)
    )
