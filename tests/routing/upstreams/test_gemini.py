"""Google's generateContent: what is sent, and what its answers say, in payloads written after its API reference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import (
    Audio,
    Began,
    Conversation,
    Delta,
    Ended,
    File,
    Finish,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.base import EMBEDDINGS, GENERATE
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.gemini.dialect import GeminiDialect
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.sse import DONE
from tests.routing.facts import model_facts

BASE = "https://generativelanguage.googleapis.com/v1beta"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("weather", "The weather.", {**SCHEMA, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def body_of(*messages: Message, name: str = "gemini-3.5-flash", **fields: Any) -> dict[str, Any]:
    model = model_facts(name, dialect="gemini", base_url=BASE)
    asked = Conversation(messages or (Message("user", (Text("hi"),)),), **fields)
    found: dict[str, Any] = json.loads(GeminiDialect().translated_request(model, "k", asked, is_stream=False).body)
    return found


def said(*blocks: Any, role: Any = "user", name: str = "gemini-3.5-flash") -> Any:
    """The parts that one message becomes."""
    return body_of(Message(role, blocks), name=name)["contents"][0]["parts"]


def test_where_it_is_asked_and_how() -> None:
    model = model_facts("g", dialect="gemini", base_url=BASE + "/", upstream_name="models/gemini-2.5-pro")
    asked = Conversation((Message("user", (Text("hi"),)), Message("assistant", (Text("ho"),))))
    whole = GeminiDialect().translated_request(model, "AIza", asked, is_stream=False)
    assert whole.url == f"{BASE}/models/gemini-2.5-pro:generateContent"
    assert whole.headers["x-goog-api-key"] == "AIza"
    assert json.loads(whole.body) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "ho"}]}]
    }
    streamed = GeminiDialect().translated_request(model, "", asked, is_stream=True)
    assert streamed.url == f"{BASE}/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    assert streamed.body == whole.body and "x-goog-api-key" not in streamed.headers


def test_embeddings_pass_to_its_openai_address() -> None:
    model = model_facts("gemini-embedding-001", dialect="gemini", base_url=BASE)
    body = {"model": "embed", "input": ["a"], "dimensions": 4, "spendhub": 1}
    request = GeminiDialect().native_request(model, "AIza", EMBEDDINGS, body, is_stream=False)
    assert request.url == f"{BASE}/openai/embeddings"
    assert request.headers["authorization"] == "Bearer AIza"
    assert json.loads(request.body) == {"model": "gemini-embedding-001", "input": ["a"], "dimensions": 4}
    assert isinstance(GeminiDialect().reader(EMBEDDINGS), EmbeddingsReader)


def test_a_clients_own_body_passes_untouched() -> None:
    model = model_facts("gem", dialect="gemini", base_url=BASE, upstream_name="gemini-3.5-flash")
    body = {"contents": [{"parts": [{"text": "hi"}]}], "brandNewField": {"deep": [1]}}
    asked = {**body, "model": "models/smart", "spendhub": {"max_cost": 1}}
    whole = GeminiDialect().native_request(model, "AIza", GENERATE, asked, is_stream=False)
    assert whole.url == f"{BASE}/models/gemini-3.5-flash:generateContent"
    assert whole.headers["x-goog-api-key"] == "AIza"
    assert json.loads(whole.body) == body
    streamed = GeminiDialect().native_request(model, "", GENERATE, asked, is_stream=True)
    assert streamed.url == f"{BASE}/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
    assert streamed.body == whole.body
    assert isinstance(GeminiDialect().reader(GENERATE), ContentsReader)


def test_what_all_candidates_say_counts_where_the_vendor_does_not() -> None:
    both = [{"index": n, "content": {"parts": [{"text": "one two"}]}} for n in range(2)]
    reader = ContentsReader()
    reader.read_event(json.dumps({"candidates": both}).encode())
    assert reader.produced_tokens() == 4


def test_every_kind_of_block_has_its_part() -> None:
    assert said(Text("hi", is_cache_point=True), Text(""), Image("image/png", "AAAA"), Audio("UklG", "wav")) == [
        {"text": "hi"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
    ]
    assert said(
        Image(url="https://x.test/a.webp?x=1"), Image(url="https://x.test/a"), File(url="https://x.test/a.pdf")
    ) == [
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.test/a.webp?x=1"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/a"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.test/a.pdf"}},
    ]
    assert said(Image(url="http://[::1"), File(url="https://x[/a.pdf")) == [  # no addresses: that is for Google to say
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "http://[::1"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x[/a.pdf"}},
    ]
    assert said(File("application/pdf", "JVBE", name="a.pdf"), File(text="plain", name="b.txt"), File(text="bare")) == [
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        {"text": "b.txt\nplain"},
        {"text": "bare"},
    ]
    assert said(Refusal("no"), Thinking("Anthropic's", "sig"), Thinking("unsigned"), role="assistant") == [
        {"text": "no"}
    ]


def test_signatures_go_back_to_the_part_they_came_with() -> None:
    blocks = (
        Thinking("hm", "gemini.AAA"),
        Text("So:"),
        Thinking(signature="gemini.BBB"),
        ToolCall("1", "weather", '{"city": "Köln"}', "gemini.CCC"),
        ToolCall("2", "weather", "{}"),
    )
    assert said(*blocks, role="assistant") == [
        {"text": "hm", "thought": True, "thoughtSignature": "AAA"},
        {"text": "So:"},
        {"text": "", "thoughtSignature": "BBB"},
        {"functionCall": {"id": "1", "name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "CCC"},
        {"functionCall": {"id": "2", "name": "weather", "args": {}}},
    ]


def test_calls_of_another_vendors_model_say_that_they_have_no_signature() -> None:
    blocks = (ToolCall("1", "weather", "{}"), ToolCall("2", "weather", "{}", "toolu_sig"))
    first, second = said(*blocks, role="assistant")
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second
    assert "thoughtSignature" not in said(*blocks, role="assistant", name="gemini-2.5-flash")[0]


def test_results_answer_by_name_all_in_one_turn() -> None:
    calls = Message("assistant", (ToolCall("a", "weather", "{}"), ToolCall("b", "clock", "{}")))
    results = (
        Message("user", (ToolResult("a", (Text("22"), Image("image/png", "AAAA"))),)),
        Message("user", (Text("and?"), ToolResult("b", (Text("broken"),), is_error=True))),
    )
    contents = body_of(Message("user", (Text("?"),)), calls, *results)["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "weather", "response": {"output": "22"}}},
        {"functionResponse": {"id": "b", "name": "clock", "response": {"error": "broken"}}},
        {"text": "Attached to the result of tool call a:"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"text": "and?"},
    ]
    with pytest.raises(NotTranslatable, match="a tool's result"):
        said(ToolResult("unheard-of", (Text("22"),)))
    assert said(ToolResult("x", (Text("22"),), name="weather"))[0]["functionResponse"]["name"] == "weather"


def test_pictures_of_several_results_say_which_call_they_belong_to() -> None:
    calls = Message("assistant", tuple(ToolCall(id, "look", "{}") for id in ("a", "b:1", "c")))
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    results = (
        ToolResult("a", (Image("image/png", "AAAA"), Text("one"), Image("image/png", "AAAA"))),
        ToolResult("b:1", (File("application/pdf", "JVBE"),)),
        ToolResult("c", (Text("none"),)),
    )
    parts = body_of(Message("user", (Text("?"),)), calls, Message("user", results))["contents"][2]["parts"]
    assert [part["functionResponse"]["id"] for part in parts[:3]] == ["a", "b_1", "c"]
    assert parts[3:] == [
        {"text": "Attached to the result of tool call a:"},
        picture,
        picture,
        {"text": "Attached to the result of tool call b_1:"},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
    ]


def test_a_turn_in_which_nothing_is_said_leaves_no_empty_one() -> None:
    user, silent = Message("user", (Text("a"),)), Message("assistant", (Text(""), Thinking("another vendor's")))
    blank = {"role": "user", "parts": [{"text": "(empty)"}]}
    assert body_of(Message("user", (Text(""),)))["contents"] == [blank]
    assert body_of(user, Message("assistant", (Text("b"),)), Message("user", (Text(""),)))["contents"][2] == blank
    assert body_of(user, silent, user)["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "a"}]}]


def test_a_system_prompt_alone_is_what_the_user_says() -> None:
    model = model_facts("gemini-3.5-flash", dialect="gemini", base_url=BASE)
    asked = Conversation((), (Text("Write a haiku."),))
    body = json.loads(GeminiDialect().translated_request(model, "k", asked, is_stream=False).body)
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Write a haiku."}]}]}


def test_a_system_prompt_without_a_word_is_left_out() -> None:
    assert "systemInstruction" not in body_of(system=(Text(""),))


def test_everything_else_has_its_place() -> None:
    body = body_of(
        system=(Text("Be brief."), Text("")),
        tools=(WEATHER, Tool("now")),
        tool_choice=ToolChoice("named", "weather"),
        is_parallel=True,
        max_output_tokens=99,
        temperature=1.5,
        top_p=0.9,
        top_k=7,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=("END",),
        seed=3,
        output=OutputFormat(SCHEMA),
        reasoning=Reasoning("high", is_shown=True),
        user="ada",
    )
    del body["contents"]
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "description": "The weather.", "parametersJsonSchema": SCHEMA},
                    {"name": "now"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "generationConfig": {
            "maxOutputTokens": 99,
            "temperature": 1.5,
            "topP": 0.9,
            "topK": 7,
            "frequencyPenalty": 0.1,
            "presencePenalty": -0.1,
            "stopSequences": ["END"],
            "seed": 3,
            "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        },
    }
    assert body_of(output=OutputFormat())["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(("choosing", "mode"), [("auto", "AUTO"), ("none", "NONE"), ("required", "ANY")])
def test_tools_are_chosen(choosing: Any, mode: str) -> None:
    body = body_of(tools=(WEATHER,), tool_choice=ToolChoice(choosing))
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": mode}}
    assert "toolConfig" not in body_of(tool_choice=ToolChoice(choosing))


@pytest.mark.parametrize(
    ("name", "reasoning", "config"),
    [
        ("gemini-2.5-flash", Reasoning("none"), {"thinkingBudget": 0}),
        ("gemini-2.5-pro", Reasoning("none"), {"thinkingBudget": 128}),
        ("gemini-2.5-pro", Reasoning("medium"), {"thinkingBudget": 8_192}),
        (
            "gemini-2.5-flash",
            Reasoning(budget_tokens=500, is_shown=True),
            {"includeThoughts": True, "thinkingBudget": 500},
        ),
        ("gemini-2.5-flash", Reasoning(), {"thinkingBudget": -1}),
        ("gemini-3.1-pro-preview", Reasoning("minimal"), {"thinkingLevel": "LOW"}),
        ("gemini-3.5-flash", Reasoning("none"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-flash-latest", Reasoning("medium"), {"thinkingLevel": "MEDIUM"}),
        ("gemini-4-argon", Reasoning("xhigh"), {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", Reasoning(budget_tokens=20_000), {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", Reasoning(is_shown=True), {"includeThoughts": True}),
        ("gemini-3.5-flash", Reasoning(), None),
    ],
)
def test_thinking_is_asked_for_as_each_generation_takes_it(name: str, reasoning: Reasoning, config: Any) -> None:
    assert body_of(name=name, reasoning=reasoning).get("generationConfig", {}).get("thinkingConfig") == config


# Answers, after the API reference's own examples.


def chunk(*parts: dict[str, Any], finish: str | None = None, usage: dict[str, int] | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    event: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": "gemini-3.5-flash",
        "responseId": "mAitaL-k",
        **more,
    }
    if usage is not None:
        event["usageMetadata"] = usage
    return json.dumps(event, ensure_ascii=False).encode()


@pytest.mark.parametrize("output", [OutputFormat(), OutputFormat(SCHEMA)])
def test_json_beside_tools_is_asked_of_gemini_3_and_later_alone(output: OutputFormat) -> None:
    for name in ("gemini-2.5-flash", "models/gemini-2.0-flash", "gemini-1.5-pro"):
        with pytest.raises(NotTranslatable) as refused:
            body_of(name=name, tools=(WEATHER,), output=output)
        assert refused.value.field == "output"
        assert body_of(name=name, output=output)["generationConfig"]["responseMimeType"] == "application/json"
    for name in ("gemini-3-pro", "gemini-3.5-flash", "gemini-flash-latest"):
        assert "tools" in body_of(name=name, tools=(WEATHER,), output=output)


STREAM = (
    chunk({"text": "**Looking**", "thought": True}, usage={"promptTokenCount": 100, "totalTokenCount": 180, "thoughtsTokenCount": 80}),
    chunk({"text": "It is "}, usage={"promptTokenCount": 100, "candidatesTokenCount": 2, "totalTokenCount": 182, "thoughtsTokenCount": 80}),
    chunk({"text": "warm.", "thoughtSignature": "Sig1"}),
    chunk({"functionCall": {"name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "Sig2"}, {"functionCall": {"id": "own", "name": "now"}}),
    chunk({"text": ""}, finish="STOP", usage={"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 20, "thoughtsTokenCount": 80, "toolUsePromptTokenCount": 7, "totalTokenCount": 207}),
)  # fmt: skip


def read(reader: ContentsReader, *events: bytes) -> list[Delta]:
    """What a stream of these events says, to the end of its body."""
    found = read_on(reader, *events)
    return found + read_on(reader, *filter(None, [reader.missing_end()]))


def read_on(reader: ContentsReader, *events: bytes) -> list[Delta]:
    found: list[Delta] = []
    for event in events:
        reader.read_event(event)
        found += reader.deltas(event)
    return found


def test_a_stream_with_thoughts_words_and_tools() -> None:
    reader = ContentsReader()
    assert read(reader, *STREAM) == [
        Began("mAitaL-k", "gemini-3.5-flash"),
        ThinkingDelta("**Looking**"),
        TextDelta("It is "),
        TextDelta("warm."),
        ThinkingDelta(signature="gemini.Sig1"),
        ToolCallBegan(0, "call_mAitaL-k_0", "weather", "gemini.Sig2"),
        ToolCallDelta(0, '{"city":"Köln"}'),
        ToolCallBegan(1, "own", "now"),
        ToolCallDelta(1, "{}"),
        Ended("tool_calls"),
    ]
    assert reader.is_complete and (reader.finish_reason, reader.response_id) == ("STOP", "mAitaL-k")
    assert reader.usage == TokenUsage(input_tokens=47, cache_read_tokens=60, output_tokens=100, reasoning_tokens=80)


def test_a_stream_that_breaks_off_leaves_what_the_vendor_had_counted() -> None:
    reader = ContentsReader()
    read(reader, *STREAM[:3])
    assert reader.usage is None and not reader.is_complete
    assert reader.usage_so_far == TokenUsage(input_tokens=100, output_tokens=82, reasoning_tokens=80)
    assert reader.produced_tokens() == 82  # thoughts that nobody has seen are in it


def test_the_same_answer_whole_has_the_same_ids() -> None:
    parts = [part for event in STREAM for part in json.loads(event)["candidates"][0]["content"]["parts"]]
    reader = ContentsReader()
    reader.read_body(chunk(*parts, finish="STOP", usage={"promptTokenCount": 5, "totalTokenCount": 9}))
    reply = reader.reply()
    assert reply == reader.reply()
    assert reply.blocks == (
        Thinking("**Looking**"),
        Text("It is "),
        Text("warm."),
        Thinking(signature="gemini.Sig1"),
        ToolCall("call_mAitaL-k_0", "weather", '{"city":"Köln"}', "gemini.Sig2"),
        ToolCall("own", "now", "{}"),
    )
    assert (reply.id, reply.model, reply.finish) == ("mAitaL-k", "gemini-3.5-flash", "tool_calls")
    # What the total has beyond its parts was output that no other count names.
    assert reply.usage == TokenUsage(input_tokens=5, output_tokens=4, reasoning_tokens=4)


CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
RAN = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
PICTURE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def test_code_that_was_run_is_told_as_text() -> None:
    whole = ContentsReader()
    whole.read_body(chunk(CODE, RAN, {"text": "so 1"}, finish="STOP"))
    code, ran = "\n```python\nprint(1)\n```\n", "\n```\n1\n```\n"
    assert whole.reply().blocks == (Text(code), Text(ran), Text("so 1"))
    assert whole.left_out == ()
    _, *deltas = read(ContentsReader(), chunk(CODE), chunk(RAN, finish="STOP"))
    assert deltas == [TextDelta(code), TextDelta(ran), Ended("stop")]


def test_what_has_no_word_elsewhere_is_named_as_left_out() -> None:
    reader = ContentsReader()
    reader.read_body(chunk({"text": "here"}, PICTURE, {**PICTURE, "thoughtSignature": "s"}, finish="STOP"))
    reply = reader.reply()
    assert reply.blocks == (Text("here"), Thinking(signature="gemini.s"))
    assert reader.left_out == ("inlineData",)


def test_calls_of_an_answer_without_an_id_are_told_apart_from_those_of_another() -> None:
    event = chunk({"functionCall": {"name": "now"}}, responseId=None)
    ids = []
    for _ in range(2):
        began = read(ContentsReader(), event)[1]
        assert isinstance(began, ToolCallBegan)
        ids.append(began.id)
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
     ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter"), ("BLOCKLIST", "content_filter"),
     ("a reason yet to come", "stop")],
)  # fmt: skip
def test_why_it_ended(reason: str, finish: Finish) -> None:
    reader = ContentsReader()
    assert read(reader, chunk({"text": "x"}, finish=reason))[-1] == Ended(finish)
    whole = ContentsReader()
    whole.read_body(chunk(finish=reason))
    assert whole.reply().finish == finish and whole.finish_reason == reason


FAILED = [
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE", "OTHER", "NO_IMAGE", "IMAGE_OTHER",
]  # fmt: skip


@pytest.mark.parametrize("reason", FAILED)
def test_words_of_an_answer_that_failed_are_told_as_cut(reason: str) -> None:
    call = {"functionCall": {"name": "now"}}
    reader = ContentsReader()
    assert read(reader, chunk({"text": "x"}, call, finish=reason))[-1] == Ended("length")
    whole = ContentsReader()
    whole.read_body(chunk({"text": "x"}, call, finish=reason))
    assert (whole.reply().finish, whole.finish_reason) == ("length", reason)


@pytest.mark.parametrize("reason", FAILED)
def test_a_call_of_an_answer_that_failed_is_kept(reason: str) -> None:
    call = {"functionCall": {"name": "now", "args": {"zone": "UTC"}}}
    reader, whole = ContentsReader(), ContentsReader()
    _, begun, arguments, ended = read(reader, chunk(call, finish=reason))
    assert (begun.name, arguments.arguments, ended) == ("now", '{"zone":"UTC"}', Ended("length"))
    whole.read_body(chunk(call, finish=reason))
    assert [block.name for block in whole.reply().blocks] == ["now"]
    assert whole.reply().finish == "length"


@pytest.mark.parametrize("reason", FAILED)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_failed_without_a_word_is_an_error_and_billed(reason: str, is_stream: bool) -> None:
    thought, call = {"text": "Hm", "thought": True}, {"functionCall": {"name": "now"}}
    usage = {"promptTokenCount": 8, "thoughtsTokenCount": 5, "totalTokenCount": 13}
    reader = ContentsReader()
    if is_stream:
        assert read(reader, chunk(thought)) == [Began("mAitaL-k", "gemini-3.5-flash"), ThinkingDelta("Hm")]
    last = chunk(thought, call, finish=reason, usage=usage)
    with pytest.raises(UpstreamError, match=f"failed without an answer: {reason}$"):
        (reader.read_event if is_stream else reader.read_body)(last)
    assert reader.usage == TokenUsage(input_tokens=8, output_tokens=5, reasoning_tokens=5)
    assert reader.finish_reason == reason


def test_why_an_answer_failed_is_told_in_the_vendors_words() -> None:
    said = json.loads(chunk(finish="MALFORMED_FUNCTION_CALL"))
    said["candidates"][0]["finishMessage"] = "Malformed function call: print(default_api.now("
    with pytest.raises(
        UpstreamError, match=r"MALFORMED_FUNCTION_CALL: Malformed function call: print\(default_api.now\("
    ):
        ContentsReader().read_body(json.dumps(said).encode())


def test_an_answer_that_failed_passes_untouched_to_googles_own_clients() -> None:
    reader = GeminiDialect().reader(GENERATE)
    reader.read_body(chunk(finish="MALFORMED_FUNCTION_CALL"))
    assert reader.is_complete and reader.reply().finish == "length"
    stream = GeminiDialect().reader(GENERATE)
    read(stream, chunk(finish="MALFORMED_FUNCTION_CALL"))
    assert stream.is_complete


def test_of_several_answers_one_that_failed_is_told_beside_those_that_did_not() -> None:
    failed, fine = json.loads(chunk(finish="OTHER")), json.loads(chunk({"text": "x"}, finish="STOP"))
    fine["candidates"][0]["index"] = 1
    reader = ContentsReader()
    reader.read_body(json.dumps({**failed, "candidates": failed["candidates"] + fine["candidates"]}).encode())
    assert [choice.finish for choice in reader.reply().choices] == ["length", "stop"]


def test_a_blocked_question_is_a_refusal_of_its_content_and_still_counted() -> None:
    event = b'{"promptFeedback":{"blockReason":"OTHER"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"modelVersion":"gemini-2.5-flash"}'
    reader = ContentsReader()
    assert read(reader, event) == [Began("", "gemini-2.5-flash"), Ended("content_filter")]
    assert read_on(ContentsReader(), event) == [Began("", "gemini-2.5-flash")]
    assert reader.usage == TokenUsage(input_tokens=8) and reader.is_complete
    whole = ContentsReader()
    whole.read_body(event)
    assert (whole.reply().blocks, whole.reply().finish) == ((), "content_filter")


def counted(output: int) -> dict[str, int]:
    return {"promptTokenCount": 1, "candidatesTokenCount": output, "totalTokenCount": 1 + output}


def test_a_word_for_why_it_ends_on_each_event_ends_nothing_but_the_body_does() -> None:
    reader = ContentsReader()
    said = ["One ", "two ", "three"]
    events = [chunk({"text": text}, finish="STOP", usage=counted(n)) for n, text in enumerate(said, 1)]
    _, *words = read_on(reader, *events)
    assert words == [TextDelta(text) for text in said] and not reader.is_complete
    assert read_on(reader, reader.missing_end()) == [Ended("stop")] and reader.is_complete
    assert reader.usage == TokenUsage(input_tokens=1, output_tokens=3)


def test_words_after_an_empty_end_are_said_and_the_last_reason_counts() -> None:
    reader = ContentsReader()
    call = {"functionCall": {"id": "c", "name": "now", "args": {"zone": "UTC"}}}
    deltas = read(reader, chunk(finish="STOP"), chunk({"text": "x"}), chunk(call, finish="MAX_TOKENS"))
    assert deltas[1:] == [
        TextDelta("x"), ToolCallBegan(0, "c", "now"), ToolCallDelta(0, '{"zone":"UTC"}'), Ended("length"),
    ]  # fmt: skip
    assert reader.finish_reason == "MAX_TOKENS"


def test_what_is_said_after_the_latest_usage_leaves_it_open() -> None:
    reader = ContentsReader()
    read_on(reader, chunk({"text": "x"}, finish="STOP"))
    assert reader.usage is None
    read_on(reader, chunk({"text": "y"}, usage=counted(1)))
    assert reader.usage == TokenUsage(input_tokens=1, output_tokens=1)
    read_on(reader, chunk({"text": ""}))
    assert reader.usage == TokenUsage(input_tokens=1, output_tokens=1)
    read_on(reader, chunk({"text": "z"}))
    assert reader.usage is None and reader.usage_so_far == TokenUsage(input_tokens=1, output_tokens=1)


def test_a_search_that_is_told_after_the_end_is_billed() -> None:
    reader = ContentsReader(is_native=True)
    sources = {"candidates": [{"groundingMetadata": {"webSearchQueries": ["q"]}}], "modelVersion": "gemini-3.5-flash"}
    read(reader, chunk({"text": "x"}, finish="STOP", usage=counted(1)), json.dumps(sources).encode())
    assert reader.usage == TokenUsage(input_tokens=1, output_tokens=1, web_searches=1)


def test_a_stream_that_has_not_said_why_it_ends_lacks_more_than_its_end() -> None:
    reader = ContentsReader()
    read(reader, chunk({"text": "x"}, usage=counted(1)))
    assert (reader.missing_end(), reader.is_complete, reader.usage) == (b"", False, None)


def test_an_error_in_mid_stream_names_what_the_vendor_said() -> None:
    event = b'{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}'
    with pytest.raises(UpstreamError, match="UNAVAILABLE: The model is overloaded"):
        ContentsReader().read_event(event)


@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize("body", [b"{}", b'{"candidates": 3}'])
def test_an_answer_of_no_known_shape_is_an_error(body: bytes, is_native: bool) -> None:
    with pytest.raises(UpstreamError):
        ContentsReader(is_native=is_native).read_body(body)


EMPTY = json.dumps({"usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}, "responseId": "r"}).encode()


def test_an_answer_with_nothing_in_it_passes_to_googles_own_clients_and_is_counted() -> None:
    whole, stream = ContentsReader(is_native=True), ContentsReader(is_native=True)
    whole.read_body(EMPTY)
    read_on(stream, EMPTY)
    assert stream.missing_end() == DONE
    assert whole.usage == stream.usage == TokenUsage(input_tokens=8)


def test_an_answer_with_nothing_in_it_is_none_to_other_clients_but_counted() -> None:
    whole, stream = ContentsReader(), ContentsReader()
    with pytest.raises(UpstreamError, match="has no candidates"):
        whole.read_body(EMPTY)
    assert whole.usage == TokenUsage(input_tokens=8)
    read_on(stream, EMPTY)
    assert (stream.missing_end(), stream.usage) == (b"", None)
    assert stream.usage_so_far == TokenUsage(input_tokens=8)


def test_usage_before_the_first_word_ends_nothing() -> None:
    reader = ContentsReader(is_native=True)
    read_on(reader, EMPTY, chunk({"text": "x"}))
    assert (reader.missing_end(), reader.usage) == (b"", None)


@pytest.mark.parametrize(
    "event",
    [b'{"candidates":[{"index":1,"content":{"parts":["x"]}}]}', b'{"candidates":["x"]}',
     b'{"candidates":[{"content":{"parts":"x"}}]}', b'{"candidates":[{"content":null,"finishReason":null}]}', b"{}"],
)  # fmt: skip
def test_events_of_another_shape_say_nothing(event: bytes) -> None:
    assert read(ContentsReader(), event) == [Began("", "")]


def test_more_stops_than_google_takes_are_refused_by_name() -> None:
    stops = ("a", "b", "c", "d", "e")
    assert body_of(stop=stops)["generationConfig"] == {"stopSequences": list(stops)}
    with pytest.raises(NotTranslatable) as refused:
        body_of(stop=(*stops, "f"))
    assert refused.value.field == "stop"
