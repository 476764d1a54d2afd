"""Across dialects no field that an SDK has a word for is lost in silence: it is told, refused by its name, or one of those
that docs/gateway.md and docs/providers.md say are dropped."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from google.genai import types
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from routing.conversation import Conversation, NotTranslatable
from routing.upstreams.anthropic.request import messages_body
from routing.upstreams.bedrock.request import converse_body
from routing.upstreams.gemini.request import contents_body
from routing.upstreams.openai.request import chat_body
from routing.upstreams.openai.responses_request import responses_body
from spendhub.errors import Invalid
from spendhub.gateway.anthropic.messages_conversation import messages_conversation
from spendhub.gateway.gemini.generate_conversation import generate_conversation
from spendhub.gateway.openai.chat_conversation import chat_conversation
from spendhub.gateway.openai.responses_conversation import responses_conversation
from tests.gateway.dialects.every_field import every_field
from tests.routing.facts import model_facts

CACHES = frozenset({"caching", "tools"})
WRITE: dict[str, Callable[[Conversation], dict[str, Any]]] = {
    # Models of which nothing is known that they do not take.
    "openai": lambda said: chat_body(model_facts("a-deployment", has_responses=True), said),
    "openais-responses": lambda said: responses_body(model_facts("computer-use-preview"), said),
    "anthropic": lambda said: messages_body(model_facts("claude-sonnet-4-6", dialect="anthropic"), said),
    "gemini": lambda said: contents_body(model_facts("gemini-3.5-flash", dialect="gemini"), said),
    "bedrock": lambda said: converse_body(
        model_facts("us.anthropic.claude-sonnet-4-6", dialect="bedrock", capabilities=CACHES), said
    ),
}


class GenerateBody(TypedDict, total=False):
    """Google's body; the SDK has types for its pieces alone."""

    contents: Required[list[types.ContentDict]]
    system_instruction: types.ContentDict
    tools: list[types.ToolDict]
    tool_config: types.ToolConfigDict
    safety_settings: list[types.SafetySettingDict]
    generation_config: types.GenerationConfigDict
    cached_content: str


def googles(body: Any) -> Any:
    """What the SDK makes of its names."""
    if isinstance(body, dict):
        return {
            re.sub("_([a-z])", lambda found: found[1].upper(), name): googles(value) for name, value in body.items()
        }
    return [googles(each) for each in body] if isinstance(body, list) else body


