"""A translated answer as OpenAI's response object, and the items it is made of.

Source: OpenAI's API reference, "Responses", "The response object".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routing.conversation import Finish, Refusal, Reply, Text, Thinking, ToolCall
from routing.logprobs import Logprobs, shared_out
from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import is_whole_call, readable_object
from spendhub.gateway.openai.logprobs_told import told_logprobs
from spendhub.gateway.openai.sealed_thoughts import UNSIGNED, sealed

NO_ID = "resp_spendhub"
_encoder = msgspec.json.Encoder()
_INCOMPLETE: Mapping[Finish, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What the response repeats of the request, and what stands there when the request was silent.
_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "user": None,
}


def response(reply: Reply, body: Mapping[str, Any], model: str) -> bytes:
    """A whole response to the request `body`."""
    told = response_object(reply.id, body, model, status_of(reply.finish), items_of(reply))
    return _encoder.encode(told | ending(reply.finish, reply.usage))


def response_object(
    response_id: str, body: Mapping[str, Any], model: str, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    """The object without what is only known at the end."""
    repeated = {name: silent if body.get(name) is None else body[name] for name, silent in _REPEATED.items()}
    return {
        "id": response_id or NO_ID,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": output,
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **repeated,
    }


def ending(finish: Finish, usage: TokenUsage | None) -> dict[str, Any]:
    """What is only known at the end."""
    reason = _INCOMPLETE.get(finish)
    return {
        "incomplete_details": None if reason is None else {"reason": reason},
        "usage": None if usage is None else usage_object(usage),
    }


def status_of(finish: Finish) -> str:
    """The response's status at its end."""
    return "incomplete" if finish in _INCOMPLETE else "completed"


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Usage in OpenAI's convention: cached input is part of the input, reasoning part of the output."""
    return {
        "input_tokens": usage.total_input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def item_id(kind: str, response_id: str, position: int) -> str:
    """An item's id: unique in a conversation as long as the vendor's answers have ids of their own."""
    return f"{kind}_{response_id or NO_ID}_{position}"


def items_of(reply: Reply) -> list[dict[str, Any]]:
    """The output items: texts and refusals that follow each other are parts of one message."""
    items: list[dict[str, Any]] = []
    response_id = reply.id
    likely = shared_out(reply.logprobs, [block.text for block in reply.blocks if isinstance(block, (Text, Refusal))])
    for block in reply.blocks:
        position = len(items)
        match block:
            case Thinking():
                items.append(reasoning_item(item_id("rs", response_id, position), block))
            case ToolCall():
                items.append(call_item(item_id("fc", response_id, position), block, "completed"))
            case Text() | Refusal():
                if not items or items[-1]["type"] != "message":
                    items.append(message_item(item_id("msg", response_id, position), [], "completed"))
                logprobs, is_text = next(likely), isinstance(block, Text)
                items[-1]["content"].append(text_part(block.text, logprobs) if is_text else refusal_part(block.text))
    return [told_at_end(item, reply.finish, is_last=item is items[-1]) for item in items]


def told_at_end(item: dict[str, Any], finish: Finish, *, is_last: bool) -> dict[str, Any]:
    """An item as it stands in a response that has ended: what is cut in one that is cut says so, as at OpenAI."""
    if status_of(finish) != "incomplete":
        return item
    if item["type"] == "function_call":
        # Only the last one may be without arguments because they have never come.
        is_cut = not is_whole_call(item["arguments"]) if is_last else not _is_object(item["arguments"])
    else:
        is_cut = is_last and item["type"] == "message"
    return {**item, "status": "incomplete"} if is_cut else item


def _is_object(arguments: str) -> bool:
    return readable_object(arguments.encode()) is not None


def message_item(id: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """A message of the model."""
    return {"type": "message", "id": id, "status": status, "role": "assistant", "content": content}


def text_part(text: str, logprobs: Logprobs = ()) -> dict[str, Any]:
    """Words in a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": told_logprobs(logprobs)}


def refusal_part(text: str) -> dict[str, Any]:
    """A refusal in a message."""
    return {"type": "refusal", "refusal": text}


def summary_part(text: str) -> dict[str, Any]:
    """Thoughts in a reasoning item."""
    return {"type": "summary_text", "text": text}


def reasoning_item(id: str, thought: Thinking) -> dict[str, Any]:
    """What the model thought."""
    summary = [summary_part(thought.text)] if thought.text else []
    return {**reasoning_begun(id), "summary": summary, "encrypted_content": sealed(thought) or UNSIGNED}


def reasoning_begun(id: str) -> dict[str, Any]:
    """The same before its first word."""
    return {"type": "reasoning", "id": id, "summary": []}


def call_item(id: str, call: ToolCall, status: str) -> dict[str, Any]:
    """A call of a tool. `signature` is no field of OpenAI's: Gemini signs its calls, and must get that back."""
    item = {
        "type": "function_call",
        "id": id,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": status,
    }
    return {**item, "signature": call.signature} if call.signature else item
