"""A conversation as the body of a generateContent request.

Source: ai.google.dev, "Generating content", "Function calling", "Structured output", "Thinking", "Thought signatures".
What is left out on purpose is listed in docs/providers.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from routing.conversation import (
    Audio,
    Block,
    Conversation,
    File,
    Image,
    NotTranslatable,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    arguments_of,
)
from routing.model_facts import ModelFacts
from routing.upstreams.efforts import effort_of, tokens_of
from routing.upstreams.file_addresses import media_type_of
from routing.upstreams.limits import output_limit
from routing.upstreams.signatures import signature_for
from routing.upstreams.turns import EMPTY, addressed, names_of_calls, plain_id, said_turns, shown_beside

TOWARDS = "Google's Gemini"
# Google's own word for a call that comes from another model, which Gemini 3 and later refuse without a signature.
NO_SIGNATURE = "skip_thought_signature_validator"
_MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
# Later ones take a level of thinking, and refuse a budget; these refuse JSON where they may call tools.
_BEFORE_3 = re.compile(r"gemini-(1|2)\.")
_LEAST_BUDGET_OF_PRO = 128
# What a schema may say without naming a parameter.
_OF_NO_PARAMETERS = frozenset(
    ("$id", "$comment", "$defs", "definitions", "type", "title", "description", "required", "additionalProperties")
)
# Source: ai.google.dev API reference, "GenerationConfig".
MAX_CHOICES, MAX_LOGPROBS, MAX_STOPS = 8, 20, 5


def contents_body(model: ModelFacts, conversation: Conversation) -> dict[str, Any]:
    """The body. Raises NotTranslatable."""
    _refuse_the_unsayable(model, conversation)
    names = names_of_calls(conversation.messages)
    stand_in = stand_in_for(model)
    system, messages = addressed(conversation)
    turns = said_turns(messages, lambda blocks: _parts(blocks, names, stand_in=stand_in), {"text": EMPTY})
    contents = [{"role": "model" if role == "assistant" else "user", "parts": parts} for role, parts in turns]
    body: dict[str, Any] = {"contents": contents}
    if told := [{"text": part.text} for part in system if part.text]:
        body["systemInstruction"] = {"parts": told}
    if conversation.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in conversation.tools]}]
        if conversation.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _tool_choice(conversation.tool_choice)}
    config = _generation_config(model, conversation)
    if config:
        body["generationConfig"] = config
    return body


def stand_in_for(model: ModelFacts) -> str:
    """What stands in place of a signature that a call of another model has not; "" where none is asked for."""
    return "" if _BEFORE_3.search(model.upstream_name) else NO_SIGNATURE


def _refuse_the_unsayable(model: ModelFacts, conversation: Conversation) -> None:
    if conversation.choices > MAX_CHOICES:
        raise NotTranslatable("choices", f"{TOWARDS} above {MAX_CHOICES}")
    if (conversation.logprobs or 0) > MAX_LOGPROBS:
        raise NotTranslatable("top_logprobs", f"{TOWARDS} above {MAX_LOGPROBS}")
    if len(conversation.stop) > MAX_STOPS:
        raise NotTranslatable("stop", f"{TOWARDS} above {MAX_STOPS}")
    if conversation.is_parallel is False and conversation.tools:
        raise NotTranslatable("is_parallel", TOWARDS)
    if conversation.output is not None and conversation.tools and _BEFORE_3.search(model.upstream_name):
        raise NotTranslatable("output", f"{TOWARDS} before 3 beside tools")


def _parts(blocks: Iterable[Block], names: Mapping[str, str], *, stand_in: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    media: list[Block] = []
    # Answers come first: Google wants them right behind the calls, as many as there were.
    in_order = sorted(blocks, key=lambda block: not isinstance(block, ToolResult))
    answers = sum(isinstance(block, ToolResult) for block in in_order)
    for block in in_order:
        match block:
            case Text() | Refusal():
                if block.text:
                    parts.append({"text": block.text})
            case Image():
                parts.append(_media(block.media_type, block.data, block.url, "image/jpeg"))
            case File():
                parts.append(_file(block))
            case Audio():
                parts.append({"inlineData": {"mimeType": f"audio/{block.format}", "data": block.data}})
            case Thinking():
                parts += _thinking(block)
            case ToolCall():
                parts.append(_call(block, stand_in))
                stand_in = ""  # One for all that are made at once.
            case ToolResult():
                parts.append(_result(block, names))
                media += shown_beside(block, call_id=plain_id(block.call_id), is_alone=answers == 1)
    shown = _parts(media, names, stand_in="") if media else []
    return parts[:answers] + shown + parts[answers:]


def _media(media_type: str, data: str, url: str, otherwise: str) -> dict[str, Any]:
    if url:
        return {"fileData": {"mimeType": media_type or media_type_of(url) or otherwise, "fileUri": url}}
    return {"inlineData": {"mimeType": media_type or otherwise, "data": data}}


def _file(block: File) -> dict[str, Any]:
    if block.text:
        return {"text": f"{block.name}\n{block.text}" if block.name else block.text}
    return _media(block.media_type, block.data, block.url, "application/pdf")


def _thinking(block: Thinking) -> list[dict[str, Any]]:
    signature = signature_for("gemini", block.signature)
    if not signature:
        return []  # Its signature is what the model that thought it needs; thoughts of others are not shown to it.
    # Without a text it is one that came behind words, in a part of its own.
    part = {"text": block.text, "thoughtSignature": signature}
    return [{**part, "thought": True} if block.text else part]


def _call(block: ToolCall, stand_in: str) -> dict[str, Any]:
    call = {"id": plain_id(block.id), "name": block.name, "args": arguments_of(block)}
    signature = signature_for("gemini", block.signature) or stand_in
    return {"functionCall": call, "thoughtSignature": signature} if signature else {"functionCall": call}


def _result(block: ToolResult, names: Mapping[str, str]) -> dict[str, Any]:
    name = block.name or names.get(block.call_id)
    if not name:
        raise NotTranslatable("messages: a tool's result without the call it answers", TOWARDS)
    text = "\n\n".join(part.text for part in block.content if isinstance(part, Text))
    response = {"error" if block.is_error else "output": text}
    return {"functionResponse": {"id": plain_id(block.call_id), "name": name, "response": response}}


def _tool(tool: Tool) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tool.name}
    if tool.description:
        said["description"] = tool.description
    schema = _plain_schema(tool.parameters)
    # A function without parameters has no schema at Google's; one may well have parameters and no `properties` of its
    # own, e.g. behind a `$ref` or an `anyOf`.
    if any(value and name not in _OF_NO_PARAMETERS for name, value in schema.items()) or (
        isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]
    ):
        said["parametersJsonSchema"] = schema
    return said


def _plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "$schema"}


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    said: dict[str, Any] = {"mode": _MODES[choice.choosing]}
    if choice.choosing == "named":
        said["allowedFunctionNames"] = [choice.name]
    return said


def _generation_config(model: ModelFacts, conversation: Conversation) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "maxOutputTokens": output_limit(model, conversation),
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
        "topK": conversation.top_k,
        "frequencyPenalty": conversation.frequency_penalty or None,
        "presencePenalty": conversation.presence_penalty or None,
        "stopSequences": list(conversation.stop) or None,
        "seed": conversation.seed,
        "candidateCount": conversation.choices if conversation.choices > 1 else None,
        "responseLogprobs": None if conversation.logprobs is None else True,
        "logprobs": conversation.logprobs or None,
        "thinkingConfig": _thinking_config(model.upstream_name, conversation),
    }
    config = {name: value for name, value in plain.items() if value is not None}
    if conversation.output is not None:
        config["responseMimeType"] = "application/json"
        if conversation.output.schema is not None:
            config["responseJsonSchema"] = _plain_schema(conversation.output.schema)
    return config


def _thinking_config(name: str, conversation: Conversation) -> dict[str, Any] | None:
    wanted = conversation.reasoning
    if wanted is None:
        return None
    config: dict[str, Any] = {"includeThoughts": True} if wanted.is_shown else {}
    if _BEFORE_3.search(name):
        tokens = tokens_of(wanted)
        if tokens is not None and tokens <= 0 and "pro" in name:
            tokens = _LEAST_BUDGET_OF_PRO  # It always thinks; this is the least of it.
        config["thinkingBudget"] = -1 if tokens is None else tokens
    else:
        effort = effort_of(wanted)
        least = "LOW" if "pro" in name else "MINIMAL"
        level = {"none": least, "minimal": least, "xhigh": "HIGH", "max": "HIGH"}.get(effort, effort.upper())
        if level:
            config["thinkingLevel"] = level
    return config or None
