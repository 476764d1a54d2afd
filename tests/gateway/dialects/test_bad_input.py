"""Whatever is sent to a dialect, it is understood or it is Invalid: nothing else is ever raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.tokens import estimate_input_tokens
from spendhub.errors import Invalid
from spendhub.gateway.anthropic.count_tokens import count_tokens_answer
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.gemini.embed import EmbedDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT

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
    assert count_tokens_answer(b'{"model":"m","messages":[{"role":"user","content":"abcdef"}]}') == {
        "input_tokens": 3 + 4 + 2
    }
    with pytest.raises(Invalid):
        count_tokens_answer(b'{"model":"m"}')


WORDS = st.sampled_from(
    ["", "hi", "text", "user", "assistant", "system", "tool", "function", "auto", "tool_use", "tool_result", "image",
     "image_url", "document", "base64", "url", "thinking", "message", "reasoning", "function_call", "input_text",
     "function_call_output", "json_schema", "data:image/png;base64,AA", "enabled", "adaptive", "input_image"]
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
     "HIGH", "BLOCK_NONE", "RETRIEVAL_QUERY"]
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
        dialect.conversation(request)
    except Invalid:
        pass
