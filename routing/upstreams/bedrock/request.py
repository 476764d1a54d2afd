"""A conversation as the body of a Converse request.

Source: docs.aws.amazon.com, Amazon Bedrock API reference, "Converse"; the service's model in botocore (bedrock-runtime,
2023-09-30), read 2026-11-24. What is left out on purpose is listed in docs/providers.md.
"""

from __future__ import annotations

from typing import Any

from routing.conversation import Conversation, NotTranslatable, Tool, ToolCall, ToolResult
from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.schemas import closed_schema
from routing.upstreams.bedrock.blocks import CACHE_POINT, ContentWriter
from routing.upstreams.bedrock.families import TOWARDS, Family, family_of
from routing.upstreams.bedrock.wishes import Wishes, wishes_of
from routing.upstreams.turns import addressed

# Converse does not say by which stop sequence an answer ended; Claude does, where it is asked for its own field.
STOP_SEQUENCE = "/stop_sequence"


def converse_body(model: ModelFacts, conversation: Conversation) -> dict[str, Any]:
    """The body. Raises NotTranslatable."""
    family = family_of(model)
    # A cache point is refused by models that have no prompt cache.
    may_cache = "caching" in model.capabilities
    writer = ContentWriter(family, may_cache=may_cache)
    system, messages = addressed(conversation)
    body: dict[str, Any] = {"messages": writer.messages(messages)}
    wishes = wishes_of(model, family, conversation, body["messages"])
    if said := writer.system(system):
        body["system"] = said
    tools = _tool_config(family, conversation, wishes, may_cache=may_cache and family.caches_tools)
    if tools:
        body["toolConfig"] = tools
    if wishes.inference:
        body["inferenceConfig"] = wishes.inference
    if wishes.output:
        body["outputConfig"] = wishes.output
    if wishes.additional:
        body["additionalModelRequestFields"] = wishes.additional
    if conversation.stop and family.is_claude:
        body["additionalModelResponseFieldPaths"] = [STOP_SEQUENCE]
    return body


def _tool_config(family: Family, conversation: Conversation, wishes: Wishes, *, may_cache: bool) -> dict[str, Any]:
    used = _tools_used(conversation)
    choice = conversation.tool_choice
    may_call = bool(conversation.tools) and (choice is None or choice.choosing != "none")
    if not may_call and not used:
        return {}
    if not may_call:
        # Converse wants the tools of a conversation that has used any, and has no word for "call none".
        if not family.is_claude:
            towards = f"{TOWARDS} ({family.name}), which may call the tools it has called"
            if not conversation.tools:
                raise NotTranslatable("messages: a call of a tool that is not offered", towards)
            raise NotTranslatable("tool_choice", towards)
        wishes.additional["tool_choice"] = {"type": "none"}
    tools = conversation.tools or tuple(Tool(name) for name in used)
    config: dict[str, Any] = {"tools": [said for tool in tools for said in _tool(tool, family, may_cache=may_cache)]}
    if may_call and wishes.tool_choice:
        config["toolChoice"] = wishes.tool_choice
    return config


def _tools_used(conversation: Conversation) -> list[str]:
    """The names of the tools that were called or have answered, each once."""
    blocks = [block for message in conversation.messages for block in message.blocks]
    names = [block.name or "tool" for block in blocks if isinstance(block, ToolCall | ToolResult)]
    called = [block.name for block in blocks if isinstance(block, ToolCall)]
    return list(dict.fromkeys(called or names))


def _tool(tool: Tool, family: Family, *, may_cache: bool) -> list[dict[str, Any]]:
    # Models that hold no answer to a schema hold no call to one either: they are not told to.
    is_strict = bool(tool.is_strict) and family.takes_schemas
    schema = closed_schema(tool.parameters) if is_strict else dict(tool.parameters)
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": {"type": "object", **schema}}}
    if tool.description:
        spec["description"] = tool.description
    if is_strict:
        spec["strict"] = True
    return [{"toolSpec": spec}, dict(CACHE_POINT)] if tool.is_cache_point and may_cache else [{"toolSpec": spec}]
