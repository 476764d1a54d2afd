"""A request that somebody pastes to see which model would answer it: in whichever client's words it is written.

The bodies of chat completions, responses, messages and generateContent are told apart by nothing: what is a sign in
one of them means nothing else in another. Broken bodies are read as far as they go, since nothing is sent. The gateway
reads requests by itself, strictly; tests/gateway/test_pasted_requests.py holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from routing.dry_run import needs_of_chat

_NEEDS_OF_PARTS = {
    "image_url": "vision", "input_image": "vision", "image": "vision", "input_audio": "audio", "file": "files",
    "input_file": "files", "document": "files", "container_upload": "files",
}  # fmt: skip
_NEEDS_OF_MEDIA = {"image": "vision", "audio": "audio"}
_JSON_TYPES = ("json_object", "json_schema")
# Where what is said stands, from the outside in; `input` is that of responses, not of a tool.
_SAID = ("system", "systemInstruction", "system_instruction", "instructions", "messages", "input", "contents")
_WITHIN = ("content", "parts", "output", "functionResponse", "function_response")
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def needs_of_body(body: Mapping[str, Any]) -> frozenset[str]:
    """The capabilities that a pasted request shows it needs of a model."""
    found = set(needs_of_chat(body))
    if body.get("tools"):
        found.add("tools")
    google = _google_config(body)
    if _thinks(body) or _google_thinks(google):
        found.add("reasoning")
    mime_type = google.get("responseMimeType") or google.get("response_mime_type")
    if _has_format(body) or mime_type == "application/json":
        found.add("json")
    for part in _parts(body):
        need = _NEEDS_OF_PARTS.get(str(part.get("type")))
        media = next((part[n] for n in ("inlineData", "inline_data", "fileData", "file_data") if n in part), None)
        if isinstance(media, Mapping):
            family = str(media.get("mimeType") or media.get("mime_type") or "").partition("/")[0].lower()
            need = _NEEDS_OF_MEDIA.get(family, "files")
        if need:
            found.add(need)
    return frozenset(found)


def text_of_body(body: Mapping[str, Any]) -> str:
    """The words of a pasted request."""
    texts = [body[name] for name in _SAID if isinstance(body.get(name), str)]
    for part in _parts(body):
        names = ("text",) if part.get("type") == "tool_result" else ("text", "content")
        texts += [part[name] for name in names if isinstance(part.get(name), str)]
    return "\n".join(texts)


def limit_of_body(body: Mapping[str, Any]) -> int | None:
    """The longest answer that a pasted request allows, in tokens; None where it sets no limit."""
    google = _google_config(body)
    given = (*(body.get(name) for name in _LIMITS), google.get("maxOutputTokens"), google.get("max_output_tokens"))
    return next((limit for limit in given if type(limit) is int and limit > 0), None)


def _google_config(body: Mapping[str, Any]) -> Mapping[str, Any]:
    config = body.get("generationConfig") or body.get("generation_config")
    return config if isinstance(config, Mapping) else {}


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking, reasoning = body.get("thinking"), body.get("reasoning")
    if isinstance(thinking, Mapping) and thinking.get("type") != "disabled":
        return True
    return isinstance(reasoning, Mapping) and reasoning.get("effort") not in (None, "none")


def _google_thinks(config: Mapping[str, Any]) -> bool:
    thinking = config.get("thinkingConfig") or config.get("thinking_config")
    if not isinstance(thinking, Mapping):
        return False
    said = {name.replace("_", "").lower(): value for name, value in thinking.items()}
    is_off = said.get("thinkingbudget") == 0
    return not is_off and any(said.get(name) for name in ("thinkingbudget", "thinkinglevel", "includethoughts"))


def _has_format(body: Mapping[str, Any]) -> bool:
    text, config = body.get("text"), body.get("output_config")
    of_responses = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(of_responses, Mapping) and of_responses.get("type") in _JSON_TYPES:
        return True
    return bool(body.get("output_format") or (config.get("format") if isinstance(config, Mapping) else None))


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Everything that is said, from whole messages down to single parts."""
    left = [body.get(name) for name in _SAID]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += reversed(each)
        elif isinstance(each, Mapping):
            yield each
            left += [each.get(name) for name in _WITHIN]
