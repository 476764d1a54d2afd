"""Google's generateContent towards clients: asked in full, answered so that its SDK understands."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse

from routing.conversation import (
    Audio,
    Began,
    Ended,
    File,
    Image,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.tokens import estimate_input_tokens
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.sse import DONE, SseEvent, UnreadEvents
from spendhub.errors import Invalid
from spendhub.gateway.gemini.count_tokens import count_tokens_answer
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.gemini.generate_conversation import DROPPED
from spendhub.gateway.gemini.generate_parts import read_contents
from spendhub.gateway.gemini.thought_signatures import UNSIGNED, signature_to_tell
from tests.gateway.dialects.said import MONEY, REPLIES, USAGE, SaidReader, data_of, deltas_of, events_in, written

HI = {"role": "user", "parts": [{"text": "hi"}]}
DIALECT = GenerateDialect("m", is_stream=False)
STREAM = GenerateDialect("m", is_stream=True)


def asked(*contents: dict[str, Any], **fields: Any):
    """A request, parsed."""
    return DIALECT.parse(json.dumps({"contents": contents or [HI], **fields}).encode())


def config(**fields: Any):
    """The same with a generationConfig."""
    return asked(generationConfig=fields)


def test_the_model_stands_in_the_address() -> None:
    request = GenerateDialect("vendor/name:free", is_stream=True).parse(json.dumps({"contents": [HI]}).encode())
    assert (request.model, request.is_stream, request.wants_usage) == ("vendor/name:free", True, True)


def test_everything_is_read() -> None:
    said = DIALECT.conversation(
        asked(
            {
                "role": "user",
                "parts": [
                    {"text": "look"},
                    {"inlineData": {"mimeType": "image/png", "data": "-_8"}},
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/a.jpg"}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "JVBE", "displayName": "a.pdf"}},
                    {"fileData": {"fileUri": "https://x.test/a.pdf"}},
                    {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": "R29v"},
                    {"text": "let me see"},
                    {"functionCall": {"id": "t1", "name": "weather", "args": {"city": "Oslo"}},
                     "thoughtSignature": "U2ln"},
                    {"functionCall": {"name": "time"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "t1", "name": "weather", "response": {"output": "sunny"}}},
                    {"functionResponse": {"name": "time", "response": {"error": "broken"},
                     "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
                    {"text": "go on"},
                ],
            },
            systemInstruction={"parts": [{"text": "be brief"}, {"text": "be kind"}]},
            tools=[
                {"functionDeclarations": [
                    {"name": "weather", "description": "of a city", "parameters": {
                        "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}},
                    {"name": "time", "parametersJsonSchema": {"type": "object"}},
                ]},
                {"functionDeclarations": [{"name": "tide"}]},
            ],
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["time", "tide"]}},
            generationConfig={
                "stopSequences": ["END"], "maxOutputTokens": 50, "temperature": 0.5, "topP": 0.9, "topK": 40.0,
                "seed": 7, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "candidateCount": 2,
                "responseLogprobs": True, "logprobs": 3, "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object", "properties": {}}, "thinkingConfig": {"thinkingBudget": 2048},
            },
        )
    )  # fmt: skip
    assert said.system == (Text("be brief"), Text("be kind"))
    assert [message.role for message in said.messages] == ["user", "assistant", "user"]
    assert said.messages[0].blocks == (
        Text("look"),
        Image("image/png", "+/8="),  # in the alphabet that every vendor reads
        Image(url="https://x.test/a.jpg"),
        File("application/pdf", "JVBE", name="a.pdf"),
        File("application/pdf", url="https://x.test/a.pdf"),
        Audio("AAAA", "mp3"),
    )
    assert said.messages[1].blocks == (
        Thinking("hm", "gemini.R29v"),
        Text("let me see"),
        ToolCall("t1", "weather", '{"city":"Oslo"}', "gemini.U2ln"),
        ToolCall("call_2", "time", "{}"),
    )
    assert said.messages[2].blocks == (
        ToolResult("t1", (Text("sunny"),), name="weather"),
        ToolResult("call_2", (Text("broken"), Image("image/png", "AAAA")), is_error=True, name="time"),
        Text("go on"),
    )
    assert said.tools == (Tool("time", "", {"type": "object"}), Tool("tide"))
    assert said.tool_choice == ToolChoice("required")
    assert (said.stop, said.max_output_tokens, said.seed, said.choices) == (("END",), 50, 7, 2)
    assert (said.temperature, said.top_p, said.top_k) == (0.5, 0.9, 40)
    assert (said.presence_penalty, said.frequency_penalty, said.logprobs) == (0.1, 0.2, 3)
    assert said.output == OutputFormat({"type": "object", "properties": {}})
    assert said.reasoning == Reasoning(budget_tokens=2048)


def test_both_spellings_of_a_fields_name_are_read() -> None:
    parts = [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]
    declared = {"name": "look_up", "parameters": {"type": "OBJECT", "properties": {"user_id": {"type": "STRING"}}}}
    request = asked(
        {"role": "user", "parts": parts},
        system_instruction={"parts": [{"text": "be brief"}]},
        generation_config={"max_output_tokens": 9, "thinking_config": {"include_thoughts": True}},
        tools=[{"function_declarations": [declared]}],
        tool_config={"function_calling_config": {"mode": "NONE"}},
    )
    assert (request.max_output_tokens, request.tools) == (9, ("look_up",))
    said = DIALECT.conversation(request)
    assert said.messages[0].blocks == (Image("image/png", "AAAA"),)
    assert (said.system, said.reasoning) == ((Text("be brief"),), Reasoning(is_shown=True))
    # What the client has named itself stays as it is, and so does what we do not know.
    assert said.tools[0].parameters["properties"] == {"user_id": {"type": "string"}}
    unknown = {"brand_new": {"my_key": 1}, "generation_config": {}}
    assert asked(**unknown).body == {"contents": [HI], "brand_new": {"my_key": 1}, "generationConfig": {}}


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({}, None),
        ({"includeThoughts": False}, None),
        ({"includeThoughts": True}, Reasoning(is_shown=True)),
        ({"thinkingBudget": -1}, Reasoning()),
        ({"thinkingBudget": 0}, Reasoning(effort="none")),
        ({"thinkingBudget": 500, "includeThoughts": True}, Reasoning(budget_tokens=500, is_shown=True)),
        ({"thinkingLevel": "HIGH"}, Reasoning(effort="high")),
        ({"thinkingLevel": "low", "includeThoughts": True}, Reasoning(effort="low", is_shown=True)),
    ],
)
def test_thinking_is_read_in_each_of_its_forms(thinking: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert DIALECT.conversation(config(thinkingConfig=thinking)).reasoning == reasoning


@pytest.mark.parametrize(
    ("choosing", "expected", "left"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto"), ["a", "b"]),
        ({"mode": "VALIDATED"}, ToolChoice("auto"), ["a", "b"]),
        ({"mode": "NONE"}, ToolChoice("none"), ["a", "b"]),
        ({"mode": "ANY"}, ToolChoice("required"), ["a", "b"]),
        ({"mode": "ANY", "allowedFunctionNames": ["b"]}, ToolChoice("named", "b"), ["a", "b"]),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["b"]}, ToolChoice("auto"), ["b"]),
        ({"mode": "MODE_UNSPECIFIED"}, None, ["a", "b"]),
    ],
)
def test_a_choice_of_tools_is_read(choosing: dict[str, Any], expected: ToolChoice | None, left: list[str]) -> None:
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    said = DIALECT.conversation(asked(tools=tools, toolConfig={"functionCallingConfig": choosing}))
    assert said.tool_choice == expected
    assert [tool.name for tool in said.tools] == left


def test_what_was_streamed_is_one_turn_again() -> None:
    def model(**part: Any) -> dict[str, Any]:
        return {"role": "model", "parts": [part]}

    seal = signature_to_tell(Thinking(signature="sig"))
    pieces = [
        model(text="h", thought=True), model(text="m", thought=True), model(text="", thought=True, thoughtSignature=seal),
        model(text="one"), model(text=" two"), model(functionCall={"id": "c", "name": "a"}, thoughtSignature=UNSIGNED),
        model(text=""),
    ]  # fmt: skip
    (turn,) = read_contents(pieces)
    assert turn.role == "assistant"
    assert turn.blocks == (Thinking("hm", "sig"), Text("one two"), ToolCall("c", "a", "{}"))


def test_calls_without_ids_are_answered_in_the_order_of_their_making() -> None:
    calls = {"role": "model", "parts": [{"functionCall": {"name": "a"}}, {"functionCall": {"name": "b"}},
                                        {"functionCall": {"name": "a"}}]}  # fmt: skip
    answers = {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"n": n}}}
                                         for n, name in enumerate("aba")]}  # fmt: skip
    _, turn = read_contents([calls, answers])
    assert [(each.call_id, each.content) for each in turn.blocks if isinstance(each, ToolResult)] == [
        ("call_1", (Text('{"n":0}'),)), ("call_2", (Text('{"n":1}'),)), ("call_3", (Text('{"n":2}'),)),
    ]  # fmt: skip


def test_a_schema_of_googles_own_becomes_a_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "propertyOrdering": ["b", "a"],
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "INTEGER", "format": "int32", "nullable": True},
            "b": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x"], "format": "enum"}},
        },
    }
    output = DIALECT.conversation(config(responseMimeType="application/json", responseSchema=schema)).output
    assert output is not None and output.is_strict
    assert output.schema == {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "b": {"type": "array", "items": {"type": "string", "enum": ["x"]}},
            "a": {"type": ["integer", "null"]},
        },
        "additionalProperties": False,
    }
    assert output.schema is not None and list(output.schema["properties"]) == ["b", "a"]


def test_a_schema_that_cannot_be_strict_is_said_as_it_is() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "minLength": "3"}}}
    output = DIALECT.conversation(config(responseMimeType="application/json", responseSchema=schema)).output
    expected = {"type": "object", "properties": {"a": {"type": "string", "minLength": 3}}}
    assert output == OutputFormat(expected)


def part(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [fields]}]}


ONLY_GOOGLE: dict[str, dict[str, Any]] = {
    "cachedContent": {"cachedContent": "cachedContents/x"},
    "serviceTier": {"serviceTier": "flex"},
    "no_such_field": {"noSuchField": 1},
    "tools[0].googleSearch": {"tools": [{"googleSearch": {}}]},
    "tools[0].functionDeclarations[0].behavior": {
        "tools": [{"functionDeclarations": [{"name": "a", "behavior": "NON_BLOCKING"}]}]
    },
    "toolConfig.retrievalConfig": {"toolConfig": {"retrievalConfig": {"languageCode": "de"}}},
    "safetySettings[0].threshold 'BLOCK_LOW_AND_ABOVE'": {
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_LOW_AND_ABOVE"}]
    },
    "generationConfig.responseModalities": {"generationConfig": {"responseModalities": ["IMAGE"]}},
    "generationConfig.speechConfig": {"generationConfig": {"speechConfig": {}}},
    "generationConfig.mediaResolution": {"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}},
    "generationConfig.responseMimeType 'text/x.enum'": {"generationConfig": {"responseMimeType": "text/x.enum"}},
    "contents[0].parts[0].executableCode": part(executableCode={"code": "1"}),
    "contents[0].parts[0].videoMetadata": part(text="x", videoMetadata={"fps": 1}),
    "contents[0].parts[0].functionCall": part(functionCall={"name": "a"}),
    "contents[0].parts[0].inlineData.mimeType 'video/mp4'": part(inlineData={"mimeType": "video/mp4", "data": "AA"}),
    "contents[0].parts[0].fileData.fileUri": part(
        fileData={"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}
    ),
    "contents[0].parts[0].functionResponse without the call it answers": part(
        functionResponse={"name": "a", "response": {}}
    ),
}


@pytest.mark.parametrize("field", ONLY_GOOGLE)
def test_what_google_alone_understands_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        DIALECT.conversation(asked(**{"contents": [HI], **ONLY_GOOGLE[field]}))
    assert refused.value.details["field"].replace("noSuchField", "no_such_field") == field


def test_what_changes_no_answer_is_dropped() -> None:
    lax = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    dropped = asked(labels={"task": "x"}, store=True, safetySettings=lax, serviceTier="standard",
                    generationConfig={"responseModalities": ["TEXT"], "responseMimeType": "text/plain"})  # fmt: skip
    assert {"labels", "store"} == DROPPED
    assert DIALECT.conversation(dropped) == DIALECT.conversation(asked())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"contents": []}, "contents"),
        ({"contents": "hi"}, "contents"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": "hi"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": "a", "inlineData": {}}]}]}, "contents[0].parts[0]"),
        ({"generationConfig": {"candidateCount": 9}}, "generationConfig.candidateCount"),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "EXTREME"}}},
         "generationConfig.thinkingConfig.thinkingLevel"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}}, "toolConfig.functionCallingConfig.mode"),
        ({"labels": "task"}, "labels"),
    ],
)  # fmt: skip
def test_what_nobody_could_understand_is_invalid(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        DIALECT.conversation(asked(**{"contents": [HI], **fields}))
    assert refused.value.details["field"] == field


def test_needs_are_read_from_the_request() -> None:
    assert DIALECT.needs(config(thinkingConfig={"thinkingBudget": 0})) == frozenset()
    parts = [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": ""}},
             {"fileData": {"mimeType": "audio/wav"}}, {"inlineData": {"mimeType": "application/pdf"}}]  # fmt: skip
    body = {
        "contents": [{"parts": parts}],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "tools": [{"functionDeclarations": [{"name": "x"}]}, {"googleSearch": {}}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": -1}, "responseMimeType": "application/json"},
        "labels": {"task": "t"},
    }
    request = STREAM.parse(json.dumps(body).encode())
    assert STREAM.needs(request) == {"streaming", "vision", "audio", "files", "tools", "reasoning", "json"}
    assert STREAM.text(request) == "be brief\nhi"
    assert (request.tools, request.metadata) == (("x", "googleSearch"), {"task": "t"})


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("model", {"functionCall": {"name": "weather", "args": {}}}),
        ("user", {"functionResponse": {"name": "weather", "response": {"output": "rain"}}}),
    ],
)
def test_a_tool_that_was_called_before_needs_a_model_that_knows_tools(role: str, part: dict[str, Any]) -> None:
    assert DIALECT.needs(asked(HI, {"role": role, "parts": [part]}, HI)) == {"tools"}


@pytest.mark.parametrize(
    ("media_type", "need"), [("image/png", "vision"), ("audio/wav", "audio"), ("application/pdf", "files")]
)
def test_what_a_function_shows_needs_a_model_that_can_see_it(media_type: str, need: str) -> None:
    shown = {"inlineData": {"mimeType": media_type, "data": ""}}
    answer = {"name": "look", "response": {}, "parts": [shown]}
    assert DIALECT.needs(asked({"role": "user", "parts": [{"functionResponse": answer}]})) == {"tools", need}


def test_a_spoken_answer_needs_a_model_that_knows_sounds() -> None:
    assert DIALECT.needs(config(responseModalities=["AUDIO"])) == {"audio"}
    assert DIALECT.needs(config(responseModalities=["Text", "Audio"])) == {"audio"}
    snakes = {"contents": [HI], "generation_config": {"response_modalities": ["audio"]}}
    assert DIALECT.needs(DIALECT.parse(json.dumps(snakes).encode())) == {"audio"}
    assert DIALECT.needs(config(responseModalities=["TEXT"])) == frozenset()
    assert DIALECT.needs(config(responseModalities="AUDIO")) == frozenset()  # no list: its vendor says so


def test_tools_can_be_taken_away() -> None:
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}, {"googleSearch": {}}]
    choice = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["b"]}}
    request = asked(tools=tools, toolConfig=choice)
    fewer = DIALECT.without_tools(request, frozenset(("b", "googleSearch")))
    assert fewer.tools == ("a",)
    assert fewer.body == {"contents": [HI], "tools": [{"functionDeclarations": [{"name": "a"}]}]}
    none = DIALECT.without_tools(request, frozenset(("a", "b", "googleSearch")))
    assert none.body == {"contents": [HI]}
    assert request.body["tools"] == tools and request.body["toolConfig"] == choice


def test_output_is_limited_in_equal_shares() -> None:
    request = config(candidateCount=3, maxOutputTokens=100, temperature=0.5)
    assert (request.choices, request.max_output_tokens) == (3, 300)
    less = DIALECT.with_max_output(request, 30)
    assert less.body["generationConfig"] == {"candidateCount": 3, "maxOutputTokens": 10, "temperature": 0.5}
    assert less.max_output_tokens == 30 and request.body["generationConfig"]["maxOutputTokens"] == 100
    assert DIALECT.with_max_output(asked(), 7).body["generationConfig"] == {"maxOutputTokens": 7}


def test_input_is_estimated_part_by_part() -> None:
    assert estimate_input_tokens(asked({"parts": [{"text": "abcdef"}]}).body) == 3 + 4 + 2
    picture = {"inlineData": {"mimeType": "image/png", "data": "A" * 90_000}}
    assert estimate_input_tokens(asked({"parts": [picture]}).body) == 3 + 4 + 1500
    with_system = asked({"parts": [{"text": "abc"}]}, systemInstruction={"parts": [{"text": "abc"}]})
    assert estimate_input_tokens(with_system.body) == 3 + 2 * (4 + 1)


def test_tokens_are_counted_of_contents_and_of_whole_requests() -> None:
    contents = {"contents": [{"parts": [{"text": "abcdef"}]}]}
    whole = {"generateContentRequest": contents}
    assert count_tokens_answer(json.dumps(contents).encode(), None) == {"totalTokens": 9}
    assert count_tokens_answer(json.dumps(whole).encode(), None) == {"totalTokens": 9}
    with pytest.raises(Invalid):
        count_tokens_answer(b"{}", None)


@pytest.mark.parametrize(("context", "tokens"), [(200_000, 200_000), (1_000_000, 228_012), (None, 228_012)])
def test_documents_are_counted_as_no_more_than_the_models_context(context: int | None, tokens: int) -> None:
    # 3 and 4 around it, 5 for its media type, and 76 pages.
    media = {"inlineData": {"mimeType": "application/pdf", "data": "A" * 4_000_000}}
    said = {"contents": [{"parts": [media]}]}
    assert count_tokens_answer(json.dumps(said).encode(), context) == {"totalTokens": tokens}


def as_told(reply: Any) -> list[Any]:
    """Google has no word for a refusal but text, nor for hidden thoughts but empty ones. Its own vendor would be told
    that another model signed."""
    found: list[Any] = []
    for each in reply.blocks:
        if isinstance(each, Refusal):
            found.append(Text(each.text))
        elif isinstance(each, Thinking) and each.signature:
            found.append(Thinking(each.text, f"gemini.{signature_to_tell(each)}"))
        elif isinstance(each, ToolCall) and not any(isinstance(other, ToolCall) for other in found):
            found.append(replace(each, signature=f"gemini.{UNSIGNED}"))
        else:
            found.append(each)
    return found


def normal(block: Any) -> Any:
    return replace(block, arguments=json.dumps(json.loads(block.arguments))) if isinstance(block, ToolCall) else block


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_answer_says_the_same(name: str) -> None:
    reply = REPLIES[name]
    body = DIALECT.whole(reply, asked(), "m")
    told = GenerateContentResponse.model_validate_json(body)
    assert (told.response_id, told.model_version) == ("id-1", "m")
    assert told.usage_metadata is not None
    assert (told.usage_metadata.prompt_token_count, told.usage_metadata.cached_content_token_count) == (100, 20)
    assert (told.usage_metadata.candidates_token_count, told.usage_metadata.thoughts_token_count) == (25, 15)
    reader = ContentsReader()
    reader.read_body(body)
    again = reader.reply()
    assert [normal(block) for block in again.blocks] == [normal(block) for block in as_told(reply)]
    assert again.finish == reply.finish
    assert again.usage == replace(USAGE, input_tokens=80, cache_write_tokens=0)  # which Google does not tell apart


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_is_chunks_that_say_the_same(name: str) -> None:
    reply = REPLIES[name]
    deltas = deltas_of(reply)
    chunks = data_of(written(STREAM.writing(asked(), SaidReader(deltas), "m"), len(deltas)))
    for chunk in chunks:
        # The SDK leaves out what it does not know before it looks.
        told = GenerateContentResponse.model_validate({name: chunk[name] for name in chunk if name != "spendhub"})
        assert told.candidates and told.candidates[0].content and told.candidates[0].content.parts
    assert [("usageMetadata" in chunk, "spendhub" in chunk) for chunk in chunks[:-1]] == [(False, False)] * (
        len(chunks) - 1
    )
    assert chunks[-1]["spendhub"] == MONEY and chunks[-1]["usageMetadata"]["totalTokenCount"] == 140
    # As the SDK's chats keep it and send it back.
    turns = read_contents([chunk["candidates"][0]["content"] for chunk in chunks])
    blocks = [normal(block) for turn in turns for block in turn.blocks]
    assert blocks == [
        normal(Text(block.text) if isinstance(block, Refusal) else block) for block in reply.blocks
    ]  # fmt: skip
    reasons = [chunk["candidates"][0].get("finishReason") for chunk in chunks]
    assert reasons[:-1] == [None] * (len(chunks) - 1)
    assert reasons[-1] == {"length": "MAX_TOKENS", "content_filter": "SAFETY"}.get(reply.finish, "STOP")


def test_calls_told_at_once_are_told_whole() -> None:
    deltas = [
        Began("id", "m"),
        ToolCallBegan(0, "c0", "a"),
        ToolCallBegan(1, "c1", "b"),
        ToolCallDelta(1, '{"x":'),
        ToolCallDelta(0, '{"y":1}'),
        ToolCallDelta(1, "2}"),
        Ended("tool_calls"),
    ]
    first, _ = data_of(written(STREAM.writing(asked(), SaidReader(deltas), "m"), len(deltas)))
    assert first["candidates"][0]["content"]["parts"] == [
        {"functionCall": {"id": "c0", "name": "a", "args": {"y": 1}}, "thoughtSignature": UNSIGNED},
        {"functionCall": {"id": "c1", "name": "b", "args": {"x": 2}}},
    ]


def test_a_stream_that_said_nothing_still_ends() -> None:
    (only,) = data_of(written(STREAM.writing(asked(), SaidReader([]), "m"), 0))
    assert (only["responseId"], only["candidates"][0]["finishReason"]) == ("id-1", "STOP")


def native(text: str, reason: str | None = None, index: int = 0, **facts: Any) -> SseEvent:
    candidate = {"content": {"parts": [{"text": text}]}, "index": index} | ({"finishReason": reason} if reason else {})
    return SseEvent(json.dumps({"candidates": [candidate], "vendorsOwn": 1, **facts}).encode())


def passed(out: Any, *events: SseEvent) -> list[SseEvent]:
    return events_in(out.pass_on([(each, None) for each in events]))


# What its reader says once the body has ended.
BODY_ENDED = SseEvent(DONE)


def test_a_passing_stream_is_held_back_at_its_end_only() -> None:
    out = STREAM.passing(asked())
    words = [native("a", usageMetadata={"promptTokenCount": 1}), native('say "finishReason"')]
    last = native("", "STOP", usageMetadata={"promptTokenCount": 2})
    assert passed(out, *words) == words
    assert passed(out, last) == [] and not out.is_done
    assert passed(out, BODY_ENDED) == [] and out.is_done
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told == {**json.loads(last.data), "spendhub": MONEY}


def test_a_passing_stream_of_two_candidates_ends_with_the_second() -> None:
    out = STREAM.passing(config(candidateCount=2))
    first, second = native("", "STOP"), native("", "MAX_TOKENS", index=1)
    assert passed(out, first) == []
    assert passed(out, second) == [first] and not out.is_done
    assert passed(out, BODY_ENDED) == [] and out.is_done
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told["candidates"][0]["index"] == 1
    assert told["usageMetadata"] == {
        "promptTokenCount": 100, "candidatesTokenCount": 25, "totalTokenCount": 140, "cachedContentTokenCount": 20,
        "thoughtsTokenCount": 15,
    }  # fmt: skip


def test_a_passing_stream_goes_on_after_its_word_for_why_it_ends() -> None:
    out = STREAM.passing(asked())
    first, second, third = (native(text, "STOP", usageMetadata={"promptTokenCount": 1}) for text in "abc")
    assert passed(out, first, second) == [first] and not out.is_done
    assert passed(out, third) == [second]
    assert passed(out, BODY_ENDED) == [] and out.is_done
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told == {**json.loads(third.data), "spendhub": MONEY}


def test_words_after_an_empty_end_are_not_kept_waiting_for_the_next_ones() -> None:
    out = STREAM.passing(asked())
    empty, word, more = native("", "STOP"), native("a"), native("b")
    assert passed(out, empty) == []
    assert passed(out, word) == [empty, word]
    assert passed(out, more) == [more]


def test_the_sources_of_a_search_come_after_the_end_with_the_money_and_the_usage() -> None:
    out = STREAM.passing(asked())
    last = native("a", "STOP", usageMetadata={"promptTokenCount": 1, "promptTokensDetails": []})
    sources = SseEvent(b'{"candidates":[{"groundingMetadata":{"webSearchQueries":["q"]},"index":0}]}')
    assert passed(out, last, sources, BODY_ENDED) == [last]
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told == {
        "usageMetadata": {"promptTokenCount": 1, "promptTokensDetails": []},
        **json.loads(sources.data),
        "spendhub": MONEY,
    }


def test_comments_of_a_passing_stream_go_on_and_let_nothing_go_that_was_held_back() -> None:
    out = STREAM.passing(asked())
    last = native("a", "STOP", usageMetadata={"promptTokenCount": 1})
    assert passed(out, last) == []
    assert out.pass_on(UnreadEvents(b": queued\n\n")) == b": queued\n\n"
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told == {**json.loads(last.data), "spendhub": MONEY}


def test_what_is_no_json_in_a_passing_stream_goes_on_and_lets_nothing_go_that_was_held_back() -> None:
    out = STREAM.passing(asked())
    last = native("a", "STOP", usageMetadata={"promptTokenCount": 1})
    broken = [SseEvent(b"{not json"), SseEvent(b'{"finishReason')]
    assert passed(out, *broken, last, *broken, BODY_ENDED) == [*broken, *broken] and out.is_done
    (told,) = data_of(events_in(out.last_events(USAGE, MONEY, "m", "id")))
    assert told == {**json.loads(last.data), "spendhub": MONEY}


def test_an_error_after_a_word_for_why_it_ends_comes_behind_what_was_held_back() -> None:
    out = STREAM.passing(asked())
    word = native("a", "STOP")
    assert passed(out, word) == []
    told, error = events_in(out.error_event(UpstreamError("broke off"), MONEY))
    assert told == word and json.loads(error.data)["error"]["message"] == "broke off"


def test_a_question_that_is_blocked_is_held_back_to_the_end_of_its_stream() -> None:
    out = STREAM.passing(asked())
    assert passed(out, SseEvent(b'{"promptFeedback": {"blockReason": "OTHER"}}')) == [] and not out.is_done
    assert passed(out, BODY_ENDED) == [] and out.is_done
