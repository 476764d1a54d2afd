"""Whatever is sent to a dialect, it is understood, or it is Invalid, or no word of its vendor's: nothing else is ever
raised, from the client's body to each vendor's own request."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.conversation import Conversation, NotTranslatable
from routing.model_facts import ModelFacts
from routing.tokens import estimate_input_tokens
from routing.upstreams.registry import DIALECTS
from spendhub.errors import Invalid
from spendhub.gateway.anthropic.count_tokens import count_tokens_answer
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.gemini.embed import EmbedDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from tests.places import copy_to_change, places
from tests.routing.facts import model_facts

GOOD: dict[str, tuple[Any, dict[str, Any]]] = {
    "chat": (CHAT_DIALECT, {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
    "messages": (MESSAGES_DIALECT, {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}),
    "responses": (RESPONSES_DIALECT, {"model": "m", "input": "hi"}),
    "embeddings": (EMBEDDINGS_DIALECT, {"model": "m", "input": "hi"}),
    "generate": (GenerateDialect("m", is_stream=False), {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    "embed": (EmbedDialect("m", is_batch=False), {"content": {"parts": [{"text": "hi"}]}}),
    "batch_embed": (EmbedDialect("m", is_batch=True), {"requests": [{"content": {"parts": [{"text": "hi"}]}}]}),
}
# Their model stands in the address, and their `labels` are what `metadata` is elsewhere.
GOOGLES = ("generate", "embed", "batch_embed")
BAD_FOR_ALL: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"hello",
    "a list": b"[]",
    "null": b"null",
    "no UTF-8": b'{"model": "\xff"}',
    "too deep": b'{"model": "m", "messages": ' + b"[" * 300 + b"]" * 300 + b"}",
    "without end": b'{"a":' * 100_000,
}
ABSENT = object()
BAD_FIELDS: dict[str, list[tuple[str, Any]]] = {
    "all": [
        ("model", ABSENT), ("model", None), ("model", 7), ("model", " "), ("model", "x" * 201),
        ("metadata", "feature"),
    ],
    "chat": [
        ("messages", ABSENT), ("messages", []), ("messages", "hi"), ("messages", ["hi"]), ("stream", "yes"),
        ("stream_options", []), ("n", 0), ("n", True), ("max_tokens", 0), ("max_completion_tokens", 1.5),
        ("tools", {}), ("tools", ["x"]), ("functions", "x"),
    ],
    "messages": [
        ("messages", ABSENT), ("messages", []), ("messages", "hi"), ("messages", ["hi"]), ("stream", 1),
        ("max_tokens", ABSENT), ("max_tokens", None), ("max_tokens", -1), ("max_tokens", "5"), ("system", 7),
        ("system", ["x"]), ("tools", "x"),
    ],
    "responses": [
        ("input", ABSENT), ("input", ""), ("input", []), ("input", [7]), ("input", {}), ("stream", "x"),
        ("instructions", ["x"]), ("max_output_tokens", -1), ("tools", [1]),
    ],
    "embeddings": [
        ("input", ABSENT), ("input", ""), ("input", []), ("input", [""]), ("input", [1, "a"]), ("input", [[]]),
        ("input", [-1]), ("input", [True]), ("input", 7), ("input", {}), ("stream", True),
    ],
    "generate": [
        ("contents", ABSENT), ("contents", []), ("contents", "hi"), ("contents", ["hi"]), ("contents", {}),
        ("systemInstruction", "hi"), ("generationConfig", []), ("generationConfig", {"maxOutputTokens": 0}),
        ("generationConfig", {"maxOutputTokens": "5"}), ("generationConfig", {"candidateCount": 9}), ("tools", {}),
        ("tools", ["x"]), ("tools", [{"functionDeclarations": "x"}]), ("labels", "x"),
    ],
    "embed": [
        ("content", ABSENT), ("content", "hi"), ("content", {"parts": []}), ("content", {"parts": [{"text": 7}]}),
        ("content", {"parts": [{"inlineData": {}}]}), ("taskType", "RETRIEVAL_QUERY"), ("taskType", 7), ("title", "x"),
        ("outputDimensionality", 0), ("labels", "x"),
    ],
    "batch_embed": [
        ("requests", ABSENT), ("requests", []), ("requests", ["x"]), ("requests", [{}]),
        ("requests", [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 1},
                      {"content": {"parts": [{"text": "a"}]}}]), ("labels", "x"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("route", GOOD)
@pytest.mark.parametrize("name", BAD_FOR_ALL)
def test_what_is_no_request_at_all_is_refused(route: str, name: str) -> None:
    with pytest.raises(Invalid):
        GOOD[route][0].parse(BAD_FOR_ALL[name])


@pytest.mark.parametrize(
    ("route", "field", "value"),
    [(route, *case) for route in GOOD
     for case in (*(() if route in GOOGLES else BAD_FIELDS["all"]), *BAD_FIELDS[route])],
)  # fmt: skip
def test_a_bad_field_is_refused_by_its_name(route: str, field: str, value: Any) -> None:
    dialect, body = GOOD[route]
    body = {**body, field: value} if value is not ABSENT else {name: body[name] for name in body if name != field}
    with pytest.raises(Invalid) as refused:
        dialect.parse(json.dumps(body).encode())
    named = str(refused.value.details["field"])
    assert (named.split(".")[0].split("[")[0] if route in GOOGLES else named) == field


@pytest.mark.parametrize("name", ["", " ", "x" * 201])
@pytest.mark.parametrize("dialect", [GenerateDialect, EmbedDialect])
def test_a_bad_name_in_the_address_is_refused(dialect: Any, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        if dialect is GenerateDialect:
            GenerateDialect(name, is_stream=True).parse(json.dumps(GOOD["generate"][1]).encode())
        else:
            EmbedDialect(name, is_batch=False).parse(json.dumps(GOOD["embed"][1]).encode())
    assert refused.value.details["field"] == "model"


def test_counting_needs_no_limit_of_the_output() -> None:
    said = b'{"model":"m","messages":[{"role":"user","content":"abcdef"}]}'
    assert count_tokens_answer(said, {"m": None}.get) == {"input_tokens": 3 + 4 + 2}
    with pytest.raises(Invalid):
        count_tokens_answer(b'{"model":"m"}', {"m": None}.get)


@pytest.mark.parametrize(("context", "tokens"), [(200_000, 200_000), (1_000_000, 228_012), (None, 228_012)])
def test_documents_are_counted_as_no_more_than_the_models_context(context: int | None, tokens: int) -> None:
    # 3 and 4 around it, 5 for its media type, and 76 pages.
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * 4_000_000}
    said = {"model": "m", "messages": [{"role": "user", "content": [{"type": "document", "source": source}]}]}
    assert count_tokens_answer(json.dumps(said).encode(), {"m": context}.get) == {"input_tokens": tokens}


# No address, and no arguments of a tool's call, though each looks like one.
READ_BY_NOBODY = ["http://[::1", "https://x\uff0fy.test/a.png", '{"a":"\\ud800"}', "[" * 2_000, '{"a":' * 2_000]
WORDS = st.sampled_from(
    ["", "hi", "text", "user", "assistant", "system", "tool", "function", "auto", "tool_use", "tool_result", "image",
     "image_url", "document", "base64", "url", "thinking", "message", "reasoning", "function_call", "input_text",
     "function_call_output", "json_schema", "data:image/png;base64,AA", "enabled", "adaptive", "input_image",
     *READ_BY_NOBODY]
)  # fmt: skip
NAMES = st.sampled_from(
    ["type", "text", "role", "content", "source", "id", "name", "input", "output", "function", "arguments", "call_id",
     "tool_use_id", "tool_call_id", "tool_calls", "image_url", "url", "data", "media_type", "thinking", "signature",
     "summary", "format", "schema", "json_schema", "effort", "budget_tokens", "parameters", "input_schema", "file",
     "encrypted_content", "function_call", "thinking_blocks", "citations", "user_id"]
)  # fmt: skip
GOOGLES_WORDS = st.sampled_from(
    ["", "hi", "user", "model", "function", "ANY", "AUTO", "VALIDATED", "image/png", "audio/wav", "application/pdf",
     "https://x.test", "AA==", "c3BlbmRodWIu", "c3BlbmRodWIuYQ", "OBJECT", "ARRAY", "STRING", "application/json",
     "HIGH", "BLOCK_NONE", "RETRIEVAL_QUERY", *READ_BY_NOBODY]
)  # fmt: skip
GOOGLES_NAMES = st.sampled_from(
    ["role", "parts", "text", "thought", "thoughtSignature", "inlineData", "mimeType", "data", "fileData", "fileUri",
     "functionCall", "id", "name", "args", "functionResponse", "response", "output", "error", "functionDeclarations",
     "parameters", "parametersJsonSchema", "functionCallingConfig", "mode", "allowedFunctionNames", "type",
     "properties", "items", "anyOf", "nullable", "enum", "required", "propertyOrdering", "thinkingConfig",
     "thinkingBudget", "thinkingLevel", "responseMimeType", "responseSchema", "responseJsonSchema", "topK", "logprobs",
     "stopSequences", "threshold", "google_search", "max_items", "thinking_config"]
)  # fmt: skip


def values_of(names: st.SearchStrategy[str], words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any JSON made of such names and words."""
    return st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
        max_leaves=12,
    )


