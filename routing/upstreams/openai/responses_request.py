"""A conversation as the body of a /responses request, for what OpenAI does not take at /chat/completions.

Nothing is kept there (`store`): a client that asks for thinking gets a thought encrypted, and sends it again with the
conversation. Others get none: they do not look for thoughts in an answer.
Source: OpenAI's API reference, "Create a model response".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from routing.conversation import (
    Block,
    Conversation,
    File,
    Image,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.model_facts import ModelFacts
from routing.upstreams.efforts import effort_of
from routing.upstreams.limits import output_limit
from routing.upstreams.openai.generations import NO_THINKING, SAMPLING, USUAL_THINKING, generation_of
from routing.upstreams.openai.kept_thoughts import encrypted_for, keeper_of
from routing.upstreams.openai.request import named_schema, pdf_fields, result_text
from routing.upstreams.text_files import text_in
from routing.upstreams.turns import addressed, short_id

TOWARDS = "OpenAI's Responses"
_MOST = "max"
# "Invalid 'input[4].call_id': string too long. Expected a string with maximum length 64" (400):
# github.com/decolua/9router, issue 393.
MAX_ID = 64
_ENCRYPTED = "reasoning.encrypted_content"
_ANY_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def responses_body(model: ModelFacts, conversation: Conversation) -> dict[str, Any]:
    """The body without `stream`. Raises NotTranslatable."""
    keeper, effort = keeper_of(model), _effort(model, conversation.reasoning)
    generation = generation_of(model)
    left_out = () if generation is None or generation.samples_at(effort) else SAMPLING
    _refuse_what_it_has_no_word_for(conversation, left_out)
    system, messages = addressed(conversation)
    said = {
        "model": model.upstream_name,
        "instructions": "\n\n".join(part.text for part in system) or None,
        "input": [item for message in messages for item in _items(message.role == "user", message.blocks, keeper)],
        "store": False,
        "include": [_ENCRYPTED] if effort and effort != NO_THINKING else None,
        "max_output_tokens": output_limit(model, conversation),
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "tools": [_tool(tool) for tool in conversation.tools] or None,
        "tool_choice": _tool_choice(conversation.tool_choice),
        "parallel_tool_calls": conversation.is_parallel if conversation.tools else None,
        "text": _text_format(conversation.output),
        "reasoning": _reasoning(conversation.reasoning, effort),
        "user": conversation.user or None,
    }
    return {name: value for name, value in said.items() if value is not None and name not in left_out}


def _refuse_what_it_has_no_word_for(conversation: Conversation, left_out: Collection[str]) -> None:
    unsayable = {
        "top_k": conversation.top_k is not None,
        "seed": conversation.seed is not None,
        "stop": bool(conversation.stop),
        "frequency_penalty": bool(conversation.frequency_penalty),
        "presence_penalty": bool(conversation.presence_penalty),
        "choices": conversation.choices > 1,
        "logprobs": conversation.logprobs is not None,  # those who reason here tell none
    }
    for name, is_asked in unsayable.items():
        if is_asked and name not in left_out:
            raise NotTranslatable(name, TOWARDS)


def _items(is_users: bool, blocks: Iterable[Block], keeper: str) -> Iterator[dict[str, Any]]:
    """What one turn says, in its order: what is said in a row is one message."""
    role, items, parts = "user" if is_users else "assistant", list[dict[str, Any]](), list[dict[str, Any]]()
    for block in blocks:
        item = _item(block, keeper)
        if item is None:
            part = _part(block) if is_users else _words(block)
            if part is not None:
                parts.append(part)
            continue
        if parts:
            items.append(_message(role, parts))
            parts = []
        if item:
            items.append(item)
    if parts:
        items.append(_message(role, parts))
    while items and items[-1]["type"] == "reasoning":
        items.pop()  # "of type 'reasoning' was provided without its required following item" (400)
    yield from items


def _message(role: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": parts}


def _item(block: Block, keeper: str) -> dict[str, Any] | None:
    """A block that is an item of its own, {} for a thought that is left out; None for what is part of a message."""
    match block:
        case ToolCall():
            arguments = block.arguments or "{}"
            call_id = short_id(block.id, MAX_ID)
            return {"type": "function_call", "call_id": call_id, "name": block.name, "arguments": arguments}
        case ToolResult():
            call_id = short_id(block.call_id, MAX_ID)
            return {"type": "function_call_output", "call_id": call_id, "output": _output(block)}
        case Thinking():
            encrypted = encrypted_for(keeper, block.signature)
            summary = [{"type": "summary_text", "text": block.text}] if block.text else []
            return {"type": "reasoning", "summary": summary, "encrypted_content": encrypted} if encrypted else {}
        case _:
            return None


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in result.content):
        return result_text(result)
    parts = [part for each in result.content if (part := _part(each)) is not None]
    return [{"type": "input_text", "text": "Error:"}, *parts] if result.is_error else parts


def _words(block: Block) -> dict[str, Any] | None:
    """What the model has said itself."""
    match block:
        case Text() if block.text:
            return {"type": "output_text", "text": block.text}
        case Refusal() if block.text:
            return {"type": "refusal", "refusal": block.text}
        case _:
            return None


def _part(block: Block) -> dict[str, Any] | None:
    match block:
        case Text():
            return {"type": "input_text", "text": block.text} if block.text else None
        case Image():
            picture = {"type": "input_image", "image_url": block.url or f"data:{block.media_type};base64,{block.data}"}
            return picture | ({"detail": block.detail} if block.detail else {})
        case File():
            return _file(block)
        case _:
            raise NotTranslatable(f"messages: {type(block).__name__} from a user", TOWARDS)


def _file(block: File) -> dict[str, Any]:
    if block.url:
        return {"type": "input_file", "file_url": block.url}
    text = text_in(block, TOWARDS)
    if text is not None:
        return {"type": "input_text", "text": f"{block.name}\n{text}" if block.name else text}
    return {"type": "input_file", **pdf_fields(block, TOWARDS)}


def _tool(tool: Tool) -> dict[str, Any]:
    """Here a function that does not say so is strict, which its schema may not be made for."""
    function = {"type": "function", "name": tool.name, "parameters": dict(tool.parameters or _ANY_ARGUMENTS)}
    if tool.description:
        function["description"] = tool.description
    return {**function, "strict": bool(tool.is_strict)}


def _tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.choosing == "named" else choice.choosing


def _text_format(wanted: OutputFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"format": {"type": "json_object"}}
    return {"format": {"type": "json_schema", **named_schema(wanted, wanted.schema)}}


def _effort(model: ModelFacts, wanted: Reasoning | None) -> str:
    """What is said of it, "" for nothing."""
    if wanted is None:
        return ""
    word, generation = effort_of(wanted) or USUAL_THINKING, generation_of(model)
    if generation is None or (word == _MOST and generation.takes_max):
        return word
    return generation.nearest_effort(word)


def _reasoning(wanted: Reasoning | None, effort: str) -> dict[str, Any] | None:
    if wanted is None or not effort:
        return None
    is_shown = wanted.is_shown and effort != NO_THINKING
    return {"effort": effort, "summary": "auto"} if is_shown else {"effort": effort}
