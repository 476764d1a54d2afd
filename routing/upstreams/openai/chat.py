"""OpenAI's chat completions, as OpenAI and every compatible vendor speak them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.errors import ImpossibleUsage, UpstreamError
from routing.pricing import TokenUsage
from routing.snapshot import ModelFacts
from routing.tokens import count_tokens
from routing.upstreams.base import UpstreamRequest

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
# Fields that are ours or other dialects'; a vendor would refuse them.
OWN_FIELDS = ("spendhub",)


class OpenAIUsageReader:
    """Reads chat completions and their streams. Events without usage are kept unparsed: parsing costs."""

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self._events: list[bytes] = []

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        answer = _object(body)
        self._take_usage(answer)
        for choice in answer.get("choices") or ():
            if isinstance(choice, dict):
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self._events = [body]
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader. Vendors send usage in a last event of its own, or with every event (`null` until then)."""
        if data == b"[DONE]":
            return None
        self._events.append(data)
        if b'"usage"' not in data or b'"usage":null' in data or b'"usage": null' in data:
            return None
        event = _object(data)
        if not isinstance(event.get("usage"), dict):
            return None
        self._take_usage(event)
        return event

    def produced_tokens(self) -> int:
        """See UsageReader."""
        total = 0
        for data in self._events:
            try:
                event = _object(data)
            except UpstreamError:
                continue  # Handed on as it came; there is nothing in it to count.
            self.response_id = self.response_id or event.get("id")
            for choice in event.get("choices") or ():
                part = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else {}
                for name in ("content", "reasoning_content", "refusal"):
                    if isinstance(part.get(name), str):
                        total += count_tokens(part[name])
                for call in part.get("tool_calls") or ():
                    function = call.get("function") or {}
                    total += count_tokens(f"{function.get('name') or ''} {function.get('arguments') or ''}")
        return total

    def _take_usage(self, answer: Mapping[str, Any]) -> None:
        self.response_id = answer.get("id") or self.response_id
        usage = answer.get("usage")
        if isinstance(usage, dict):
            try:
                self.usage = TokenUsage.from_openai(usage)
            except ImpossibleUsage as error:
                raise UpstreamError(f"the vendor reported impossible usage: {error.message}") from None


class OpenAIDialect:
    """Requests and answers of /chat/completions."""

    name = "openai"

    def chat_request(
        self, model: ModelFacts, credential: str, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        """See Dialect. A stream is asked for its usage even when the client did not ask."""
        asked = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        asked["model"] = model.upstream_name
        if is_stream:
            options = body.get("stream_options")
            asked["stream"] = True
            asked["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        else:
            asked.pop("stream_options", None)
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if is_stream else "application/json",
        }
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        return UpstreamRequest(
            "POST",
            f"{model.base_url.rstrip('/')}/chat/completions",
            headers,
            _encoder.encode(asked),
            model.provider.timeout_seconds,
        )

    def usage_reader(self) -> OpenAIUsageReader:
        """See Dialect."""
        return OpenAIUsageReader()


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = _decoder.decode(data)
    except msgspec.DecodeError:
        raise UpstreamError("the vendor's answer is no JSON") from None
    if not isinstance(found, dict):
        raise UpstreamError("the vendor's answer is no JSON object")
    return found