READ: dict[str, tuple[Any, Callable[[Mapping[str, Any]], Conversation]]] = {
    "chat": (CompletionCreateParamsBase, chat_conversation),
    "responses": (ResponseCreateParamsBase, responses_conversation),
    "messages": (MessageCreateParamsBase, messages_conversation),
    "generate": (
        GenerateBody,
        lambda body: generate_conversation(googles({"contents": [{"parts": [{"text": "hi"}]}]} | dict(body))),
    ),
}
# Some fields say something only beside others.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("chat", "tool_choice"): {"tools": [{"type": "function", "function": {"name": "one"}}]},
    ("chat", "parallel_tool_calls"): {"tools": [{"type": "function", "function": {"name": "one"}}]},
    ("chat", "function_call"): {"functions": [{"name": "one"}]},
    ("chat", "top_logprobs"): {"logprobs": True},
    ("responses", "tool_choice"): {"tools": [{"type": "function", "name": "one"}]},
    ("responses", "parallel_tool_calls"): {"tools": [{"type": "function", "name": "one"}]},
    ("messages", "tool_choice"): {"tools": [{"name": "one", "input_schema": {}}]},
    ("generate", "tool_config"): {"tools": [{"function_declarations": [{"name": "one"}]}]},
}
# The kind of a thing is no wish of its own, every vendor is told its own name of the model, and schemas are told whole
# (what is said of them here is none).
NO_WISHES = ("type", "role", "model", "media_type", "parameters", "input_schema", "required")
# What was found in the words of an earlier answer, and how likely they were.
OF_ANSWERS = re.compile("Annotation|Citation.*Location|Logprob")
ALL = "anthropic bedrock gemini openai"
OTHERS_OF = {
    "chat": "anthropic bedrock gemini openais-responses",
    "responses": ALL,
    "messages": "bedrock gemini openai openais-responses",
    "generate": "anthropic bedrock openai openais-responses",
}
# By vendor, or "all"; as docs/gateway.md and docs/providers.md say.
DROPPED: dict[str, dict[str, tuple[str, ...]]] = {
    "chat": {
        "all": (
            "ChatCompletionDeveloperMessageParam.name", "ChatCompletionSystemMessageParam.name",
            "ChatCompletionUserMessageParam.name", "ChatCompletionAssistantMessageParam.name",
            "CompletionCreateParamsBase.metadata", "CompletionCreateParamsBase.store",
            "CompletionCreateParamsBase.prompt_cache_key", "CompletionCreateParamsBase.prompt_cache_retention",
            "CompletionCreateParamsBase.safety_identifier", "ChatCompletionStreamOptionsParam.include_obfuscation",
            "ChatCompletionStreamOptionsParam.include_usage", "PromptCacheBreakpoint.mode",
            "PromptCacheBreakpoint.ttl", "FilePromptCacheBreakpoint.mode", "FilePromptCacheBreakpoint.ttl",
            "PromptCacheOptions.mode", "PromptCacheOptions.ttl", "CompletionCreateParamsBase.prompt_cache_options",
            "JSONSchema.strict",
        ),
        "anthropic": ("ImageURL.detail", "JSONSchema.name"),
        "gemini": (
            "ImageURL.detail", "JSONSchema.name", "JSONSchema.description", "FunctionDefinition.strict",
            "FileFile.filename", "CompletionCreateParamsBase.user",
        ),
        "bedrock": ("CompletionCreateParamsBase.user",),
    },
    "responses": {
        "all": (
            "EasyInputMessageParam.phase", "Message.status", "ResponseOutputMessageParam.id",
            "ResponseOutputMessageParam.status", "ResponseOutputMessageParam.phase", "ResponseFunctionToolCallParam.id",
            "ResponseFunctionToolCallParam.status", "FunctionCallOutput.id", "FunctionCallOutput.status",
            "ResponseReasoningItemParam.id", "ResponseReasoningItemParam.status", "Summary.text", "Content.text",
            "ResponseReasoningItemParam.encrypted_content", "ResponseCreateParamsBase.metadata",
            "ResponseCreateParamsBase.prompt_cache_key", "ResponseCreateParamsBase.prompt_cache_retention",
            "ResponseCreateParamsBase.safety_identifier", "Reasoning.summary", "Reasoning.generate_summary",
            "StreamOptions.include_obfuscation", "FunctionToolParam.output_schema", "PromptCacheBreakpoint.mode",
            "PromptCacheBreakpoint.ttl", "ResponseInputFileParam.detail", "ResponseInputFileContentParam.detail",
            "PromptCacheOptions.mode", "PromptCacheOptions.ttl", "PromptCacheOptions.comparison_response_id",
            "ResponseCreateParamsBase.prompt_cache_options",
        ),
        "anthropic": (
            "ResponseInputImageParam.detail", "ResponseInputImageContentParam.detail",
            "ResponseFormatTextJSONSchemaConfigParam.name", "ResponseFormatTextJSONSchemaConfigParam.strict",
        ),
        "gemini": (
            "ResponseInputImageParam.detail", "ResponseInputFileParam.filename",
            "ResponseFormatTextJSONSchemaConfigParam.name", "ResponseFormatTextJSONSchemaConfigParam.description",
            "ResponseFormatTextJSONSchemaConfigParam.strict", "FunctionToolParam.strict",
            "ResponseCreateParamsBase.user",
        ),
        "bedrock": ("ResponseFormatTextJSONSchemaConfigParam.strict", "ResponseCreateParamsBase.user"),
    },
    "messages": {
        "all": (
            "CacheControlEphemeralParam.ttl", "DiagnosticsParam.previous_message_id",
            "MessageCreateParamsBase.service_tier", "MessageCreateParamsBase.betas",
            "MessageCreateParamsBase.user_profile_id", "MessageCreateParamsBase.workspace_id",
            "ToolParam.eager_input_streaming", "ToolParam.input_examples",
            "ThinkingBlockBindingParam.prefix_mismatch_behavior", "RedactedThinkingBlockParam.data",
            # Three tokens and four are the same word.
            "ThinkingConfigEnabledParam.budget_tokens",
        ),
        "openai": (
            "ThinkingConfigEnabledParam.display", "ThinkingConfigAdaptiveParam.display", "ThinkingBlockParam.thinking",
            "ThinkingBlockParam.signature",
        ),
        "openais-responses": ("ThinkingBlockParam.thinking", "ThinkingBlockParam.signature"),
        "gemini": (
            "ThinkingBlockParam.thinking", "ThinkingBlockParam.signature", "RequestDocumentBlockParam.title",
            "ToolParam.strict", "MetadataParam.user_id",
        ),
        "bedrock": ("MetadataParam.user_id",),
    },
    "generate": {
        "all": (
            # Of pictures, and without the threshold or the type that it belongs to.
            "BlobDict.display_name", "FileDataDict.display_name", "SafetySettingDict.category",
            "SafetySettingDict.method", "SchemaDict.nullable", "SchemaDict.property_ordering",
        ),
        "anthropic": ("FileDataDict.mime_type",),
        "openais-responses": ("FileDataDict.mime_type",),
    },
}  # fmt: skip
# Of objects that are dropped whole, and thoughts, which have a paragraph of their own.
NAMED_OTHERWISE = {
    "include_obfuscation", "include_usage", "mode", "previous_message_id", "prefix_mismatch_behavior", "text", "data",
    "comparison_response_id",
    # Google's, whose names are in camel case there, or that say something beside others.
    "display_name", "mime_type", "category", "method", "nullable", "property_ordering",
}  # fmt: skip


