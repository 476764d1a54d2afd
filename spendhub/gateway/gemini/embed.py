"""POST /v1beta/models/{model}:embedContent and :batchEmbedContents: how a client of Google's embeddings asks.

Every vendor of embeddings, Google too, answers OpenAI's /embeddings: the texts are asked for in those words, and
the answer is told in Google's by `EmbedExchange`. Source: ai.google.dev API reference, "Embeddings".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.conversation import NotTranslatable
from routing.errors import UpstreamError
from routing.upstreams.base import EMBEDDINGS
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Exchange, Headers
from spendhub.gateway.gemini.errors import error_answer, error_event
from spendhub.gateway.gemini.field_names import with_googles_names
from spendhub.gateway.openai.embeddings import EmbeddingsDialect
from spendhub.gateway.request_bodies import (
    model_in,
    object_at,
    object_field,
    object_in,
    objects_in,
    optional_text_at,
    some_objects_in,
    text_at,
    whole_in,
)

TOWARDS = "another dialect"
MAX_DIMENSIONS = 100_000
_UNSPECIFIED = ("", "TASK_TYPE_UNSPECIFIED")
_READ = frozenset(("model", "content", "taskType", "outputDimensionality", "labels", "spendhub"))
_encoder = msgspec.json.Encoder()


class EmbedDialect(EmbeddingsDialect):
    """Google's embeddings, asked of `model`, the name in the address; one text or, `is_batch`, several."""

    def __init__(self, model: str, *, is_batch: bool) -> None:
        self._model = model
        self._is_batch = is_batch

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        body = with_googles_names(raw, object_in(raw))
        if self._is_batch:
            requests = some_objects_in(body, "requests")
            places = [f"requests[{position}]" for position in range(len(requests))]
        else:
            requests, places = [body], [""]
        model = model_in({"model": self._model})
        asked: dict[str, Any] = {
            "model": model,
            "input": [_text(request, place) for request, place in zip(requests, places, strict=True)],
            "encoding_format": "float",
        }
        sizes = {whole_in(request, "outputDimensionality", MAX_DIMENSIONS) for request in requests}
        if len(sizes) > 1:
            raise Invalid("outputDimensionality must be the same for all", field="requests")
        if (size := sizes.pop()) is not None:
            asked["dimensions"] = size
        if "spendhub" in body:
            asked["spendhub"] = body["spendhub"]
        return CallRequest(
            wire=EMBEDDINGS,
            body=asked,
            model=model,
            wants_usage=False,
            max_output_tokens=0,
            metadata=object_field(body, "labels"),
            metadata_field="labels",
            kind="embedding",
        )

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect. Never the vendor's own body: it was asked in OpenAI's words."""
        return error_answer(error, EMBEDDINGS)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return error_event(error)


class EmbedExchange(Exchange):
    """An exchange whose answer, written as OpenAI's embeddings, is told as Google's."""

    __slots__ = ("_is_batch",)

    def __init__(self, exchange: Exchange, *, is_batch: bool) -> None:
        self.stand_in_for(exchange)
        self._is_batch = is_batch

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """See Exchange."""
        if status == 200:
            try:
                body = embeddings_told(body, is_batch=self._is_batch)
            except UpstreamError as error:
                # What it cost is in the headers still.
                status, body, _ = error_answer(error, EMBEDDINGS)
        await super().answer(status, body, headers)


def embeddings_told(body: bytes, *, is_batch: bool) -> bytes:
    """OpenAI's embeddings in Google's words. Raises UpstreamError for an answer of no known shape."""
    try:
        told = msgspec.json.decode(body)
        data = sorted(told["data"], key=lambda each: int(each.get("index", 0)))
        found = [{"values": each["embedding"]} for each in data]
        counted = (told.get("usage") or {}).get("prompt_tokens")
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise UpstreamError("the vendor's answer has no embeddings") from None
    if not found:
        raise UpstreamError("the vendor's answer has no embeddings")
    answered: dict[str, Any] = {"embeddings": found} if is_batch else {"embedding": found[0]}
    if counted is not None:
        answered["usageMetadata"] = {"promptTokenCount": counted, "totalTokenCount": counted}
    return _encoder.encode(answered)


def _text(request: Mapping[str, Any], place: str) -> str:
    """The text to embed. Raises NotTranslatable for what OpenAI's embeddings have no word for."""
    dot = f"{place}." if place else ""
    for name, value in request.items():
        if value is not None and name not in _READ:
            raise NotTranslatable(f"{dot}{name[:40]}", TOWARDS)
    if optional_text_at(request.get("taskType"), f"{dot}taskType") not in _UNSPECIFIED:
        raise NotTranslatable(f"{dot}taskType", TOWARDS)
    place = f"{dot}content"
    parts = objects_in(object_at(request.get("content"), place), "parts")
    texts = []
    for position, part in enumerate(parts):
        for name, value in part.items():
            if name != "text" and value is not None:
                raise NotTranslatable(f"{place}.parts[{position}].{name[:40]}", TOWARDS)
        texts.append(text_at(part.get("text"), f"{place}.parts[{position}].text"))
    text = "\n".join(texts)
    if not text:
        raise Invalid(f"{place} must have a text", field=place)
    return text
