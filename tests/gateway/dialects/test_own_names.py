"""What a vendor has no word for is named to each client as that client has written it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routing.conversation import NotTranslatable
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import ClientDialect
from spendhub.gateway.foreign_fields import own_name
from spendhub.gateway.gemini.generate import GENERATE_DIALECT, GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT

VENDORS = Path(__file__).parents[3] / "routing" / "upstreams"
TOOL = {"type": "function", "function": {"name": "weather"}}
JSON = {"type": "json_schema", "schema": {"type": "object"}}
HI = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "m", "input": "hi"},
    "messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
DIALECTS: dict[str, ClientDialect] = {
    "chat": CHAT_DIALECT,
    "responses": RESPONSES_DIALECT,
    "messages": MESSAGES_DIALECT,
    "generate": GenerateDialect("m", is_stream=False),
}
# Each client's ways to ask for what some vendor has no word for, and the field that it asks with.
ASKED: dict[str, dict[str, list[tuple[dict[str, Any], str]]]] = {
    "chat": {
        "choices": [({"n": 3}, "n")],
        "logprobs": [({"logprobs": True, "top_logprobs": 3}, "logprobs")],
        "top_logprobs": [({"logprobs": True, "top_logprobs": 50}, "top_logprobs")],
        "is_parallel": [({"parallel_tool_calls": False, "tools": [TOOL]}, "parallel_tool_calls")],
        "output": [({"response_format": {"type": "json_object"}}, "response_format")],
        "reasoning": [({"reasoning_effort": "high"}, "reasoning_effort")],
        "tool_choice": [
            ({"tool_choice": "required", "tools": [TOOL]}, "tool_choice"),
            ({"function_call": {"name": "weather"}, "functions": [{"name": "weather"}]}, "function_call"),
        ],
        "stop": [({"stop": "END"}, "stop"), ({"stop": ["END"]}, "stop")],
        "seed": [({"seed": 1}, "seed")],
        "frequency_penalty": [({"frequency_penalty": 1}, "frequency_penalty")],
        "presence_penalty": [({"presence_penalty": 1}, "presence_penalty")],
        "temperature": [({"temperature": 2}, "temperature")],
        "top_p": [({"top_p": 0.5}, "top_p")],
        "top_k": [({"top_k": 5}, "top_k")],
        "messages": [({}, "messages")],
    },
    "responses": {
        "logprobs": [
            ({"top_logprobs": 3, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
            ({"include": ["message.output_text.logprobs"]}, "include"),
        ],
        "top_logprobs": [({"top_logprobs": 20}, "top_logprobs")],
        "is_parallel": [({"parallel_tool_calls": False}, "parallel_tool_calls")],
        "output": [({"text": {"format": {"type": "json_object"}}}, "text.format")],
        "reasoning": [({"reasoning": {"effort": "high"}}, "reasoning.effort")],
        "tool_choice": [({"tool_choice": "required"}, "tool_choice")],
        "temperature": [({"temperature": 2}, "temperature")],
        "top_p": [({"top_p": 0.5}, "top_p")],
        "messages": [({}, "input")],
    },
    "messages": {
        "is_parallel": [
            (
                {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
                "tool_choice.disable_parallel_tool_use",
            )
        ],
        "output": [
            ({"output_config": {"format": JSON}}, "output_config.format"),
            ({"output_format": JSON}, "output_format"),
        ],
        "reasoning": [
            ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking"),
            ({"output_config": {"effort": "high"}}, "output_config.effort"),
        ],
        "tool_choice": [({"tool_choice": {"type": "any"}}, "tool_choice")],
        "temperature": [({"temperature": 1.5}, "temperature")],
        "top_p": [({"top_p": 0.5}, "top_p")],
        "top_k": [({"top_k": 5}, "top_k")],
        "stop": [({"stop_sequences": ["END"]}, "stop_sequences")],
        "messages": [({}, "messages")],
    },
    "generate": {
        "choices": [({"generationConfig": {"candidateCount": 3}}, "generationConfig.candidateCount")],
        "logprobs": [({"generationConfig": {"responseLogprobs": True}}, "generationConfig.responseLogprobs")],
        "top_logprobs": [
            ({"generationConfig": {"responseLogprobs": True, "logprobs": 20}}, "generationConfig.logprobs")
        ],
        "output": [
            (
                {"generationConfig": {"responseMimeType": "application/json", name: {"type": "object"}}},
                f"generationConfig.{name}",
            )
            for name in ("responseJsonSchema", "responseSchema")
        ]
        + [({"generationConfig": {"responseMimeType": "application/json"}}, "generationConfig.responseMimeType")],
        "reasoning": [
            ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 99}}}, "generationConfig.thinkingConfig")
        ],
        "tool_choice": [
            ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "toolConfig.functionCallingConfig")
        ],
        "stop": [({"generationConfig": {"stopSequences": ["END"]}}, "generationConfig.stopSequences")],
        "seed": [({"generationConfig": {"seed": 1}}, "generationConfig.seed")],
        "frequency_penalty": [({"generationConfig": {"frequencyPenalty": 1}}, "generationConfig.frequencyPenalty")],
        "presence_penalty": [({"generationConfig": {"presencePenalty": 1}}, "generationConfig.presencePenalty")],
        "temperature": [({"generationConfig": {"temperature": 2}}, "generationConfig.temperature")],
        "top_p": [({"generationConfig": {"topP": 0.5}}, "generationConfig.topP")],
        "top_k": [({"generationConfig": {"topK": 5}}, "generationConfig.topK")],
        "messages": [({}, "contents")],
    },
}
# Its clients cannot ask for it at all, so that no vendor refuses it.
NEVER_ASKED = {
    "chat": set[str](),
    "responses": {"choices", "stop", "seed", "frequency_penalty", "presence_penalty", "top_k"},
    "messages": {"choices", "logprobs", "top_logprobs", "seed", "frequency_penalty", "presence_penalty"},
    "generate": {"is_parallel"},
}


def named(client: str, word: str, fields: dict[str, Any]) -> str:
    dialect = DIALECTS[client]
    request = dialect.parse(json.dumps({**HI[client], **fields}).encode())
    dialect.conversation(request)  # it can be asked so
    return own_name(word, dialect.own_names, request.body)


def words_of_vendors() -> set[str]:
    """What the vendors' side names in NotTranslatable, before a colon: read from its source."""
    found: set[str] = set()
    for path in VENDORS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "NotTranslatable":
                found |= set(_texts(node.args[0]))
            elif isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == ["unsayable"]:
                assert isinstance(node.value, ast.Dict)
                found |= {text for key in node.value.keys for text in _texts(key)}
    return {text.partition(":")[0] for text in found} | {"logprobs", "choices"}  # what a dialect `lacks`


