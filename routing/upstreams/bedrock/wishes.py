"""How an answer is wanted: limits, sampling, thinking, JSON, which tools. In Converse's own fields where it has them,
in a vendor's (`additionalModelRequestFields`) where it has none.

What Claude takes is what Anthropic's own dialect knows: its rules are asked, and only said in other words.
Source: docs.aws.amazon.com, "Inference request parameters and response fields"; the service's model in botocore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from routing.conversation import Conversation, NotTranslatable, OutputFormat
from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.generations import generation_of
from routing.upstreams.anthropic.request import messages_body
from routing.upstreams.anthropic.schemas import closed_schema
from routing.upstreams.anthropic.tool_loops import may_think_in_tokens, turns_of
from routing.upstreams.bedrock.families import TOWARDS, Family
from routing.upstreams.efforts import effort_of
from routing.upstreams.json_objects import encode
from routing.upstreams.limits import output_limit

_CHOICES: Mapping[str, str] = {"required": "any", "any": "any", "named": "tool", "tool": "tool"}
_WORDS_FOR_EFFORT = {"minimal": "low", "xhigh": "high", "max": "high"}
# Anthropic's words for Converse's blocks, as far as thinking depends on them.
_KINDS: Mapping[str, str] = {"toolUse": "tool_use", "toolResult": "tool_result", "reasoningContent": "thinking"}


@dataclass
class Wishes:
    """Fields of the request beside what was said. `tool_choice` is `toolConfig.toolChoice`, {} where it is not said."""

    inference: dict[str, Any] = field(default_factory=dict)
    additional: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    tool_choice: dict[str, Any] = field(default_factory=dict)


def wishes_of(
    model: ModelFacts, family: Family, conversation: Conversation, messages: Sequence[Mapping[str, Any]]
) -> Wishes:
    """What the conversation wishes for, as a model of `family` takes it that is sent these `messages`. Raises
    NotTranslatable."""
    if family.is_claude:
        wishes = _of_claude(model, family, conversation, messages)
    else:
        wishes = _of_others(model, family, conversation)
    if conversation.stop:
        wishes.inference["stopSequences"] = list(conversation.stop)
    return wishes


def _of_claude(
    model: ModelFacts, family: Family, conversation: Conversation, messages: Sequence[Mapping[str, Any]]
) -> Wishes:
    thinks_in_tokens = generation_of(family.name).thinks_in == "tokens"
    if thinks_in_tokens and not may_think_in_tokens(family.name, turns_of(messages, _kind)):
        conversation = replace(conversation, reasoning=None)
    said = messages_body(replace(model, upstream_name=family.name), replace(conversation, messages=(), system=()))
    wishes = Wishes({"maxTokens": said["max_tokens"]})
    for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if ours in said:
            wishes.inference[theirs] = said[ours]
    wishes.additional |= {name: said[name] for name in ("thinking", "top_k") if name in said}
    output = said.get("output_config", {})
    if "effort" in output:
        wishes.output["effort"] = output["effort"]
    if conversation.output is not None and conversation.output.schema is not None:
        wishes.output["textFormat"] = _text_format(conversation.output, closed_schema(conversation.output.schema))
    choice = said.get("tool_choice", {})
    forced = _CHOICES.get(choice.get("type", ""))
    if forced:
        wishes.tool_choice = {forced: {"name": choice["name"]} if "name" in choice else {}}
    if choice.get("disable_parallel_tool_use"):
        # Converse has no word for it. What it has a word for (any, tool) may not be said twice.
        kind = {} if forced else {"type": choice["type"]}
        wishes.additional["tool_choice"] = {**kind, "disable_parallel_tool_use": True}
    return wishes


def _kind(block: Mapping[str, Any]) -> str:
    return next((kind for name, kind in _KINDS.items() if name in block), "")


def _of_others(model: ModelFacts, family: Family, conversation: Conversation) -> Wishes:
    _refuse_the_unsayable(family, conversation)
    plain = {
        "maxTokens": output_limit(model, conversation),
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
    }
    wishes = Wishes({name: value for name, value in plain.items() if value is not None})
    _say_thinking(wishes, family, conversation)
    if conversation.top_k is not None:
        wishes.additional["inferenceConfig"] = {"topK": conversation.top_k}
    if conversation.output is not None and conversation.output.schema is not None:
        wishes.output["textFormat"] = _text_format(conversation.output, closed_schema(conversation.output.schema))
    choice = conversation.tool_choice
    if choice is not None and choice.choosing in _CHOICES:
        forced = _CHOICES[choice.choosing]
        wishes.tool_choice = {forced: {"name": choice.name} if choice.choosing == "named" else {}}
    return wishes


def _refuse_the_unsayable(family: Family, conversation: Conversation) -> None:
    output = conversation.output
    unsayable = {
        "seed": conversation.seed is not None,
        "logprobs": conversation.logprobs is not None,
        "choices": conversation.choices > 1,
        # 0 is what everybody means who says nothing.
        "frequency_penalty": bool(conversation.frequency_penalty),
        "presence_penalty": bool(conversation.presence_penalty),
        "stop": "" in conversation.stop,
        "top_k": conversation.top_k is not None and not family.is_nova,
        "is_parallel": conversation.is_parallel is False and bool(conversation.tools),
        # There is no "any JSON object" here.
        "output": output is not None and (output.schema is None or not family.takes_schemas),
    }
    for name, is_said in unsayable.items():
        if is_said:
            raise NotTranslatable(name, TOWARDS)


def _say_thinking(wishes: Wishes, family: Family, conversation: Conversation) -> None:
    wanted = conversation.reasoning
    if wanted is None:
        return
    effort = effort_of(wanted)
    effort = _WORDS_FOR_EFFORT.get(effort, effort)
    match family.thinks:
        case "gpt-oss":
            if effort:
                wishes.additional["reasoning_effort"] = "low" if effort == "none" else effort  # It always thinks.
        case "nova":
            if effort != "none":
                _say_novas_thinking(wishes, effort or "medium")
        case _:
            if effort != "none":
                raise NotTranslatable("reasoning", TOWARDS)


def _say_novas_thinking(wishes: Wishes, effort: str) -> None:
    if effort == "high":
        if "maxTokens" in wishes.inference:
            effort = "medium"  # At "high" Nova refuses a limit, and a limit is money.
        else:
            wishes.inference.clear()  # Nor does it take a temperature then.
    wishes.additional["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}


def _text_format(wanted: OutputFormat, schema: Mapping[str, Any]) -> dict[str, Any]:
    said = {"schema": encode(schema).decode(), "name": wanted.name}
    if wanted.description:
        said["description"] = wanted.description
    return {"type": "json_schema", "structure": {"jsonSchema": said}}
