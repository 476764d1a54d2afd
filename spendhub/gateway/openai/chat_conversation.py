"""A chat completion request in no vendor's words.

What OpenAI alone has a word for is refused by its name; what changes no answer is dropped. Both are
listed in docs/gateway.md, "Across dialects". Source: OpenAI's API reference, "Create chat completion".
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
from routing.upstreams.openai.compatible import NEW_LIMIT, OLD_LIMIT
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import TOWARDS, OwnNames, refuse_others
from spendhub.gateway.openai.chat_messages import read_messages
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

MAX_CHOICES = 128
MAX_SEED = 2**63 - 1
MAX_LOGPROBS = 100

# Said in a conversation, or read by us.
_TRANSLATED = frozenset(
    (
        "model", "messages", "stream", "tools", "functions", "tool_choice", "function_call", "parallel_tool_calls",
        "max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "frequency_penalty",
        "presence_penalty", "stop", "seed", "response_format", "reasoning_effort", "logprobs", "top_logprobs", "n",
        "user", "prompt_cache_options", "spendhub",
    )
)  # fmt: skip
# They change where a call is kept or counted, not what it says.
DROPPED = frozenset(
    ("metadata", "store", "stream_options", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
)
# When OpenAI's cache begins and how long it lasts, which changes no answer.
_CACHING = ("mode", "ttl")
# A value that says what would hold anyway.
_SAYS_NOTHING: Mapping[str, Sequence[Any]] = {
    "logit_bias": ({},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
}
# What we read of the objects within.
_TOOL = ("type", "function", "cache_control")
_FUNCTION = ("name", "description", "parameters", "strict")
# `type` where the schema is OpenAI's `text.format`, and stands beside it.
_JSON_SCHEMA = ("type", "name", "description", "schema", "strict")

# What its clients write for what a vendor may have no word for.
OWN_NAMES: OwnNames = {
    "messages": ("messages",),
    "tool_choice": ("tool_choice", "function_call"),
    "is_parallel": ("parallel_tool_calls",),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    "stop": ("stop",),
    "seed": ("seed",),
    "output": ("response_format",),
    "reasoning": ("reasoning_effort",),
    "logprobs": ("logprobs",),
    "top_logprobs": ("top_logprobs",),
    "choices": ("n",),
}


def limit_in(body: Mapping[str, Any]) -> int | None:
    """How long each choice may be. Of both names the larger limit: which of them a vendor obeys is its own affair.
    Raises Invalid."""
    new, old = whole_in(body, NEW_LIMIT), whole_in(body, OLD_LIMIT)
    return max(new, old) if new is not None and old is not None else new or old


def chat_conversation(body: Mapping[str, Any]) -> Conversation:
    """The request. Raises NotTranslatable, or Invalid for what no vendor could understand."""
    _refuse_unknown(body)
    refuse_others(object_field(body, "prompt_cache_options") or {}, _CACHING, "prompt_cache_options")
    logprobs = _logprobs(body)
    system, messages = read_messages(body["messages"])
    return Conversation(
        messages=messages,
        system=system,
        tools=_tools(body),
        tool_choice=_tool_choice(body),
        is_parallel=flag_in(body, "parallel_tool_calls"),
        max_output_tokens=limit_in(body),
        temperature=number_in(body, "temperature"),
        top_p=number_in(body, "top_p"),
        top_k=whole_in(body, "top_k"),
        frequency_penalty=number_in(body, "frequency_penalty"),
        presence_penalty=number_in(body, "presence_penalty"),
        stop=_stop(body),
        seed=whole_in(body, "seed", MAX_SEED, -MAX_SEED),
        output=_output(body),
        reasoning=_reasoning(body),
        logprobs=logprobs,
        choices=whole_in(body, "n", MAX_CHOICES) or 1,
        user=optional_text_at(body.get("user"), "user"),
    )


def _refuse_unknown(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if value is None or name in _TRANSLATED or name in DROPPED or value in _SAYS_NOTHING.get(name, ()):
            continue
        raise NotTranslatable(name[:80], TOWARDS)


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    found = []
    for position, tool in enumerate(objects_in(body, "tools")):
        place = f"tools[{position}]"
        kind = tool.get("type", "function")
        if kind != "function":
            raise NotTranslatable(f"{place}.type {str(kind)[:40]!r}", TOWARDS)
        refuse_others(tool, _TOOL, place)
        function = object_at(tool.get("function"), f"{place}.function")
        found.append(_tool(function, f"{place}.function", is_cache_point=bool(tool.get("cache_control"))))
    for position, function in enumerate(objects_in(body, "functions")):
        found.append(_tool(function, f"functions[{position}]", is_cache_point=False))
    return tuple(found)


def _tool(function: Mapping[str, Any], place: str, *, is_cache_point: bool) -> Tool:
    refuse_others(function, _FUNCTION, place)
    parameters = function.get("parameters")
    return Tool(
        name=name_at(function.get("name"), f"{place}.name"),
        description=optional_text_at(function.get("description"), f"{place}.description"),
        parameters={} if parameters is None else object_at(parameters, f"{place}.parameters"),
        is_strict=flag_in(function, "strict"),
        is_cache_point=is_cache_point,
    )


def _tool_choice(body: Mapping[str, Any]) -> ToolChoice | None:
    choice = body.get("tool_choice")
    place = "tool_choice"
    if choice is None:
        choice, place = body.get("function_call"), "function_call"
        if isinstance(choice, dict):
            choice = {"type": "function", "function": choice}
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if isinstance(choice, dict) and choice.get("type") == "function":
        refuse_others(choice, ("type", "function"), place)
        function = object_at(choice.get("function"), f"{place}.function")
        refuse_others(function, ("name",), f"{place}.function")
        return ToolChoice("named", name_at(function.get("name"), f"{place}.function.name"))
    if isinstance(choice, dict) and isinstance(choice.get("type"), str):
        raise NotTranslatable(f"{place}.type {choice['type'][:40]!r}", TOWARDS)
    raise Invalid(f"{place} must be auto, none, required or a function", field=place)


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    return tuple(text_at(each, "stop") for each in list_at(stop, "stop"))


def _output(body: Mapping[str, Any]) -> OutputFormat | None:
    wanted = body.get("response_format")
    if wanted is None:
        return None
    kind = object_at(wanted, "response_format").get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat()
    if kind != "json_schema":
        raise NotTranslatable(f"response_format.type {str(kind)[:40]!r}", TOWARDS)
    refuse_others(wanted, ("type", "json_schema"), "response_format")
    place = "response_format.json_schema"
    return output_format(object_at(wanted.get("json_schema"), place), place)


def output_format(given: Mapping[str, Any], place: str) -> OutputFormat:
    """A named JSON schema as OpenAI writes it: name, description, schema, strict."""
    refuse_others(given, _JSON_SCHEMA, place)
    schema = given.get("schema")
    return OutputFormat(
        schema={} if schema is None else object_at(schema, f"{place}.schema"),
        name=name_at(given.get("name"), f"{place}.name"),
        description=optional_text_at(given.get("description"), f"{place}.description"),
        is_strict=flag_in(given, "strict"),
    )


def _logprobs(body: Mapping[str, Any]) -> int | None:
    most = whole_in(body, "top_logprobs", MAX_LOGPROBS, 0)
    if flag_in(body, "logprobs"):
        return most or 0
    if most:
        raise Invalid("top_logprobs needs logprobs: true", field="top_logprobs")
    return None


def _reasoning(body: Mapping[str, Any]) -> Reasoning | None:
    effort = body.get("reasoning_effort")
    if effort is None:
        return None
    effort = name_at(effort, "reasoning_effort")
    return Reasoning(effort=effort, is_shown=effort != "none")