def _texts(node: ast.AST | None) -> Iterator[str]:
    """A text, or how one begins; of a name nothing: it is a key of `unsayable`, or among what a dialect `lacks`."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        assert isinstance(node, ast.Name) and node.id == "name", ast.dump(node) if node else ""


def test_the_vendors_words_are_found_in_their_source() -> None:
    """So that the next test cannot pass by finding none."""
    assert words_of_vendors() == {
        "choices", "logprobs", "top_logprobs", "is_parallel", "output", "reasoning", "tool_choice", "stop",
        "seed", "frequency_penalty", "presence_penalty", "temperature", "top_p", "top_k", "messages",
    }  # fmt: skip


@pytest.mark.parametrize("client", DIALECTS)
def test_each_client_has_a_name_for_each_word_that_a_vendor_may_refuse(client: str) -> None:
    assert set(DIALECTS[client].own_names) == words_of_vendors() - NEVER_ASKED[client]
    assert set(ASKED[client]) == set(DIALECTS[client].own_names)


@pytest.mark.parametrize(
    ("client", "word", "fields", "name"),
    [(client, word, fields, name) for client, words in ASKED.items() for word, ways in words.items()
     for fields, name in ways],
)  # fmt: skip
def test_it_is_the_name_that_the_client_has_written(client: str, word: str, fields: dict[str, Any], name: str) -> None:
    assert named(client, word, fields) == name


def test_the_place_within_the_messages_stays_in_words() -> None:
    error = NotTranslatable("messages: audio", "Anthropic")
    told = error.renamed(lambda word: own_name(word, GENERATE_DIALECT.own_names, HI["generate"]))
    assert (told.field, told.details) == ("contents: audio", {"field": "contents: audio", "dialect": "Anthropic"})
    assert told.message == (
        "contents: audio cannot be said to a model of Anthropic; leave it out, or name another model"
    )
