"""A messages request in no vendor's words.

What Anthropic alone has a word for is refused by its name; what changes no answer is dropped. Both are
listed in docs/gateway.md, "Across dialects". Source: Anthropic's API reference, "Create a message".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import (
    Conversation,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Tool,
    ToolChoice,
)
from spendhub.errors import Invalid
from spendhub.gateway.anthropic.messages_blocks import read_messages, read_system
from spendhub.gateway.foreign_fields import TOWARDS, OwnNames, refuse_others
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
        "model", "messages", "system", "stream", "max_tokens", "tools", "tool_choice", "temperature", "top_p", "top_k",
        "stop_sequences", "thinking", "output_config", "output_format", "metadata", "spendhub",
    )
)  # fmt: skip
# They change where and when a call is made, or what is kept of it, not what it says.
DROPPED = frozenset(("cache_control", "service_tier", "diagnostics", "user_profile_id", "workspace_id", "betas"))
# A value that says what would hold anyway.
_SAYS_NOTHING: Mapping[str, Sequence[Any]] = {"speed": ("standard",), "mcp_servers": ([],)}
# What we read of a tool; the last two change no answer of other vendors.
_TOOL = (
    "type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming", "input_examples",
)  # fmt: skip
# Anthropic's word for what holds everywhere else: that the model calls the tool, and no program of the vendor's.
_DIRECT = ["direct"]
# Which thoughts may come back only concerns Anthropic, which alone gets its own.
_THINKING = ("type", "budget_tokens", "display", "block_binding")
# Anthropic's efforts that others have no word for.
_EFFORTS = {"xhigh": "high", "max": "high"}

# What its clients write for what a vendor may have no word for.
OWN_NAMES: OwnNames = {
    "messages": ("messages",),
    "tool_choice": ("tool_choice",),
    "is_parallel": ("tool_choice.disable_parallel_tool_use",),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "stop": ("stop_sequences",),
    "output": ("output_config.format", "output_format"),
    "reasoning": ("output_config.effort", "thinking"),
}


def messages_conversation(body: Mapping[str, Any]) -> Conversation:
    """The request. Raises NotTranslatable, or Invalid for what no vendor could understand."""
    for name, value in body.items():
        if value is None or name in _TRANSLATED or name in DROPPED or value in _SAYS_NOTHING.get(name, ()):
            continue
        raise NotTranslatable(name[:80], TOWARDS)
    limit = whole_in(body, "max_tokens", at_least=0)
    if limit == 0:
        raise NotTranslatable("max_tokens: 0", TOWARDS)
    metadata = object_field(body, "metadata") or {}
    config = object_field(body, "output_config") or {}
    choice = object_field(body, "tool_choice")
    said_among_them, messages = read_messages(body["messages"])
    return Conversation(
        messages=messages,
        system=(*read_system(body.get("system"), "system"), *said_among_them),
        tools=tuple(_tool(tool, f"tools[{position}]") for position, tool in enumerate(objects_in(body, "tools"))),
        tool_choice=None if choice is None else _tool_choice(choice),
        is_parallel=None if choice is None else _is_parallel(choice),
        max_output_tokens=limit,
        temperature=number_in(body, "temperature"),
        top_p=number_in(body, "top_p"),
        top_k=whole_in(body, "top_k"),
        stop=_stop(body.get("stop_sequences")),
        output=_output(body, config),
        reasoning=_reasoning(object_field(body, "thinking"), config),
        user=optional_text_at(metadata.get("user_id"), "metadata.user_id"),
    )


def _tool(tool: Mapping[str, Any], place: str) -> Tool:
    kind = tool.get("type")
    if kind not in (None, "custom"):
        raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
    known = (*_TOOL, "allowed_callers") if tool.get("allowed_callers") == _DIRECT else _TOOL
    refuse_others(tool, known, place)
    schema = tool.get("input_schema")
    return Tool(
        name=name_at(tool.get("name"), f"{place}.name"),
        description=optional_text_at(tool.get("description"), f"{place}.description"),
        parameters={} if schema is None else object_at(schema, f"{place}.input_schema"),
        is_strict=flag_in(tool, "strict"),
        is_cache_point=bool(tool.get("cache_control")),
    )


def _tool_choice(choice: Mapping[str, Any]) -> ToolChoice:
    refuse_others(choice, ("type", "name", "disable_parallel_tool_use"), "tool_choice")
    kind = choice.get("type")
    if kind == "tool":
        return ToolChoice("named", name_at(choice.get("name"), "tool_choice.name"))
    if kind == "auto":
        return ToolChoice("auto")
    if kind == "any":
        return ToolChoice("required")
    if kind == "none":
        return ToolChoice("none")
    raise Invalid("tool_choice.type must be auto, any, tool or none", field="tool_choice.type")


def _is_parallel(choice: Mapping[str, Any]) -> bool | None:
    is_off = flag_in(choice, "disable_parallel_tool_use")
    return None if is_off is None else not is_off


def _stop(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    return tuple(text_at(each, "stop_sequences") for each in list_at(given, "stop_sequences"))


def _output(body: Mapping[str, Any], config: Mapping[str, Any]) -> OutputFormat | None:
    for name in config:
        if name not in ("effort", "format") and config[name] is not None:
            raise NotTranslatable(f"output_config.{name[:40]}", TOWARDS)
    place, wanted = "output_config.format", config.get("format")
    if wanted is None:
        place, wanted = "output_format", body.get("output_format")
    if wanted is None:
        return None
    kind = object_at(wanted, place).get("type")
    if kind != "json_schema":
        raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
    refuse_others(wanted, ("type", "schema"), place)
    # Anthropic holds every answer to its schema; to others that is `strict`.
    return OutputFormat(schema=object_at(wanted.get("schema"), f"{place}.schema"), is_strict=True)


def _reasoning(thinking: Mapping[str, Any] | None, config: Mapping[str, Any]) -> Reasoning | None:
    effort = optional_text_at(config.get("effort"), "output_config.effort")
    effort = _EFFORTS.get(effort, effort)
    refuse_others(thinking or {}, _THINKING, "thinking")
    kind = None if thinking is None else thinking.get("type")
    if thinking is None or kind == "disabled":
        return Reasoning(effort=effort) if effort else None
    is_shown = thinking.get("display") != "omitted"
    if kind == "enabled":
        budget = whole_in(thinking, "budget_tokens")
        if budget is None:
            raise Invalid("thinking.budget_tokens must be a whole number from 1", field="thinking.budget_tokens")
        return Reasoning(budget_tokens=budget, is_shown=is_shown)
    if kind == "adaptive":
        return Reasoning(effort=effort, is_shown=is_shown)
    raise NotTranslatable(f"thinking.type {str(kind)[:40]!r}", TOWARDS)