VALUES, GOOGLES_VALUES = values_of(NAMES, WORDS), values_of(GOOGLES_NAMES, GOOGLES_WORDS)
FIELDS = {
    "chat": ["tools", "functions", "tool_choice", "function_call", "response_format", "reasoning_effort", "stop",
             "seed", "logprobs", "top_logprobs", "temperature", "user", "logit_bias", "modalities", "metadata"],
    "messages": ["system", "tools", "tool_choice", "thinking", "stop_sequences", "output_config", "output_format",
                 "temperature", "metadata", "top_k", "service_tier", "speed"],
    "responses": ["instructions", "tools", "tool_choice", "text", "reasoning", "include", "truncation", "user",
                  "store", "previous_response_id", "top_logprobs"],
    "embeddings": ["user", "metadata", "dimensions"],
    "generate": ["systemInstruction", "system_instruction", "generationConfig", "tools", "toolConfig", "safetySettings",
                 "labels", "cachedContent", "serviceTier"],
    "embed": ["content", "taskType", "outputDimensionality", "labels"],
    "batch_embed": ["requests", "labels"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("route", "choice"),
    [("messages", {"type": "tool", "name": []}), ("chat", {"function_call": {"name": []}}),
     ("generate", {"tools": [{"functionDeclarations": [{"name": []}]}]})],
)  # fmt: skip
def test_a_tool_choice_that_is_no_name_is_no_defect_where_tools_are_taken_away(route: str, choice: Any) -> None:
    dialect, good = GOOD[route]
    field = {"tool_choice": choice} if "type" in choice else choice
    request = dialect.parse(json.dumps({**good, **field}).encode())
    assert "hi" not in dialect.without_tools(request, frozenset(("hi",))).tools


NOVA = "amazon.nova-lite-v1:0"  # it has words for less than the others
MODELS = tuple(
    model_facts(name, dialect=dialect, has_responses=has_responses)
    for dialect, name, has_responses in (
        ("openai", "gpt-4o", False),
        ("openai", "gpt-5-pro", True),
        ("anthropic", "claude-sonnet-4-5", False),
        ("anthropic", "claude-opus-4-7", False),
        ("gemini", "gemini-3.5-flash", False),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", False),
        ("bedrock", NOVA, False),
        ("sandbox", "sandbox-small", False),
    )
)


def say(model: ModelFacts, conversation: Conversation, *, is_stream: bool) -> bool:
    """Whether the vendor has words for it, which are then written."""
    try:
        DIALECTS[model.provider.dialect].translated_request(model, "k", conversation, is_stream=is_stream)
    except NotTranslatable:
        return False
    return True


def test_every_vendor_is_among_those_that_bad_input_is_said_to() -> None:
    assert {model.provider.dialect for model in MODELS} == set(DIALECTS)


# Conversations that say all that every vendor has a word for: a picture, a file, a thought, a tool's call and its result.
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PICTURE = "data:image/png;base64,AAAA"
RICH: dict[str, dict[str, Any]] = {
    "chat": {
        "model": "m", "max_tokens": 50, "user": "ada", "reasoning_effort": "low", "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
        "messages": [
            {"role": "system", "content": "be"},
            {"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"x"}'}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            {"role": "assistant", "content": "it", "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "ok"},
            {"role": "user", "content": "go", "name": "bob"},
        ],
    },
    "messages": {
        "model": "m", "max_tokens": 3_000, "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "system": [{"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "weather", "description": "d", "input_schema": SCHEMA}], "tool_choice": {"type": "auto"},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "title": "t", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
                {"type": "document", "title": "u",
                 "source": {"type": "text", "media_type": "text/plain", "data": "abc"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "x"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": False,
                 "content": [{"type": "text", "text": "ok"}]},
            ]},
        ],
    },
    "responses": {
        "model": "m", "max_output_tokens": 50, "user": "ada", "instructions": "be", "tool_choice": "auto",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        "tools": [{"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA}],
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
                {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,YWJj"},
            ]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": '{"city":"x"}', "id": "fc_1"},
            {"type": "function_call_output", "call_id": "c", "output": "ok"},
            {"role": "user", "content": "go"},
        ],
    },
    "generate": {
        "systemInstruction": {"parts": [{"text": "be"}]}, "labels": {"user": "u"},
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "tools": [{"functionDeclarations": [{"name": "weather", "description": "d", "parameters": {
            "type": "OBJECT", "properties": {"city": {"type": "STRING", "enum": ["a"]}}, "required": ["city"],
        }}]}],
        "generationConfig": {
            "maxOutputTokens": 50, "candidateCount": 1, "thinkingConfig": {"thinkingBudget": 128},
        },
        "contents": [
            {"role": "user", "parts": [
                {"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            ]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": True},
                {"functionCall": {"name": "weather", "args": {"city": "x"}, "id": "c1"}, "thoughtSignature": "c2ln"},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "id": "c1", "response": {"output": "ok"}}},
            ]},
        ],
    },
}  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    ABSENT, None, True, 0, -1, 1.5, 10**18, "", "x", "\x00", "auto", "none", "required", "user", "assistant", "text",
    "data:image/png;base64,!", "data:,", "data:text/plain;base64,\u00e9", "application/pdf", "null", "[1]", '{"a":',
    [], {}, [[]], [{}], [None], {"": None}, ["x"], {"type": []}, {"type": "text"}, {"type": "object", "properties": []},
    {"$ref": "#"}, *({"type": "url", "url": each} for each in READ_BY_NOBODY),
    *({"fileData": {"mimeType": "", "fileUri": each}} for each in READ_BY_NOBODY), *READ_BY_NOBODY,
)  # fmt: skip


