"""A vendor for tests that speaks Anthropic's messages; see vendor.py for its faults.

In the test's process: `with FakeAnthropic() as upstream: upstream.base_url`. On its own:
`python -m tests.fakes.anthropic_upstream --port 9001`, its base URL then is http://127.0.0.1:9001.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.vendor import (
    WORDS_OF_ANSWER,
    Answer,
    FakeVendor,
    bits_of,
    pieces_of,
    plan,
    run,
    sse,
    text_in,
    words_in,
)

__all__ = ["WORDS_OF_ANSWER", "FakeAnthropic"]
MESSAGES, COUNT_TOKENS = "/v1/messages", "/v1/messages/count_tokens"
SIGNATURE = "EqQBCgIYAhIkZmFrZQ=="
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class FakeAnthropic(FakeVendor):
    """As Anthropic."""

    named: Mapping[str, str] = {"request-id": "req_fake", "anthropic-ratelimit-requests-remaining": "49"}

    def serves(self, method: str, path: str) -> bool:
        return method == "POST" and path.partition("?")[0] == MESSAGES

    def other(self, method: str, path: str) -> dict[str, Any] | None:
        return {"input_tokens": 42} if path == COUNT_TOKENS else None

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        last = body["messages"][-1]
        content = last.get("content")
        results: list[Any] = []
        if isinstance(content, list):
            results = [part for part in content if part.get("type") == "tool_result"]
            content = text_in(content)
        tools = body.get("tools") or []
        is_asked = not results and (body.get("tool_choice") or {}).get("type") != "none"
        tool = tools[0]["name"] if tools and is_asked else None
        words = sum(4 + words_in(message.get("content")) for message in body["messages"]) + 3
        result = " ".join(text_in(each.get("content")) for each in results)
        answer = plan(str(content), model=str(body.get("model")), tool=tool, words=words, result=result)
        if results and _lacks_thoughts(body):
            answer.fault = "400"
        return answer

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        message = {
            "id": "msg_01Fake",
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "content": _content(answer),
            "stop_reason": _stop_reason(answer),
            "stop_sequence": None,
            "usage": _usage(answer),
        }
        if answer.fault == "no-usage":
            del message["usage"]
        return message

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        start = {**self.whole(path, body, answer), "content": [], "stop_reason": None}
        if "usage" in start:
            start["usage"] = {**start["usage"], "output_tokens": 1}
            start["usage"].pop("output_tokens_details", None)
        yield _event("message_start", message=start)
        yield _event("ping")
        for index, block in enumerate(_content(answer)):
            yield _event("content_block_start", index=index, content_block=_empty(block))
            for delta in _deltas(block):
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        if answer.fault == "no-usage":
            yield _event("message_delta", delta=delta)
        else:
            # Cumulative, and without the split of what was written into the cache.
            usage = {
                name: value for name, value in _usage(answer).items() if name not in ("cache_creation", "service_tier")
            }
            yield _event("message_delta", delta=delta, usage=usage)
        yield _event("message_stop")

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}

    def error_event(self, path: str, status: int, message: str) -> bytes:
        return sse(self.error(status, message), event="error")


def _lacks_thoughts(body: Mapping[str, Any]) -> bool:
    """Whether the loop of tools began without thoughts, where they are demanded, or has something that is unheard of."""
    loop = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
    called = [block for content in loop if isinstance(content, list) for block in content]
    if any("signature" in block for block in called if block["type"] == "tool_use"):
        return True
    is_manual = (body.get("thinking") or {}).get("type") == "enabled"
    return is_manual and loop[-1][0]["type"] not in ("thinking", "redacted_thinking")


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, event=kind)


def _stop_reason(answer: Answer) -> str:
    if answer.fault in ("blocked", "filtered", "filtered-late"):
        return "refusal"
    return "tool_use" if answer.calls else "end_turn"


def _content(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thoughts:
        blocks.append({"type": "thinking", "thinking": answer.thoughts, "signature": SIGNATURE})
    if answer.text and answer.fault not in ("blocked", "filtered"):
        blocks.append({"type": "text", "text": answer.text})
    for number, (name, arguments) in enumerate(answer.calls, 1):
        blocks.append({"type": "tool_use", "id": f"toolu_0{number}", "name": name, "input": arguments})
    return blocks


def _empty(block: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in pieces_of(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in pieces_of(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield {"type": "input_json_delta", "partial_json": ""}
        for piece in bits_of(json.dumps(block["input"], ensure_ascii=False)):
            yield {"type": "input_json_delta", "partial_json": piece}


def _usage(answer: Answer) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": answer.prompt,
        "cache_creation_input_tokens": answer.written + answer.written_1h,
        "cache_read_input_tokens": answer.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": answer.written,
            "ephemeral_1h_input_tokens": answer.written_1h,
        },
        "output_tokens": answer.all_output,
        "output_tokens_details": {"thinking_tokens": answer.reasoning},
        "service_tier": "standard",
    }
    if answer.searches:
        usage["server_tool_use"] = {"web_search_requests": answer.searches, "web_fetch_requests": 0}
    if answer.fault == "impossible-usage":
        usage["cache_creation"]["ephemeral_1h_input_tokens"] = 999_999
        usage["output_tokens_details"]["thinking_tokens"] = 999_999  # the end of a stream tells no split
    return usage


if __name__ == "__main__":
    run(FakeAnthropic)
