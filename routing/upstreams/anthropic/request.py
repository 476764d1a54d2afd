"""A conversation as the body of a /v1/messages request.

Source: Anthropic's API reference, "Create a Message". What is left out on purpose is listed in docs/providers.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from routing.conversation import (
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
    ToolResult,
    arguments_of,
    is_cache_point,
)
from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.generations import Generation, generation_of
from routing.upstreams.anthropic.schemas import closed_schema
from routing.upstreams.anthropic.tool_loops import may_think_in_tokens, turns_of
from routing.upstreams.efforts import TOKENS_OF_EFFORT, effort_of, tokens_of
from routing.upstreams.limits import output_limit
from routing.upstreams.signatures import signature_for
from routing.upstreams.text_files import text_in
from routing.upstreams.turns import EMPTY, addressed, plain_id, said_turns

TOWARDS = "Anthropic"
# Where neither the client nor the catalog says how long an answer may be; the API wants a number.
DEFAULT_MAX_TOKENS = 4_096
LEAST_THINKING_TOKENS = 1_024
CACHE_POINT: Mapping[str, str] = {"type": "ephemeral"}


def messages_body(model: ModelFacts, conversation: Conversation) -> dict[str, Any]:
    """The body without `stream`. Raises NotTranslatable."""
    _refuse_the_unsayable(conversation)
    generation = generation_of(model.upstream_name)
    system, messages = addressed(conversation)
    body: dict[str, Any] = {
        "model": model.upstream_name,
        "max_tokens": output_limit(model, conversation) or model.max_output_tokens or DEFAULT_MAX_TOKENS,
        "messages": [
            {"role": role, "content": content}
            for role, content in said_turns(messages, _content, {"type": "text", "text": EMPTY})
        ],
    }
    if said := _content(system):
        body["system"] = said
    if conversation.tools:
        body["tools"] = [_tool(tool) for tool in conversation.tools]
    if conversation.stop:
        body["stop_sequences"] = list(conversation.stop)
    if conversation.user:
        body["metadata"] = {"user_id": conversation.user}
    _say_reasoning(body, conversation, generation)
    _say_tool_choice(body, conversation, generation)
    _say_output(body, conversation, generation)
    _say_sampling(body, conversation, generation)
    return body


def _refuse_the_unsayable(conversation: Conversation) -> None:
    unsayable = {
        "seed": conversation.seed is not None,
        "logprobs": conversation.logprobs is not None,
        "choices": conversation.choices > 1,
        # 0 is what everybody means who says nothing.
        "frequency_penalty": bool(conversation.frequency_penalty),
        "presence_penalty": bool(conversation.presence_penalty),
    }
    for name, is_said in unsayable.items():
        if is_said:
            raise NotTranslatable(name, TOWARDS)
    if not all(stop.strip() for stop in conversation.stop):
        # "each stop sequence must contain non-whitespace" (400): github.com/BerriAI/litellm, issue 3286.
        raise NotTranslatable("stop", f"{TOWARDS}, which takes no blank ones")


def _content(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    # Results come first: the API wants them right behind the calls they answer.
    ordered = sorted(blocks, key=lambda block: not isinstance(block, ToolResult))
    return [said for block in ordered if (said := _marked(block)) is not None]


def _marked(block: Block) -> dict[str, Any] | None:
    """The block, and that it may be kept in the prompt cache, where its client says so."""
    said = _block(block)
    if said is not None and is_cache_point(block):
        said["cache_control"] = CACHE_POINT
    return said


def _block(block: Block) -> dict[str, Any] | None:
    match block:
        case Text() | Refusal():
            # Blank texts are refused.
            return {"type": "text", "text": block.text} if block.text.strip() else None
        case Image():
            return {"type": "image", "source": _image_source(block)}
        case File():
            return _document(block)
        case Thinking():
            return _thinking(block)
        case ToolCall():
            return {"type": "tool_use", "id": plain_id(block.id), "name": block.name, "input": arguments_of(block)}
        case ToolResult():
            return _result(block)
        case _:
            raise NotTranslatable("messages: audio", TOWARDS)


def _image_source(block: Image) -> dict[str, Any]:
    if block.url:
        return {"type": "url", "url": block.url}
    return {"type": "base64", "media_type": block.media_type, "data": block.data}


def _document(block: File) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "document"}
    if block.url:
        said["source"] = {"type": "url", "url": block.url}
    elif (text := text_in(block, TOWARDS)) is not None:
        said["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    elif block.media_type == "application/pdf":
        said["source"] = {"type": "base64", "media_type": "application/pdf", "data": block.data}
    else:
        raise NotTranslatable(f"messages: a file of type {block.media_type or 'unknown'}", TOWARDS)
    if block.name:
        said["title"] = block.name
    return said


def _thinking(block: Thinking) -> dict[str, Any] | None:
    signature = signature_for("anthropic", block.signature)
    if not signature:
        return None  # Thoughts of another vendor's model: this one accepts none but its own.
    if block.is_redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": block.text, "signature": signature}


def _result(block: ToolResult) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "tool_result", "tool_use_id": plain_id(block.call_id)}
    content = [part for each in block.content if (part := _marked(each)) is not None]
    if content:
        said["content"] = content
    if block.is_error:
        said["is_error"] = True
    return said


def _tool(tool: Tool) -> dict[str, Any]:
    schema = closed_schema(tool.parameters) if tool.is_strict else dict(tool.parameters)
    said: dict[str, Any] = {"name": tool.name, "input_schema": {"type": "object", **schema}}
    if tool.description:
        said["description"] = tool.description
    if tool.is_strict is not None:
        said["strict"] = tool.is_strict
    if tool.is_cache_point:
        said["cache_control"] = CACHE_POINT
    return said


def _say_reasoning(body: dict[str, Any], conversation: Conversation, generation: Generation) -> None:
    wanted = conversation.reasoning
    if wanted is None:
        return
    effort = effort_of(wanted)
    if effort == "none":
        if generation.stops_thinking_by is None:
            body["output_config"] = {"effort": "low"}  # It always thinks; this is the least of it.
        elif generation.stops_thinking_by:
            body["thinking"] = {"type": generation.stops_thinking_by}
        return
    if generation.thinks_in == "words":
        thinking: dict[str, Any] = {"type": "adaptive"}
        if effort == "xhigh" and not generation.takes_xhigh:
            effort = "high"
        if effort:
            body["output_config"] = {"effort": "low" if effort == "minimal" else effort}
    else:
        tokens = max(tokens_of(wanted) or 0, LEAST_THINKING_TOKENS) if effort else TOKENS_OF_EFFORT["medium"]
        # Thinking is part of what max_tokens allows; where that is too little for any, there is none.
        tokens = min(tokens, body["max_tokens"] - 1)
        if tokens < LEAST_THINKING_TOKENS or not may_think_in_tokens(body["model"], turns_of(body["messages"])):
            return
        thinking = {"type": "enabled", "budget_tokens": tokens}
    if wanted.is_shown:
        thinking["display"] = "summarized"
    body["thinking"] = thinking


def _say_tool_choice(body: dict[str, Any], conversation: Conversation, generation: Generation) -> None:
    choice = conversation.tool_choice
    if not conversation.tools or (choice is None and conversation.is_parallel is None):
        return
    choosing = choice.choosing if choice is not None else "auto"
    said: dict[str, Any] = {"type": {"required": "any", "named": "tool"}.get(choosing, choosing)}
    if choosing in ("required", "named"):
        thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        if thinks or not generation.takes_forced_tools:
            raise NotTranslatable("tool_choice", f"{TOWARDS} ({body['model']}), which thinks first and then decides")
        if choice is not None and choosing == "named":
            said["name"] = choice.name
    if conversation.is_parallel is not None and choosing != "none":
        said["disable_parallel_tool_use"] = not conversation.is_parallel
    body["tool_choice"] = said


def _say_output(body: dict[str, Any], conversation: Conversation, generation: Generation) -> None:
    wanted = conversation.output
    if wanted is None:
        return
    if wanted.schema is None or not generation.takes_schemas:
        # There is no "any JSON object" here, and asking for one in words is no promise.
        raise NotTranslatable("output", f"{TOWARDS} without a JSON schema")
    schema = closed_schema(wanted.schema)
    if wanted.description:
        schema.setdefault("description", wanted.description)  # A format has no word for it here, its schema has.
    chosen = {"type": "json_schema", "schema": schema}
    body["output_config"] = {**body.get("output_config", {}), "format": chosen}


def _say_sampling(body: dict[str, Any], conversation: Conversation, generation: Generation) -> None:
    # 1 is the default of both: whoever says it says nothing.
    temperature = conversation.temperature if conversation.temperature != 1 else None
    top_p = conversation.top_p if conversation.top_p != 1 else None
    said = {"temperature": temperature, "top_p": top_p, "top_k": conversation.top_k}
    said = {name: value for name, value in said.items() if value is not None}
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks or not generation.takes_sampling:
        # It chooses its words by itself. Frameworks send a temperature that nobody asked for: left out, not refused.
        return
    if temperature is not None and temperature > 1:
        raise NotTranslatable("temperature", f"{TOWARDS} above 1")
    if temperature is not None and top_p is not None:
        raise NotTranslatable("top_p", f"{TOWARDS} beside temperature")
    body.update(said)
