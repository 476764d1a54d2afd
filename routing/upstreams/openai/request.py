"""A conversation as the body of a /chat/completions request.

Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routing.conversation import (
    Audio,
    Block,
    Conversation,
    File,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
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
from routing.upstreams.openai.compatible import NO_THOUGHTS, Manners, limit_name, manners_of
from routing.upstreams.openai.generations import SAMPLING, USUAL_THINKING, Generation, generation_of
from routing.upstreams.text_files import text_in
from routing.upstreams.turns import shown_beside

TOWARDS = "OpenAI's chat format"


def chat_body(model: ModelFacts, conversation: Conversation, *, effort: str = "") -> dict[str, Any]:
    """The body without `stream`. `effort`, unless it is empty, is said instead of what the client wants of thinking.
    Raises NotTranslatable."""
    if conversation.top_k is not None:
        raise NotTranslatable("top_k", TOWARDS)
    manners, generation = manners_of(model), generation_of(model)
    thinking = {"reasoning_effort": effort} if effort else _thinking(conversation, manners, generation)
    fixed = (*manners.fixed, *_left_out(conversation, generation, thinking.get("reasoning_effort", "")))
    # After what takes none at all: fewer would not help there.
    if manners.most_stops is not None and len(conversation.stop) > manners.most_stops:
        raise NotTranslatable("stop", f"{TOWARDS} above {manners.most_stops}")
    body: dict[str, Any] = {"model": model.upstream_name, "messages": list(_messages(conversation, manners))}
    plain = {
        limit_name(model): output_limit(model, conversation),
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        # 0 is what everybody means who says nothing, and some vendors know no penalties.
        "frequency_penalty": conversation.frequency_penalty or None,
        "presence_penalty": conversation.presence_penalty or None,
        manners.seed: conversation.seed,
        "parallel_tool_calls": conversation.is_parallel if conversation.tools else None,
        "stop": list(conversation.stop) or None,
        "user": conversation.user or None,
        "n": conversation.choices if conversation.choices > 1 else None,
        "logprobs": None if conversation.logprobs is None else True,
        "top_logprobs": conversation.logprobs or None,
    }
    body.update({name: value for name, value in plain.items() if value is not None and name not in fixed})
    if conversation.tools:
        body["tools"] = [_tool(tool) for tool in conversation.tools]
    if conversation.tool_choice is not None:
        body["tool_choice"] = _tool_choice(conversation.tool_choice)
    if conversation.output is not None:
        body["response_format"] = _response_format(conversation)
    return body | thinking


def _left_out(conversation: Conversation, generation: Generation | None, effort: str) -> tuple[str, ...]:
    """The settings that a model of this generation does not take at this effort. Raises NotTranslatable for what would
    make another answer without them."""
    if generation is None:
        return ()
    if conversation.stop and not generation.takes_stop:
        raise NotTranslatable("stop", TOWARDS)
    if generation.samples_at(effort):
        return ()
    if conversation.logprobs is not None:
        raise NotTranslatable("logprobs", TOWARDS)
    return SAMPLING


def _messages(conversation: Conversation, manners: Manners) -> Iterator[dict[str, Any]]:
    if conversation.system:
        yield {"role": "system", "content": "\n\n".join(part.text for part in conversation.system)}
    for message in conversation.messages:
        yield from _user(message, manners) if message.role == "user" else _assistant(message, manners)


def _user(message: Message, manners: Manners) -> Iterator[dict[str, Any]]:
    pictures: list[Block] = []
    others: list[Block] = []
    is_alone = sum(isinstance(block, ToolResult) for block in message.blocks) == 1
    for block in message.blocks:
        if isinstance(block, ToolResult):
            call_id = manners.call_id(block.call_id)
            yield {"role": "tool", "tool_call_id": call_id, "content": result_text(block)}
            # A tool's message holds text alone here; its pictures follow as the user's.
            pictures += shown_beside(block, call_id=call_id, is_alone=is_alone)
        else:
            others.append(block)
    parts = [*pictures, *others]
    if parts:
        yield {"role": "user", "content": _content(parts)}


def _assistant(message: Message, manners: Manners) -> Iterator[dict[str, Any]]:
    said: dict[str, Any] = {"role": "assistant"}
    text = "".join(block.text for block in message.blocks if isinstance(block, Text))
    refusal = "".join(block.text for block in message.blocks if isinstance(block, Refusal))
    calls = [block for block in message.blocks if isinstance(block, ToolCall)]
    # Thoughts are shown to those alone who ask for them back, and no others than came without a signature: theirs.
    if manners.wants_thoughts:
        own = [block.text for block in message.blocks if isinstance(block, Thinking) and not block.signature]
        thoughts = "".join(own)
        if thoughts or calls:
            said["reasoning_content"] = thoughts or NO_THOUGHTS
    if text or not (calls or refusal):
        said["content"] = text
    if refusal:
        said["refusal"] = refusal
    if calls:
        said["tool_calls"] = [
            {
                "id": manners.call_id(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in calls
        ]
    yield said


def _content(blocks: Iterable[Block]) -> str | list[dict[str, Any]]:
    found = list(blocks)
    if all(isinstance(block, Text) for block in found):
        return "\n\n".join(block.text for block in found if isinstance(block, Text))
    return [_part(block) for block in found]


def _part(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Image():
            picture = {"url": block.url or f"data:{block.media_type};base64,{block.data}"}
            return {"type": "image_url", "image_url": picture | ({"detail": block.detail} if block.detail else {})}
        case Audio():
            return {"type": "input_audio", "input_audio": {"data": block.data, "format": block.format}}
        case File():
            return _file(block)
        case _:
            raise NotTranslatable(f"messages: {type(block).__name__} from a user", TOWARDS)


def _file(block: File) -> dict[str, Any]:
    if block.url:
        raise NotTranslatable("messages: a document by its URL", TOWARDS)
    text = text_in(block, TOWARDS)
    if text is not None:
        return {"type": "text", "text": f"{block.name}\n{text}" if block.name else text}
    return {"type": "file", "file": pdf_fields(block, TOWARDS)}


def pdf_fields(block: File, towards: str) -> dict[str, Any]:
    """A file's name and its bytes, as all of OpenAI's formats say them. Raises NotTranslatable for what is no PDF:
    "Chat Completions accepts only PDF files" (OpenAI's guide to file inputs, read on 2026-11-25)."""
    if block.media_type != "application/pdf":
        raise NotTranslatable(f"messages: a file of type {block.media_type or 'unknown'}", towards)
    data = f"data:{block.media_type};base64,{block.data}"
    return {"filename": block.name or "document.pdf", "file_data": data}


def result_text(result: ToolResult) -> str:
    """The words of a tool's result; OpenAI has no other sign of one that is an error."""
    text = "\n\n".join(part.text for part in result.content if isinstance(part, Text))
    return f"Error: {text}" if result.is_error else text


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.parameters:
        function["parameters"] = dict(tool.parameters)
    if tool.description:
        function["description"] = tool.description
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.choosing == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.choosing


def _response_format(conversation: Conversation) -> dict[str, Any]:
    wanted = conversation.output
    if wanted is None or wanted.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": named_schema(wanted, wanted.schema)}


def named_schema(wanted: OutputFormat, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema that an answer must keep to, with its name and what else is said of it."""
    said: dict[str, Any] = {"name": wanted.name, "schema": dict(schema)}
    if wanted.description:
        said["description"] = wanted.description
    if wanted.is_strict is not None:
        said["strict"] = wanted.is_strict
    return said


def _thinking(conversation: Conversation, manners: Manners, generation: Generation | None) -> dict[str, Any]:
    if conversation.reasoning is None:
        return {}
    wanted = effort_of(conversation.reasoning)
    if wanted == "none" and manners.can_stop_thinking:
        return {"thinking": {"type": "disabled"}}
    if manners.efforts is not None:
        word = manners.efforts.get(wanted, "")
    else:
        # Words alone are understood here, and "medium" is what most models do when nothing is said.
        word = wanted or USUAL_THINKING
        word = word if generation is None else generation.nearest_effort(word)
    return {"reasoning_effort": word} if word else {}