def changed(body: Any, place: tuple[Any, ...], value: Any) -> bytes:
    """The body with another value in a place, or without what stands there."""
    found, inner = copy_to_change(body, place)
    if value is ABSENT:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return json.dumps(found).encode()


@pytest.mark.parametrize("route", RICH)
def test_whatever_stands_wherever_is_said_to_every_vendor_or_is_invalid(route: str) -> None:
    dialect = GOOD[route][0]
    good = dialect.conversation(dialect.parse(json.dumps(RICH[route]).encode()))
    assert {model.name for model in MODELS if not say(model, good, is_stream=True)} == {NOVA}
    answers = itertools.cycle((False, True))
    for place, value in itertools.product(list(places(RICH[route])), ODD_VALUES):
        try:
            conversation = dialect.conversation(dialect.parse(changed(RICH[route], place, value)))
        except Invalid:
            continue
        for model in MODELS:
            say(model, conversation, is_stream=next(answers))


@pytest.mark.parametrize("route", GOOD)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_body_ever_raises_anything_but_invalid(route: str, data: st.DataObject) -> None:
    dialect, good = GOOD[route]
    names, values = (GOOGLES_NAMES, GOOGLES_VALUES) if route in GOOGLES else (NAMES, VALUES)
    body = {**good, **data.draw(st.dictionaries(st.sampled_from(FIELDS[route]), values, max_size=3))}
    turns = st.lists(st.dictionaries(names, values, max_size=6), min_size=1, max_size=4)
    if route == "generate" and data.draw(st.booleans()):
        turns = st.lists(st.fixed_dictionaries({"role": GOOGLES_WORDS, "parts": turns}), min_size=1, max_size=3)
    field = next(name for name in ("messages", "contents", "requests", "content", "input") if name in good)
    if data.draw(st.booleans()):
        body[field] = data.draw(turns)
    try:
        request = dialect.parse(json.dumps(body).encode())
        estimate_input_tokens(request.body)
        dialect.needs(request)
        dialect.text(request)
        dialect.with_max_output(dialect.without_tools(request, frozenset(("hi",))), 3)
        conversation = dialect.conversation(request)
    except Invalid:
        return
    for model, is_stream in itertools.product(MODELS, (False, True)):
        say(model, conversation, is_stream=is_stream)
