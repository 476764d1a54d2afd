"""A vendor for tests that speaks OpenAI's chat completions, responses and embeddings; see vendor.py for its faults. Two are
its own: `content-400` (the request is refused for its content), `safety-400` (for a field that has to do with safety).

In the test's process: `with FakeOpenAI() as upstream: upstream.base_url`. On its own:
`python -m tests.fakes.openai_upstream --port 9000`, its base URL then is http://127.0.0.1:9000/v1.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import takewhile
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

__all__ = ["WORDS_OF_ANSWER", "FakeOpenAI"]
LOGPROB = -0.5
CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
REFUSAL = "I cannot say that."
REFUSALS: Mapping[str, dict[str, Any]] = {
    "content-400": {
        "error": {"message": "Not this.", "type": "invalid_request_error", "param": None, "code": "content_filter"}
    },
    "safety-400": {
        "error": {
            "message": "Invalid 'safety_identifier': string too long. See also safety_settings, content_filter.",
            "type": "invalid_request_error", "param": "safety_identifier", "code": "string_above_max_length",
        }
    },
}  # fmt: skip
# Of their names what it takes to try each: as OpenAI's list of models says where they are served.
_ONLY_AT_RESPONSES = re.compile(r"gpt-5(\.\d)?-pro|o[13]-pro|gpt-5(\.\d)?-codex|codex-mini|o4-mini-deep-research")
_NO_TOOLS_BESIDE_REASONING = re.compile(r"gpt-5\.[4-9]|gpt-6")
# Of a chat completion alone.
_NOT_IN_RESPONSES = frozenset(
    (
        "messages", "stop", "seed", "n", "frequency_penalty", "presence_penalty", "logit_bias", "response_format",
        "reasoning_effort", "max_tokens", "max_completion_tokens", "logprobs", "top_k",
    )
)  # fmt: skip
ENCRYPTED = "gAAAAABfake=="


class FakeOpenAI(FakeVendor):
    """As OpenAI."""

    base_path = "/v1"
    named: Mapping[str, str] = {"x-request-id": "req_fake", "x-ratelimit-remaining-tokens": "59"}

    def serves(self, method: str, path: str) -> bool:
        return method == "POST" and path in (CHAT, RESPONSES, EMBEDDINGS)

    def other(self, method: str, path: str) -> dict[str, Any] | None:
        return {"object": "list", "data": []} if path == "/v1/models" else None

    def refusal(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """As OpenAI refuses what it does not serve there."""
        model = str(body.get("model"))
        if path == RESPONSES:
            why = next(_unsaid_of_responses(body), None)
            return None if why is None else (400, _invalid(*why))
        if path != CHAT:
            return None
        if _ONLY_AT_RESPONSES.match(model):
            told = "This model is only supported in v1/responses and not in v1/chat/completions."
            return 404, _invalid(told, "model")
        effort = body.get("reasoning_effort") or ("none" if model.startswith("gpt-5.4") else "medium")
        if body.get("tools") and _NO_TOOLS_BESIDE_REASONING.match(model) and effort != "none":
            told = (
                f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
                "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
            )
            return 400, _invalid(told, "reasoning_effort")
        return None

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        if path == EMBEDDINGS:
            texts = _inputs(body)
            planned = plan(" ".join(texts), model=str(body.get("model")), tool=None, words=sum(map(words_in, texts)))
            planned.completion, planned.text = 0, ""
            return planned
        _check_logprobs(body)
        items = body["messages"] if path == CHAT else _items(body)
        last = items[-1]
        results = [_result(item) for item in takewhile(_is_result, reversed(items))]
        tools = body.get("tools") or []
        is_asked = last.get("role") == "user" and body.get("tool_choice") != "none"
        tool = (tools[0].get("function") or tools[0]).get("name") if tools and is_asked else None
        words = sum(4 + words_in(item.get("content")) for item in items) + 3
        asked, result = text_in(last.get("content")), " ".join(reversed(results))
        planned = plan(asked, model=str(body.get("model")), tool=tool, words=words, result=result)
        planned.completion *= body.get("n") or 1
        if body.get("response_format") and str(body.get("model")).startswith("reviewer-plain-"):
            planned.fault = "400"  # as a vendor who knows no schemas
        return planned

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        if path == EMBEDDINGS:
            return _embeddings(body, answer)
        if path == RESPONSES:
            return _ended_response(body, answer, _output(body, answer))
        return _completion(body, answer)

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        return _response_events(body, answer) if path == RESPONSES else _chunks(body, answer)

    def error(self, status: int, message: str) -> dict[str, Any]:
        kinds = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
        return {"error": {"message": message, "type": "fake_error", "param": None, "code": kinds.get(status)}}

    def told_400(self, fault: str) -> dict[str, Any] | None:
        return REFUSALS.get(fault)

    def error_event(self, path: str, status: int, message: str) -> bytes:
        if path != RESPONSES:
            return super().error_event(path, status, message)
        told = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 99}
        return sse(told, event="error")


def _completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    if answer.calls:
        message["tool_calls"] = _tool_calls(answer)
    if answer.fault == "blocked":
        message |= {"content": None, "refusal": REFUSAL}
    if answer.fault == "filtered":
        message["content"] = ""
    whole = {
        **_head(body, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": message,
                "logprobs": _logprobs(body, answer.text),
                "finish_reason": _finish_reason(answer),
            }
            for index in range(body.get("n") or 1)
        ],
    }
    if answer.fault == "no-choices":
        whole["choices"] = None
    return whole if answer.fault == "no-usage" else {**whole, "usage": _usage(answer)}


def _chunks(body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
    options = body.get("stream_options") or {}
    includes_usage = bool(options.get("include_usage")) and answer.fault not in ("no-usage", "no-end")
    head = _head(body, "chat.completion.chunk")
    if includes_usage:
        head["usage"] = _usage(answer) if answer.fault == "usage-every-chunk" else None

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        logprobs = _logprobs(body, delta.get("content"))
        choice = {"delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return b"".join(sse({**head, "choices": [{"index": index, **choice}]}) for index in range(body.get("n") or 1))

    yield chunk({"role": "assistant", "content": None if answer.calls else "", "refusal": None})
    for piece in pieces_of(answer.thoughts):
        yield chunk({"reasoning_content": piece})
    if answer.fault == "blocked":
        yield chunk({"refusal": REFUSAL})
    elif answer.fault != "filtered":
        for piece in pieces_of(answer.text):
            yield chunk({"content": piece})
    for index, call in enumerate(_tool_calls(answer)):
        function = call["function"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        for piece in bits_of(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish_reason(answer))
    if includes_usage:
        yield sse({**head, "choices": [], "usage": _usage(answer)})
    if answer.fault != "no-end":
        yield b"data: [DONE]\n\n"


def _check_logprobs(body: Mapping[str, Any]) -> None:
    """As OpenAI: how many of the likeliest are told is a whole number up to 20. Raises ValueError."""
    top = body.get("top_logprobs")
    if top is not None and (type(top) is not int or not 0 <= top <= 20):
        raise ValueError("top_logprobs")


def _logprobs(body: Mapping[str, Any], text: str | None) -> dict[str, Any] | None:
    """How likely the words were, each a token; the likeliest in its place is itself, and the others are numbers."""
    if not body.get("logprobs") or not text:
        return None
    top = int(body.get("top_logprobs") or 0)
    others = [{"token": str(number), "bytes": None, "logprob": 2 * LOGPROB} for number in range(1, top)]
    tokens = [{"token": word, "bytes": list(word.encode()), "logprob": LOGPROB} for word in pieces_of(text)]
    return {"content": [{**token, "top_logprobs": [token, *others][:top]} for token in tokens], "refusal": None}


def _finish_reason(answer: Answer) -> str:
    if answer.fault in ("blocked", "filtered", "filtered-late"):
        return "content_filter"
    return "tool_calls" if answer.calls else "stop"


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for number, (name, arguments) in enumerate(answer.calls, 1)
    ]


def _usage(answer: Answer) -> dict[str, Any]:
    usage = {
        "prompt_tokens": answer.all_input,
        "completion_tokens": answer.all_output,
        "total_tokens": answer.all_input + answer.all_output,
        "prompt_tokens_details": {
            "cached_tokens": answer.cached,
            "cache_write_tokens": answer.written + answer.written_1h,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning, "audio_tokens": 0},
    }
    if answer.fault == "impossible-usage":
        return {**usage, "prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 999}}
    return usage | _told_cost(answer)


def _told_cost(answer: Answer) -> dict[str, int]:
    return {} if answer.ticks is None else {"cost_in_usd_ticks": answer.ticks}


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-fake{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model"),
        "service_tier": _tier(body),
        "system_fingerprint": "fp_fake",
    }


def _tier(body: Mapping[str, Any]) -> str:
    """The tier that the answer is given in: as asked for, in the vendor's own word for it."""
    asked = body.get("service_tier")
    return {"flex": "flex", "priority": "priority", "fast": "priority"}.get(str(asked), "default")


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given or [])