@pytest.mark.parametrize("route", READ)
def test_a_field_is_told_refused_or_documented(route: str) -> None:
    params, _ = READ[route]
    became: dict[tuple[str, str], set[str]] = defaultdict(set)
    for said in every_field(params):
        if said.field in NO_WISHES or OF_ANSWERS.search(said.owner):
            continue
        for vendor in OTHERS_OF[route].split():
            silent, told = written(route, vendor, said.silent), written(route, vendor, said.value)
            if silent not in ("refused", "invalid"):
                fate = told if told in ("refused", "invalid") else "lost" if told == silent else "told"
                became[f"{said.owner}.{said.field}", vendor].add(str(fate))
    lost = {(field, vendor) for (field, vendor), fates in became.items() if fates == {"lost"}}
    dropped = DROPPED[route]
    assert {each for each in lost if each[0] not in (*dropped["all"], *dropped.get(each[1], ()))} == set()


def test_what_is_dropped_is_named_in_the_documentation() -> None:
    pages = "".join(Path("docs", page).read_text() for page in ("gateway.md", "providers.md"))
    fields = {field for dropped in DROPPED.values() for some in dropped.values() for field in some}
    names = {field.rpartition(".")[2] for field in fields} - NAMED_OTHERWISE
    assert {name for name in names if not re.search(rf"`[\w.]*\b{name}\b`", pages)} == set()


def written(route: str, vendor: str, body: Mapping[str, Any]) -> dict[str, Any] | str:
    """What the vendor is sent, or why it is not."""
    _, read = READ[route]
    whole = dict(body)
    if route == "responses":
        whole.setdefault("input", "hi")
    for field in body:
        whole = BESIDE.get((route, field), {}) | whole
    try:
        return WRITE[vendor](read(whole))
    except NotTranslatable:
        return "refused"
    except Invalid:
        return "invalid"


