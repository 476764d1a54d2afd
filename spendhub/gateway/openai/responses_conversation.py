"""A responses request in no vendor's words.

What OpenAI alone has a word for, and what it alone has kept, is refused by its name; what changes no answer is
dropped. Both are listed in docs/gateway.md, "Across dialects".
Source: OpenAI's API reference, "Create a model response".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import Conversation, NotTranslatable, OutputFormat, Reasoning, Text, Tool, ToolChoice
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import TOWARDS, OwnNames, refuse_others
from spendhub.gateway.openai.chat_conversation import output_format
from spendhub.gateway.openai.responses_items import read_input
from spendhub.gateway.request_bodies import (
    flag_in,
    list_at,
    name_at,
    number_in,
    object_at,
    object_field,
    objects_in,
    optional_text_at,
    text_at,
    whole_in,
)

# Said in a conversation, or read by us.
_TRANSLATED = frozenset(
    (
        "model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
        "temperature", "top_p", "text", "reasoning", "include", "top_logprobs", "user", "prompt_cache_options",
        "spendhub",
    )
)  # fmt: skip
# They change where a call is kept or counted, not what it says.
DROPPED = frozenset(("metadata", "stream_options", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"))
# When OpenAI's cache begins, how long it lasts, and which answer it is compared with: that changes no answer.
_CACHING = ("mode", "ttl", "comparison_response_id")
# A value that says what would hold anyway.
_SAYS_NOTHING: Mapping[str, Sequence[Any]] = {
    "background": (False,),
    "store": (False,),
    "truncation": ("disabled",),
    "service_tier": ("auto", "default"),
}
_ENCRYPTED_REASONING, _LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
MAX_LOGPROBS = 20
# What we read of a tool; the last changes no answer.
_TOOL = ("type", "name", "description", "parameters", "strict", "output_schema")
# OpenAI's word for what holds everywhere else: that the model calls the tool, and no program of the vendor's.
_DIRECT = ["direct"]

# What its clients write for what a vendor may have no word for.
OWN_NAMES: OwnNames = {
    "messages": ("input",),
    "tool_choice": ("tool_choice",),
    "is_parallel": ("parallel_tool_calls",),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "output": ("text.format",),
    "reasoning": ("reasoning.effort",),
    "logprobs": ("top_logprobs", "include"),
    "top_logprobs": ("top_logprobs",),
}


def responses_conversation(body: Mapping[str, Any]) -> Conversation:
    """The request. Raises NotTranslatable, or Invalid for what no vendor could understand."""
    for name, value in body.items():
        if value is None or name in _TRANSLATED or name in DROPPED or value in _SAYS_NOTHING.get(name, ()):
            continue
        raise NotTranslatable(name[:80], TOWARDS)
    refuse_others(object_field(body, "prompt_cache_options") or {}, _CACHING, "prompt_cache_options")
    for wanted in list_at(body["include"], "include") if body.get("include") is not None else ():
        if wanted not in (_ENCRYPTED_REASONING, _LOGPROBS):
            raise NotTranslatable(f"include {text_at(wanted, 'include')[:60]!r}", TOWARDS)
    instructions = optional_text_at(body.get("instructions"), "instructions")
    system, messages = read_input(body.get("input"))
    return Conversation(
        messages=messages,
        system=(Text(instructions), *system) if instructions else system,
        tools=tuple(_tool(tool, f"tools[{position}]") for position, tool in enumerate(objects_in(body, "tools"))),
        tool_choice=_tool_choice(body.get("tool_choice")),
        is_parallel=flag_in(body, "parallel_tool_calls"),
        max_output_tokens=whole_in(body, "max_output_tokens"),
        temperature=number_in(body, "temperature"),
        top_p=number_in(body, "top_p"),
        output=_output(object_field(body, "text") or {}),
        reasoning=_reasoning(object_field(body, "reasoning") or {}),
        logprobs=(whole_in(body, "top_logprobs", MAX_LOGPROBS, 0) or 0) if wants_logprobs(body) else None,
        user=optional_text_at(body.get("user"), "user"),
    )


def wants_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether the request asks how likely each token was."""
    include = body.get("include")
    return bool(body.get("top_logprobs")) or (isinstance(include, list) and _LOGPROBS in include)


def _tool(tool: Mapping[str, Any], place: str) -> Tool:
    kind = tool.get("type")
    if kind != "function":
        raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
    known = (*_TOOL, "allowed_callers") if tool.get("allowed_callers") == _DIRECT else _TOOL
    refuse_others(tool, known, place)
    parameters = tool.get("parameters")
    return Tool(
        name=name_at(tool.get("name"), f"{place}.name"),
        description=optional_text_at(tool.get("description"), f"{place}.description"),
        parameters={} if parameters is None else object_at(parameters, f"{place}.parameters"),
        is_strict=flag_in(tool, "strict"),
    )


def _tool_choice(choice: Any) -> ToolChoice | None:
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if isinstance(choice, dict) and choice.get("type") == "function":
        refuse_others(choice, ("type", "name"), "tool_choice")
        return ToolChoice("named", name_at(choice.get("name"), "tool_choice.name"))
    if isinstance(choice, dict) and isinstance(choice.get("type"), str):
        raise NotTranslatable(f"tool_choice.type {choice['type'][:40]!r}", TOWARDS)
    raise Invalid("tool_choice must be auto, none, required or a function", field="tool_choice")


def _output(text: Mapping[str, Any]) -> OutputFormat | None:
    for name, value in text.items():
        if name != "format" and value is not None and (name, value) != ("verbosity", "medium"):
            raise NotTranslatable(f"text.{name[:40]}", TOWARDS)
    wanted = text.get("format")
    if wanted is None:
        return None
    kind = object_at(wanted, "text.format").get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat()
    if kind != "json_schema":
        raise NotTranslatable(f"text.format.type {str(kind)[:40]!r}", TOWARDS)
    return output_format(wanted, "text.format")


def _reasoning(reasoning: Mapping[str, Any]) -> Reasoning | None:
    effort = optional_text_at(reasoning.get("effort"), "reasoning.effort")
    is_shown = bool(reasoning.get("summary") or reasoning.get("generate_summary"))
    for name, value in reasoning.items():
        if name not in ("effort", "summary", "generate_summary") and value is not None:
            raise NotTranslatable(f"reasoning.{name[:40]}", TOWARDS)
    # A summary alone asks for no thinking; it asks to see what there is.
    return Reasoning(effort=effort, is_shown=is_shown) if effort else None
