"""What the sandbox says: canned text that is labelled as such, tool calls, and errors on demand.

Deterministic: the same request gets the same text and the same token count. Models:
`sandbox-small`, `sandbox-large` answer at once; `sandbox-slow` takes its time; `sandbox-error`
answers with the status named in the last message ("429"), else 500.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.tokens import PIECE, count_chat_tokens, count_tokens
from routing.upstreams.sandbox.examples import example_of

LABEL = "[SpendHub sandbox]"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class SandboxRefusal(Exception):
    """The sandbox answers with an error, in OpenAI's shape."""

    status: int
    message: str

    def body(self) -> dict[str, Any]:
        """The error as OpenAI would write it."""
        kind = ERROR_TYPES.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": None, "code": None}}


@dataclass(frozen=True, slots=True)
class CannedAnswer:
    """One answer: its text or its tool calls, and what it counts as."""

    text: str
    tool_calls: Sequence[Mapping[str, Any]]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    choices: int

    def usage(self) -> dict[str, Any]:
        """The `usage` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }


def answer(body: Mapping[str, Any]) -> CannedAnswer:
    """The answer to a chat request. Raises SandboxRefusal for a malformed one, or on demand."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise SandboxRefusal(400, "'messages' must be a non-empty array of objects")
    choices = body.get("n") or 1
    if not isinstance(choices, int) or not 1 <= choices <= MAX_CHOICES:
        raise SandboxRefusal(400, f"'n' must be a whole number from 1 to {MAX_CHOICES}")
    asked = _text(messages[-1])
    if body.get("model") == "sandbox-error":
        named = re.search(r"\b([45]\d\d)\b", asked)
        status = int(named.group(1)) if named else 500
        raise SandboxRefusal(status, f"{LABEL} the error {status} that was asked for")
    prompt_tokens = count_chat_tokens(body)
    calls = _tool_calls(body, messages[-1], asked)
    if calls:
        spent = sum(count_tokens(f"{call['function']['name']} {call['function']['arguments']}") for call in calls)
        return CannedAnswer("", calls, "tool_calls", prompt_tokens, spent * choices, choices)
    text = _canned_text(body, messages[-1], asked)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    finish_reason = "stop"
    if isinstance(limit, int) and not isinstance(limit, bool) and count_tokens(text) > max(limit, 0):
        text, finish_reason = _first_tokens(text, max(limit, 0)), "length"
    return CannedAnswer(text, (), finish_reason, prompt_tokens, count_tokens(text) * choices, choices)


def _canned_text(body: Mapping[str, Any], last: Mapping[str, Any], asked: str) -> str:
    heard = " ".join(asked.split())[:200]
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    named = wanted.get("json_schema") if isinstance(wanted, Mapping) and kind == "json_schema" else None
    if isinstance(named, Mapping) and isinstance(named.get("schema"), Mapping) and named["schema"]:
        return json.dumps(example_of(named["schema"]))
    if kind in ("json_object", "json_schema"):
        return json.dumps({"sandbox": True, "note": "canned answer, no model was asked", "you_wrote": heard})
    said = "The tool answered" if last.get("role") == "tool" else "You wrote"
    return (
        f"{LABEL} This is a canned answer from SpendHub's built-in test provider; no language model was asked, "
        f'and no real money was spent. {said}: "{heard}".'
    )


def _tool_calls(body: Mapping[str, Any], last: Mapping[str, Any], asked: str) -> list[dict[str, Any]]:
    tools = [tool["function"] for tool in body.get("tools") or () if isinstance(tool, dict) and "function" in tool]
    choice = body.get("tool_choice")
    if not tools or choice == "none" or last.get("role") != "user":
        return []
    if isinstance(choice, Mapping):
        named = (choice.get("function") or {}).get("name")
        tools = [tool for tool in tools if tool.get("name") == named]
        if not tools:
            raise SandboxRefusal(400, f"tool_choice names {named!r}, which is not among the tools")
    elif choice != "required" and "use tool" not in asked.lower():
        return []
    name = str(tools[0].get("name", ""))
    arguments = json.dumps(example_of(tools[0].get("parameters") or {}))
    return [{"id": "call_sandbox_1", "type": "function", "function": {"name": name, "arguments": arguments}}]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def _first_tokens(text: str, count: int) -> str:
    end = 0
    for index, piece in enumerate(PIECE.finditer(text)):
        if index == count:
            break
        end = piece.end()
    return text[:end]