USER = {"role": "user", "content": "hi"}
CALLED = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "one", "input": {}}]}
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "messages[0].prefix": ("chat", {"messages": [{"role": "assistant", "content": "I am", "prefix": True}]}),
    "messages[0].content[0].video": (
        "chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "video": "x"}]}]}
    ),
    "messages[0].content[0].image_url.crop": (
        "chat", {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "crop": [1]}}]}]}
    ),
    "tools[0].function.timeout": (
        "chat", {"messages": [USER], "tools": [{"type": "function", "function": {"name": "one", "timeout": 5}}]}
    ),
    "response_format.json_schema.lax": (
        "chat", {"messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "a", "lax": 1}}}
    ),
    "tools[0].async": ("responses", {"tools": [{"type": "function", "name": "one", "async": True}]}),
    "tools[0].defer_loading": ("responses", {"tools": [{"type": "function", "name": "one", "defer_loading": True}]}),
    "tools[0].allowed_callers": (
        "responses", {"tools": [{"type": "function", "name": "one", "allowed_callers": ["direct", "programmatic"]}]}
    ),
    "input[0].caller": (
        "responses", {"input": [{"type": "function_call", "call_id": "a", "name": "one", "arguments": "{}",
                                 "caller": {"type": "program", "caller_id": "b"}}]}
    ),
    "contents[0].parts[0].functionCall.willContinue": (
        "generate", {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "one", "willContinue": True}}]}]}
    ),
    "contents[0].parts[0].functionCall.partialArgs": (
        "generate", {"contents": [{"role": "model", "parts": [
            {"functionCall": {"name": "one", "partialArgs": [{"jsonPath": "$.a", "stringValue": "b"}]}}]}]}
    ),
    "contents[0].parts[0].inlineData.crop": (
        "generate", {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA", "crop": 1}}]}]}
    ),
    "tools[0].functionDeclarations[0].timeout": (
        "generate", {"contents": [{"parts": [{"text": "hi"}]}],
                     "tools": [{"functionDeclarations": [{"name": "one", "timeout": 5}]}]}
    ),
    "toolConfig.functionCallingConfig.streamFunctionCallArguments": (
        "generate", {"contents": [{"parts": [{"text": "hi"}]}],
                     "toolConfig": {"functionCallingConfig": {"mode": "ANY", "streamFunctionCallArguments": True}}}
    ),
    "messages[0].content[0].transformations": (
        "messages", {"messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"},
             "transformations": {"oversized_image": "error"}}]}]}
    ),
    "messages[1].content[0].toolset_name": (
        "messages", {"messages": [CALLED, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "toolset_name": "browser"}]}]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_field_within_is_refused_by_its_place(place: str) -> None:
    route, body = PLACES[place]
    with pytest.raises(NotTranslatable) as refused:
        READ[route][1]({"input": "hi", **body} if route == "responses" else body)
    assert refused.value.details["field"] == place


def test_what_says_nothing_is_refused_nowhere() -> None:
    said = {"role": "assistant", "content": "yes", "audio": None, "tool_calls": [], "extra": None, "prefix": False}
    assert chat_conversation({"messages": [USER, said]}).messages[1].role == "assistant"
    direct = {"type": "function", "name": "one", "allowed_callers": ["direct"], "defer_loading": False}
    assert responses_conversation({"input": "hi", "tools": [direct]}).tools[0].name == "one"
    downsized = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"},
                 "transformations": {"oversized_image": "downsize"}}  # fmt: skip
    assert len(messages_conversation({"messages": [{"role": "user", "content": [downsized]}]}).messages) == 1


def test_a_message_that_an_sdk_has_put_together_from_a_stream_comes_back_whole() -> None:
    function = {"name": "one", "arguments": "{}", "parsed_arguments": {"a": 1}}
    call = {"id": "a", "type": "function", "function": function, "index": 0}
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig", "index": 0}
    said = {"role": "assistant", "content": "yes", "refusal": None, "tool_calls": [call], "thinking_blocks": [thought],
            "reasoning_content": "hm", "annotations": [], "parsed": {"a": 1}}  # fmt: skip
    _, told = chat_conversation({"messages": [USER, said]}).messages
    assert [type(block).__name__ for block in told.blocks] == ["Thinking", "Text", "ToolCall"]


def test_how_likely_the_likeliest_were_is_asked_beside_how_likely_the_said_one_was() -> None:
    with pytest.raises(Invalid) as refused:
        chat_conversation({"messages": [USER], "top_logprobs": 3})
    assert refused.value.details["field"] == "top_logprobs"


@pytest.mark.parametrize("schema", ["responseSchema", "responseJsonSchema"])
def test_googles_schema_without_its_type_is_no_wish_that_is_lost(schema: str) -> None:
    config = {schema: {"type": "object", "properties": {"a": {"type": "string"}}}}
    with pytest.raises(Invalid) as refused:
        generate_conversation({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": config})
    assert refused.value.details["field"] == "generationConfig.responseMimeType"


@pytest.mark.parametrize(
    ("parameters", "is_told"),
    [
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}, True),
        ({"anyOf": [{"type": "object"}]}, True),
        ({"type": "object", "additionalProperties": {"type": "string"}}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, False),
        ({"type": "object"}, False),
    ],
)
def test_gemini_is_told_parameters_that_have_no_properties_of_their_own(parameters: Any, is_told: bool) -> None:
    tool = {"type": "function", "function": {"name": "one", "parameters": parameters}}
    told = WRITE["gemini"](chat_conversation({"messages": [USER], "tools": [tool]}))
    (function,) = told["tools"][0]["functionDeclarations"]
    assert function == ({"name": "one", "parametersJsonSchema": parameters} if is_told else {"name": "one"})