def _invalid(message: str, field: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": field, "code": None}}


def _unsaid_of_responses(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What OpenAI would refuse, as far as it has been seen to: each with its field."""
    for name in body:
        if name in _NOT_IN_RESPONSES:
            yield f"Unknown parameter: '{name}'.", name
    if not isinstance(body.get("input"), list):
        return
    items, field = body["input"], "input"
    called = {item.get("call_id") for item in items if item.get("type") == "function_call"}
    for position, item in enumerate(items):
        following = items[position + 1].get("type") if position + 1 < len(items) else None
        if item.get("type") == "reasoning" and following not in ("reasoning", "function_call", "message"):
            yield "Item of type 'reasoning' was provided without its required following item.", field
        if item.get("type") == "reasoning" and item.get("encrypted_content") not in (None, ENCRYPTED):
            yield "The encrypted content could not be verified. Reason: it could not be decrypted or parsed.", field
        # What was kept before this response, it does not see.
        is_unknown = not body.get("previous_response_id") and item.get("call_id") not in called
        if item.get("type") == "function_call_output" and is_unknown:
            yield f"No tool call found for function call output with call_id {item.get('call_id')}.", field
        kinds = ("output_text", "refusal") if item.get("role") == "assistant" else ("input_",)
        for part in item["content"] if isinstance(item.get("content"), list) else ():
            if item.get("type") == "message" and not str(part.get("type")).startswith(kinds):
                yield f"Invalid value: '{part.get('type')}'.", f"input[{position}].content"


def _output(body: Mapping[str, Any], answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"id": f"ws_{number}", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
        for number in range(answer.searches)
    ]
    if answer.thoughts:
        summary = [{"type": "summary_text", "text": answer.thoughts}]
        wants_encrypted = "reasoning.encrypted_content" in (body.get("include") or ())
        encrypted = {"encrypted_content": ENCRYPTED} if wants_encrypted else {}
        items.append({"id": "rs_fake", "type": "reasoning", "summary": summary, **encrypted})
    if answer.text and answer.fault != "filtered":
        part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        if answer.fault == "blocked":
            part = {"type": "refusal", "refusal": REFUSAL}
        message = {"id": "msg_fake", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        items.append(message)
    for number, (name, arguments) in enumerate(answer.calls, 1):
        items.append(
            {
                "id": f"fc_{number}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{number}",
                "name": name,
                "arguments": json.dumps(arguments, ensure_ascii=False),
            }
        )
    return items


def _response(body: Mapping[str, Any], answer: Answer, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    usage: dict[str, Any] | None = {
        "input_tokens": answer.all_input,
        "input_tokens_details": {
            "cached_tokens": answer.cached,
            "cache_write_tokens": answer.written + answer.written_1h,
        },
        "output_tokens": answer.all_output,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": answer.all_input + answer.all_output,
        **_told_cost(answer),
    }
    if answer.fault == "impossible-usage" and usage is not None:
        usage["input_tokens_details"]["cached_tokens"] = 10**6
    if answer.fault == "no-usage" or status == "in_progress":
        usage = None
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": body.get("model"),
        "service_tier": _tier(body),
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
        "metadata": {},
    }


def _response_events(body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
    number = -1

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return sse({"type": kind, **fields, "sequence_number": number}, event=kind)

    begun = _response(body, answer, "in_progress", [])
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    output = _output(body, answer)
    for index, item in enumerate(output):
        place = {"item_id": item["id"], "output_index": index}
        bare = {**item, "status": "in_progress", "content": [], "summary": [], "arguments": ""}
        yield event("response.output_item.added", output_index=index, item={key: bare[key] for key in item})
        if item["type"] == "message":
            part = item["content"][0]
            name = "refusal" if part["type"] == "refusal" else "text"
            kind, likely = ("refusal", {}) if name == "refusal" else ("output_text", {"logprobs": []})
            where = {**place, "content_index": 0}
            yield event("response.content_part.added", **where, part={**part, name: ""})
            for piece in pieces_of(part[name]):
                yield event(f"response.{kind}.delta", **where, delta=piece, **likely)
            yield event(f"response.{kind}.done", **where, **{name: part[name]}, **likely)
            yield event("response.content_part.done", **where, part=part)
        elif item["type"] == "reasoning":
            where = {**place, "summary_index": 0}
            yield event("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
            for piece in pieces_of(item["summary"][0]["text"]):
                yield event("response.reasoning_summary_text.delta", **where, delta=piece)
            yield event("response.reasoning_summary_text.done", **where, text=item["summary"][0]["text"])
            yield event("response.reasoning_summary_part.done", **where, part=item["summary"][0])
        elif item["type"] == "function_call":
            for piece in bits_of(item["arguments"]):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, arguments=item["arguments"])
        yield event("response.output_item.done", output_index=index, item=item)
    last = _ended_response(body, answer, output)
    yield event(f"response.{last['status']}", response=last)


def _ended_response(body: Mapping[str, Any], answer: Answer, output: list[dict[str, Any]]) -> dict[str, Any]:
    if answer.fault == "failed":
        error = {"code": "server_error", "message": "failed on demand"}
        return {**_response(body, answer, "failed", output), "usage": None, "error": error}
    reasons = {"incomplete": "max_output_tokens", "filtered": "content_filter", "filtered-late": "content_filter"}
    reason = reasons.get(answer.fault)
    told = _response(body, answer, "incomplete" if reason else "completed", output)
    return {**told, "incomplete_details": {"reason": reason}} if reason else told


def _is_result(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "tool" or item.get("type") == "function_call_output"


def _result(item: Mapping[str, Any]) -> str:
    return text_in(item["content"] if item.get("role") == "tool" else item["output"])


def _inputs(body: Mapping[str, Any]) -> list[str]:
    given = body.get("input")
    return [str(each) for each in given] if isinstance(given, list) else [str(given)]


def _embeddings(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": [0.25, -0.5, float(len(text))]}
        for index, text in enumerate(_inputs(body))
    ]
    whole = {"object": "list", "data": data, "model": body.get("model")}
    usage = {"prompt_tokens": answer.prompt, "total_tokens": answer.prompt}
    return whole if answer.fault == "no-usage" else {**whole, "usage": usage}


if __name__ == "__main__":
    run(FakeOpenAI)
