"""A generateContent request in no vendor's words.

What Google alone has a word for is refused by its name; what changes no answer is dropped. Both are listed in
docs/gateway.md, "Across dialects". Source: ai.google.dev API reference, "GenerateContentRequest", "GenerationConfig".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.conversation import Conversation, NotTranslatable, OutputFormat, Reasoning, Tool, ToolChoice
from spendhub.errors import Invalid
from spendhub.gateway.foreign_fields import OwnNames, refuse_others
from spendhub.gateway.gemini.generate_parts import TOWARDS, read_contents, read_system
from spendhub.gateway.gemini.schemas import closed_if_strict, json_schema
from spendhub.gateway.request_bodies import (
    flag_in,
    list_at,
    name_at,
    number_in,
    object_field,
    objects_in,
    optional_text_at,
    text_at,
    whole_in,
)

MAX_CHOICES = 8
MAX_SEED = 2**31 - 1
MAX_LOGPROBS = 20
CONFIG = "generationConfig"

# Said in a conversation, or read by us.
_TRANSLATED = frozenset(
    ("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "spendhub")
)
# They change where a call is kept or counted, not what it says.
DROPPED = frozenset(("labels", "store"))
_TRANSLATED_CONFIG = frozenset(
    ("stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema", "candidateCount", "maxOutputTokens",
     "temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs",
     "thinkingConfig")
)  # fmt: skip
_TRANSLATED_FUNCTION = frozenset(
    # What a function answers with is told to no model elsewhere: `response` and its schema are dropped.
    ("name", "description", "parameters", "parametersJsonSchema", "behavior", "response", "responseJsonSchema")
)
# A value that says what would hold anyway.
_SAYS_NOTHING: Mapping[str, Sequence[Any]] = {
    "serviceTier": ("unspecified", "standard", "SERVICE_TIER_UNSPECIFIED", "SERVICE_TIER_STANDARD", "STANDARD"),
    "responseModalities": ([], ["TEXT"], ["Text"], ["text"]),
    "enableEnhancedCivicAnswers": (False,),
}
# Filters that let through as much as other vendors do, or more.
_LAX = ("HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")
_EFFORTS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_MODES: Mapping[str, Any] = {"AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required"}

# What its clients write for what a vendor may have no word for.
OWN_NAMES: OwnNames = {
    "messages": ("contents",),
    "tool_choice": ("toolConfig.functionCallingConfig",),
    "temperature": (f"{CONFIG}.temperature",),
    "top_p": (f"{CONFIG}.topP",),
    "top_k": (f"{CONFIG}.topK",),
    "frequency_penalty": (f"{CONFIG}.frequencyPenalty",),
    "presence_penalty": (f"{CONFIG}.presencePenalty",),
    "stop": (f"{CONFIG}.stopSequences",),
    "seed": (f"{CONFIG}.seed",),
    "output": (f"{CONFIG}.responseJsonSchema", f"{CONFIG}.responseSchema", f"{CONFIG}.responseMimeType"),
    "reasoning": (f"{CONFIG}.thinkingConfig",),
    "logprobs": (f"{CONFIG}.responseLogprobs",),
    "top_logprobs": (f"{CONFIG}.logprobs",),
    "choices": (f"{CONFIG}.candidateCount",),
}


def generate_conversation(body: Mapping[str, Any]) -> Conversation:
    """The request. Raises NotTranslatable, or Invalid for what no vendor could understand."""
    _refuse_unknown(body, _TRANSLATED | DROPPED, "")
    config = object_field(body, CONFIG) or {}
    _refuse_unknown(config, _TRANSLATED_CONFIG, f"{CONFIG}.")
    # So that whoever finds something wrong names the whole place.
    config = {f"{CONFIG}.{name}": value for name, value in config.items()}
    _refuse_strict_filters(body)
    messages = read_contents(body["contents"])
    if not messages:
        raise Invalid("contents must have at least one part", field="contents")
    choice, allowed = _tool_choice(body)
    system = object_field(body, "systemInstruction")
    return Conversation(
        messages=messages,
        system=() if system is None else read_system(system, "systemInstruction"),
        tools=tuple(tool for tool in _tools(body) if allowed is None or tool.name in allowed),
        tool_choice=choice,
        max_output_tokens=whole_in(config, f"{CONFIG}.maxOutputTokens"),
        temperature=number_in(config, f"{CONFIG}.temperature"),
        top_p=number_in(config, f"{CONFIG}.topP"),
        top_k=_top_k(config),
        frequency_penalty=number_in(config, f"{CONFIG}.frequencyPenalty"),
        presence_penalty=number_in(config, f"{CONFIG}.presencePenalty"),
        stop=_stop(config),
        seed=whole_in(config, f"{CONFIG}.seed", MAX_SEED, -MAX_SEED),
        output=_output(config),
        reasoning=_reasoning(config),
        logprobs=_logprobs(config),
        choices=whole_in(config, f"{CONFIG}.candidateCount", MAX_CHOICES) or 1,
    )


def _refuse_unknown(given: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    for name, value in given.items():
        if value is None or name in known or value in _SAYS_NOTHING.get(name, ()):
            continue
        raise NotTranslatable(f"{place}{name[:80]}", TOWARDS)


def _refuse_strict_filters(body: Mapping[str, Any]) -> None:
    for position, setting in enumerate(objects_in(body, "safetySettings")):
        threshold = setting.get("threshold")
        if threshold is not None and threshold not in _LAX:
            raise NotTranslatable(f"safetySettings[{position}].threshold {str(threshold)[:40]!r}", TOWARDS)


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    found = []
    for position, tool in enumerate(objects_in(body, "tools")):
        place = f"tools[{position}]"
        for name, value in tool.items():
            # Google's own tools are asked for by an empty object.
            if name != "functionDeclarations" and value is not None:
                raise NotTranslatable(f"{place}.{name[:40]}", TOWARDS)
        for number, function in enumerate(objects_in(tool, "functionDeclarations")):
            found.append(_tool(function, f"{place}.functionDeclarations[{number}]"))
    return tuple(found)


def _tool(function: Mapping[str, Any], place: str) -> Tool:
    refuse_others(function, _TRANSLATED_FUNCTION, place)
    if function.get("behavior") not in (None, "UNSPECIFIED", "BLOCKING"):
        raise NotTranslatable(f"{place}.behavior", TOWARDS)
    parameters: dict[str, Any] = {}
    if function.get("parametersJsonSchema") is not None:
        parameters = object_field(function, "parametersJsonSchema") or {}
    elif function.get("parameters") is not None:
        parameters = json_schema(function["parameters"], f"{place}.parameters")
    return Tool(
        name=name_at(function.get("name"), f"{place}.name"),
        description=optional_text_at(function.get("description"), f"{place}.description"),
        parameters=parameters,
    )


def _tool_choice(body: Mapping[str, Any]) -> tuple[ToolChoice | None, frozenset[str] | None]:
    """What is to be chosen, and the names of those that may be, None for all."""
    given = object_field(body, "toolConfig") or {}
    for name, value in given.items():
        if name != "functionCallingConfig" and value not in (None, False):
            raise NotTranslatable(f"toolConfig.{name[:40]}", TOWARDS)
    place = "toolConfig.functionCallingConfig"
    config = object_field(given, "functionCallingConfig")
    refuse_others(config or {}, ("mode", "allowedFunctionNames"), place)
    mode = None if config is None else config.get("mode")
    if config is None or mode in (None, "MODE_UNSPECIFIED"):
        if config and config.get("allowedFunctionNames"):
            raise Invalid(f"{place}.allowedFunctionNames needs a mode: ANY or VALIDATED", field=f"{place}.mode")
        return None, None
    if not isinstance(mode, str) or mode.upper() not in _MODES:
        raise Invalid(f"{place}.mode must be one of {', '.join(_MODES)}", field=f"{place}.mode")
    choosing = _MODES[mode.upper()]
    names = config.get("allowedFunctionNames")
    if not names or choosing == "none":
        return ToolChoice(choosing), None
    allowed = frozenset(name_at(each, f"{place}.allowedFunctionNames") for each in list_at(names, place))
    if choosing == "required" and len(allowed) == 1:
        return ToolChoice("named", next(iter(allowed))), None
    return ToolChoice(choosing), allowed


def _top_k(config: Mapping[str, Any]) -> int | None:
    """Google's SDKs write 40 as 40.0."""
    found = number_in(config, f"{CONFIG}.topK")
    if found is not None and not (found == found // 1 and 1 <= found <= 1_000_000):
        raise Invalid(f"{CONFIG}.topK must be a whole number from 1", field=f"{CONFIG}.topK")
    return None if found is None else int(found)


def _stop(config: Mapping[str, Any]) -> tuple[str, ...]:
    place = f"{CONFIG}.stopSequences"
    given = config.get(place)
    return () if given is None else tuple(text_at(each, place) for each in list_at(given, place))


def _output(config: Mapping[str, Any]) -> OutputFormat | None:
    place = f"{CONFIG}.responseMimeType"
    kind = optional_text_at(config.get(place), place)
    if kind in ("", "text/plain"):
        for name in (f"{CONFIG}.responseJsonSchema", f"{CONFIG}.responseSchema"):
            if config.get(name) is not None:
                # As Google, who asks for the type beside each schema.
                raise Invalid(f"{name} needs {place}: application/json", field=place)
        return None
    if kind != "application/json":
        raise NotTranslatable(f"{place} {kind[:40]!r}", TOWARDS)
    place = f"{CONFIG}.responseJsonSchema"
    schema = object_field(config, place)
    if schema is None:
        place = f"{CONFIG}.responseSchema"
        if config.get(place) is None:
            return OutputFormat()
        schema = json_schema(config[place], place)
    # Google holds every answer to its schema; elsewhere that is `strict`, which not every schema can be.
    strict = closed_if_strict(schema)
    return OutputFormat(schema) if strict is None else OutputFormat(strict, is_strict=True)


def _reasoning(config: Mapping[str, Any]) -> Reasoning | None:
    place = f"{CONFIG}.thinkingConfig"
    given = object_field(config, place)
    if given is None:
        return None
    for name, value in given.items():
        if name not in ("includeThoughts", "thinkingBudget", "thinkingLevel") and value is not None:
            raise NotTranslatable(f"{place}.{name[:40]}", TOWARDS)
    is_shown = bool(flag_in(given, "includeThoughts"))
    level = optional_text_at(given.get("thinkingLevel"), f"{place}.thinkingLevel").upper()
    if level not in ("", "THINKING_LEVEL_UNSPECIFIED"):
        if level not in _EFFORTS:
            raise Invalid(f"{place}.thinkingLevel must be one of {', '.join(_EFFORTS)}", field=f"{place}.thinkingLevel")
        return Reasoning(effort=_EFFORTS[level], is_shown=is_shown)
    budget = whole_in(given, "thinkingBudget", at_least=-1)
    if budget is None or budget < 0:
        # -1 leaves it to the model, as does silence; thoughts are then only asked for where they are to be seen.
        return Reasoning(is_shown=is_shown) if is_shown or budget is not None else None
    if budget == 0:
        return Reasoning(effort="none")
    return Reasoning(budget_tokens=budget, is_shown=is_shown)


def _logprobs(config: Mapping[str, Any]) -> int | None:
    place = f"{CONFIG}.logprobs"
    most = whole_in(config, place, MAX_LOGPROBS, 0)
    if flag_in(config, f"{CONFIG}.responseLogprobs"):
        return most or 0
    if most:
        raise Invalid(f"{place} needs responseLogprobs: true", field=place)
    return None
