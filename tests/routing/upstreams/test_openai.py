"""OpenAI's formats: responses and embeddings passed through, and how compatible vendors want to be asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from routing.asking import execute
from routing.conversation import (
    Audio,
    Began,
    Conversation,
    Ended,
    File,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT, EMBEDDINGS, RESPONSES, UsageReader, Wire
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.dialect import OpenAIDialect
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.registry import passes_untouched
from routing.upstreams.transport import HttpTransport
from tests.fakes.vendor import WORDS_OF_ANSWER
from tests.routing.facts import chat, model_facts
from tests.routing.upstreams.vendors import Spoken, ask_text


def pass_through(vendor: Spoken, wire: Wire, body: dict[str, Any], *, is_stream: bool = False) -> Any:
    """The vendor's answer to a client's own body: the parsed body or the events, the reader, and what broke it."""

    async def call() -> tuple[Any, UsageReader, Exception | None]:
        client = HttpTransport()
        try:
            model = vendor.model(has_responses=True)
            execution = await execute(model, chat(body, is_stream=is_stream, wire=wire), transport=client)
            if not is_stream:
                return json.loads(await execution.read()), execution.reader, None
            events: list[Any] = []
            try:
                async for event, _ in execution.events():
                    events.append(json.loads(event.data))
            except UpstreamError as error:
                return events, execution.reader, error
            return events, execution.reader, None
        finally:
            await client.aclose()

    return asyncio.run(call())


def test_responses_pass_only_where_the_provider_speaks_them() -> None:
    assert passes_untouched(model_facts("m", has_responses=True), RESPONSES)
    assert not passes_untouched(model_facts("m"), RESPONSES)
    assert passes_untouched(model_facts("m"), CHAT)


def test_a_response_passes_untouched_and_is_counted(openai: Spoken) -> None:
    body = {"model": "smart", "input": "hello [in:10] [cached:4] [out:6] [reasoning:2]", "store": False, "spendhub": 1}
    answer, reader, _ = pass_through(openai, RESPONSES, body)
    assert openai.sent()["path"] == "/v1/responses"
    assert openai.sent()["body"] == {"model": "gpt-4o", "input": body["input"], "store": False}
    assert answer["output"][0]["content"][0]["text"] == WORDS_OF_ANSWER
    assert reader.usage == TokenUsage(input_tokens=10, cache_read_tokens=4, output_tokens=8, reasoning_tokens=2)
    assert (reader.finish_reason, reader.response_id) == ("completed", "resp_fake")
    assert reader.produced_tokens() > 15


def test_a_streamed_response_is_counted_from_its_last_event(openai: Spoken) -> None:
    tool = {"type": "function", "name": "weather", "parameters": {}}
    body = {
        "model": "m",
        "input": [{"role": "user", "content": "[think:a b c] [calls:2]"}],
        "tools": [tool],
        "stream": True,
    }
    events, reader, _ = pass_through(openai, RESPONSES, body, is_stream=True)
    assert "stream_options" not in openai.sent()["body"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert "response.reasoning_summary_text.delta" in kinds and "response.function_call_arguments.delta" in kinds
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert reader.is_complete and reader.usage is not None
    assert (reader.usage.output_tokens, reader.usage.reasoning_tokens) == (13, 3)


@pytest.mark.parametrize(
    ("fault", "status", "is_counted"),
    [("incomplete", "incomplete", True), ("failed", "failed", False), ("no-usage", "completed", False)],
)
def test_a_response_that_ends_otherwise_is_complete_too(
    openai: Spoken, fault: str, status: str, is_counted: bool
) -> None:
    body = {"model": "m", "input": f"[fault:{fault}]", "stream": True}
    _, reader, error = pass_through(openai, RESPONSES, body, is_stream=True)
    assert error is None and reader.is_complete and reader.finish_reason == status
    assert (reader.usage is not None) == is_counted
    assert reader.produced_tokens() > 15


@pytest.mark.parametrize(
    "event",
    [b'{"type":"error","code":"server_error","message":"Sorry.","param":null,"sequence_number":7}',
     b'{"type":"error","error":{"type":"server_error","code":null,"message":"Sorry.","param":null}}',
     b'{"error":{"type":"server_error","message":"Sorry."}}'],
)  # fmt: skip
def test_an_error_event_of_a_response_is_an_error(event: bytes) -> None:
    with pytest.raises(UpstreamError, match="server_error: Sorry"):
        ResponsesReader().read_event(event)


def test_a_response_that_the_vendor_breaks_off_leaves_what_it_said(openai: Spoken) -> None:
    events, reader, error = pass_through(openai, RESPONSES, {"input": "[fault:error]", "stream": True}, is_stream=True)
    assert "server_error: overloaded on demand" in str(error)
    assert events[-1]["type"] == "response.output_text.delta"
    assert not reader.is_complete and reader.usage is None and 0 < reader.produced_tokens() < 30


def test_what_a_response_had_said_when_it_broke_off() -> None:
    reader = ResponsesReader()
    for event in (
        b'{"type":"response.created","response":{"id":"resp_1","status":"in_progress","usage":null}}',
        b'{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","name":"weather","arguments":""}}',
        b'{"type":"response.function_call_arguments.delta","delta":"{\\"a\\":1}"}',
        b'{"type":"response.reasoning_summary_text.delta","delta":"one two"}',
        b'{"type":"response.refusal.delta","delta":"No."}',
        b'{"type":"response.audio.delta","delta":"UklGRgAAAAAAAAAA"}',
        b'{"type":"response.output_text.delta","delta":"\\"response.completed\\" error"}',
        b"not json",
    ):
        assert reader.read_event(event) is None
    # weat|her, {|"|a|"|:|1|}, one|two, No|., "|resp|onse|.|comp|lete|d|"|erro|r
    assert reader.produced_tokens() == 2 + 7 + 2 + 2 + 10
    assert reader.response_id == "resp_1" and reader.usage is None and not reader.is_complete


def test_a_response_is_never_put_in_other_words() -> None:
    for reader in (ResponsesReader(), EmbeddingsReader()):
        with pytest.raises(UpstreamError):
            reader.reply()
        with pytest.raises(UpstreamError):
            reader.deltas(b"{}")
    with pytest.raises(UpstreamError):
        EmbeddingsReader().read_event(b"{}")


@pytest.mark.parametrize("fault", ["", "[fault:no-usage]"])
def test_embeddings_are_counted_by_their_input_alone(openai: Spoken, fault: str) -> None:
    answer, reader, _ = pass_through(openai, EMBEDDINGS, {"model": "m", "input": ["one two three", fault or "four"]})
    assert openai.sent()["path"] == "/v1/embeddings"
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert reader.usage == (None if fault else TokenUsage(input_tokens=4))
    assert reader.produced_tokens() == 0


def test_an_error_in_a_chat_stream_is_an_error_wherever_the_vendor_puts_it() -> None:
    for event in (
        b'{"error":{"message":"Overloaded","type":"server_error","code":503}}',
        b'{"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502,"message":"x"}}',
        b'{"error":"plain words"}',
    ):
        with pytest.raises(UpstreamError, match="broke off"):
            ChatReader().read_event(event)
    for event in (
        b'{"choices":[{"delta":{"content":"error"}}],"usage":null}',
        b'{"error":null,"choices":[]}',
        b'not "error" json',
    ):
        assert ChatReader().read_event(event) is None


def native(base_url: str, body: dict[str, Any], *, is_stream: bool = True, **facts: Any) -> dict[str, Any]:
    model = model_facts("m", base_url=base_url, **facts)
    found: dict[str, Any] = json.loads(OpenAIDialect().native_request(model, "", CHAT, body, is_stream=is_stream).body)
    return found


def translated(base_url: str, name: str, **fields: Any) -> dict[str, Any]:
    model = model_facts(name, base_url=base_url, has_responses=fields.pop("has_responses", False))
    asked = Conversation(fields.pop("messages", (Message("user", (Text("hi"),)),)), **fields)
    found: dict[str, Any] = json.loads(OpenAIDialect().translated_request(model, "", asked, is_stream=True).body)
    return found


def test_a_vendor_that_always_says_its_usage_is_not_asked_for_it() -> None:
    body = {"stream_options": {"include_usage": True, "other": 1}}
    assert native("https://api.mistral.ai/v1", body) == {"model": "m", "stream": True}
    assert "stream_options" not in translated("https://api.mistral.ai/v1", "mistral-large-latest")
    assert native("https://vendor.test/v1", body)["stream_options"] == {"include_usage": True, "other": 1}
    assert native("https://vendor.test/v1", body, is_stream=False) == {"model": "m"}


@pytest.mark.parametrize("host", ["api.mistral.ai", "api.deepseek.com"])
def test_a_limit_is_said_in_the_word_that_the_vendor_knows(host: str) -> None:
    url = f"https://{host}/v1"
    assert native(url, {"max_completion_tokens": 5})["max_tokens"] == 5
    assert "max_completion_tokens" not in native(url, {"max_completion_tokens": 5})
    assert native(url, {"max_completion_tokens": 5, "max_tokens": 4})["max_tokens"] == 5
    assert native("https://vendor.test/v1", {"max_completion_tokens": 5})["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("name", "has_responses", "word"),
    [("gpt-5.5", False, "max_completion_tokens"), ("o3-mini", False, "max_completion_tokens"), ("my-deployment", True, "max_completion_tokens"),
     ("openai/o4-mini", False, "max_completion_tokens"), ("gpt-oss-120b", False, "max_tokens"), ("llama3", False, "max_tokens")],
)  # fmt: skip
def test_openais_models_take_the_new_limit_and_others_the_old(name: str, has_responses: bool, word: str) -> None:
    assert translated("https://vendor.test/v1", name, has_responses=has_responses, max_output_tokens=7)[word] == 7


def test_mistral_has_its_own_word_for_a_seed() -> None:
    body = translated("https://api.mistral.ai/v1", "mistral-small", seed=4, frequency_penalty=0.0)
    assert body["random_seed"] == 4 and not {"seed", "frequency_penalty"} & set(body)


@pytest.mark.parametrize(
    ("url", "most"),
    [("https://api.openai.com/v1", 4), ("https://house.openai.azure.com/openai/v1", 4), ("https://api.groq.com/openai/v1", 4),
     ("https://api.deepseek.com/v1", 16), ("https://vendor.test/v1", None)],
)  # fmt: skip
def test_more_stops_than_the_vendor_takes_are_refused_by_name(url: str, most: int | None) -> None:
    stops = tuple(f"END{number}" for number in range(most or 40))
    assert translated(url, "gpt-4o", stop=stops)["stop"] == list(stops)
    if most is not None:
        with pytest.raises(NotTranslatable) as refused:
            translated(url, "gpt-4o", stop=(*stops, "one more"))
        assert refused.value.field == "stop" and f"above {most};" in str(refused.value)


def ids_told(url: str, *given: str) -> list[str]:
    """The ids of calls as a vendor is told them, and that their results have the same."""
    calls = Message("assistant", tuple(ToolCall(each, "f", "{}") for each in given))
    results = Message("user", tuple(ToolResult(each, (Text("22"),)) for each in given))
    _, said, *answers = translated(url, "m", messages=(Message("user", (Text("hi"),)), calls, results))["messages"]
    told: list[str] = [call["id"] for call in said["tool_calls"]]
    assert [answer["tool_call_id"] for answer in answers] == told
    return told


def test_ids_of_calls_are_as_long_as_the_vendor_takes_them() -> None:
    known, long, other = "call_" + "x" * 35, "call_" + "y" * 80 + "1", "call_" + "y" * 80 + "2"
    told = ids_told("https://api.openai.com/v1", known, long, other)
    assert told[0] == known
    assert [len(each) for each in told] == [40, 40, 40] and len(set(told)) == 3
    assert ids_told("https://api.openai.com/v1", long) == told[1:2]


def test_mistral_is_told_ids_of_nine_letters_and_digits() -> None:
    told = ids_told("https://api.mistral.ai/v1", "D681PevKs", "toolu_01A", "call_2")
    assert told[0] == "D681PevKs" and len(set(told)) == 3
    assert all(len(each) == 9 and each.isalnum() for each in told)


def test_a_key_travels_in_the_header_that_the_provider_names() -> None:
    azure = model_facts("m", base_url="https://acme.openai.azure.com/openai/v1", auth_header="api-key")
    request = OpenAIDialect().native_request(azure, "k", CHAT, {}, is_stream=False)
    assert request.headers["api-key"] == "k" and "authorization" not in request.headers
    assert request.url == "https://acme.openai.azure.com/openai/v1/chat/completions"
    ollama = model_facts("llama3", base_url="http://localhost:11434/v1")
    assert "authorization" not in OpenAIDialect().native_request(ollama, "", CHAT, {}, is_stream=False).headers


def test_a_conversation_with_other_vendors_models_is_told_without_their_thoughts() -> None:
    messages = (
        Message("assistant", (Thinking("hm", "sig"), Text("So"), ToolCall("c1", "weather", "{}"))),
        Message("user", (ToolResult("c1", (Text("22"),), is_error=True), Text("and?"))),
    )
    assert translated("https://vendor.test/v1", "m", messages=messages)["messages"] == [
        {
            "role": "assistant",
            "content": "So",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Error: 22"},
        {"role": "user", "content": "and?"},
    ]


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [(Reasoning("minimal"), "minimal"), (Reasoning(budget_tokens=1_024), "low"), (Reasoning(budget_tokens=10_000), "medium"),
     (Reasoning(budget_tokens=50_000), "high"), (Reasoning(budget_tokens=0), "none"), (Reasoning(), "medium"), (None, None)],
)  # fmt: skip
def test_thinking_is_said_in_words(reasoning: Reasoning | None, effort: str | None) -> None:
    assert translated("https://vendor.test/v1", "m", reasoning=reasoning).get("reasoning_effort") == effort


def test_a_document_by_its_address_is_refused() -> None:
    with pytest.raises(NotTranslatable, match="a document by its URL"):
        translated("https://v.test/v1", "m", messages=(Message("user", (File(url="https://x.test/a.pdf"),)),))


def content_of(*blocks: Any, role: Any = "user") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = translated("https://v.test/v1", "m", messages=(Message(role, blocks),))["messages"]
    return found


def test_what_a_chat_says_beside_its_words_is_named_as_left_out() -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": "https://x.test"}}]
    reader = ChatReader()
    message = {"content": "hi", "annotations": cited, "images": [{"type": "image_url"}], "audio": None}
    reader.read_body(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert (reader.reply().blocks, reader.left_out) == ((Text("hi"),), ("annotations", "images"))


def test_what_is_spoken_is_told_in_its_words() -> None:
    reader, stream = ChatReader(), ChatReader()
    message = {"content": None, "audio": {"id": "a", "data": "AAAA", "transcript": "hello"}}
    reader.read_body(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert (reader.reply().blocks, reader.left_out) == ((Text("hello"),), ("audio",))
    event = {"choices": [{"index": 0, "delta": {"audio": {"id": "a", "transcript": "hel"}}}]}
    assert stream.deltas(json.dumps(event).encode()) == [Began("", ""), TextDelta("hel")]


def test_pictures_of_several_results_say_which_call_they_belong_to() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    results = (
        ToolResult("a", (Image("image/png", "AAAA"), Text("one"))),
        ToolResult("b", (Text("none"),)),
        ToolResult("c", (Image("image/png", "AAAA"), Image("image/png", "AAAA"))),
    )
    *answers, shown = content_of(*results, Text("and?"))
    assert [each["tool_call_id"] for each in answers] == ["a", "b", "c"]
    assert shown["content"] == [
        {"type": "text", "text": "Attached to the result of tool call a:"},
        picture,
        {"type": "text", "text": "Attached to the result of tool call c:"},
        picture,
        picture,
        {"type": "text", "text": "and?"},
    ]


def test_every_kind_of_block_has_its_part() -> None:
    assert content_of(
        Text("hi"),
        Image("image/png", "AAAA", detail="low"),
        Image(url="https://x.test/a.png"),
        Audio("UklG", "wav"),
        File("application/pdf", "JVBE", name="a.pdf"),
        File(text="plain", name="b.txt"),
    ) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                {"type": "text", "text": "b.txt\nplain"},
            ],
        }
    ]
    assert content_of(Refusal("no"), role="assistant") == [{"role": "assistant", "refusal": "no"}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert content_of(ToolResult("c", (Text("see"), Image("image/png", "AAAA")))) == [
        {"role": "tool", "tool_call_id": "c", "content": "see"},
        {"role": "user", "content": [picture]},
    ]
    with pytest.raises(NotTranslatable, match="Thinking from a user"):
        content_of(Thinking("hm"))


def test_a_document_of_text_is_said_as_text_since_chats_take_no_other_files_than_pdf() -> None:
    assert content_of(File("text/csv", "YSxi", name="a.csv")) == [
        {"role": "user", "content": [{"type": "text", "text": "a.csv\na,b"}]}
    ]
    for media_type, data in (("application/zip", "AAAA"), ("", "AAAA"), ("text/plain", "/w=="), ("text/plain", "!")):
        with pytest.raises(NotTranslatable, match="a file of type"):
            content_of(File(media_type, data))


def test_everything_else_has_its_place() -> None:
    schema = {"type": "object", "properties": {}}
    body = translated(
        "https://v.test/v1",
        "m",
        system=(Text("Be brief."), Text("Be kind.")),
        tools=(Tool("weather", "The weather.", schema, is_strict=True), Tool("now")),
        tool_choice=ToolChoice("named", "weather"),
        is_parallel=False,
        output=OutputFormat(schema, "city", "A city.", is_strict=True),
        stop=("END",),
        seed=3,
        user="ada",
    )
    assert body["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    del body["messages"]
    assert body == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "The weather.", "parameters": schema, "strict": True},
            },
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": schema, "description": "A city.", "strict": True},
        },
        "stop": ["END"],
        "seed": 3,
        "user": "ada",
    }
    assert translated("https://v.test/v1", "m", output=OutputFormat())["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{}]}])
def test_a_chat_of_no_known_shape_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError):
        ChatReader().read_body(json.dumps(answer).encode())


def chunk_of(*choices: tuple[int, str | None]) -> bytes:
    told = [{"index": number, "delta": {"content": "x"}, "finish_reason": reason} for number, reason in choices]
    return json.dumps({"choices": told}).encode()


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([chunk_of((0, None)), chunk_of((0, "length"))], b"[DONE]"),
        ([chunk_of((0, "stop")), chunk_of((1, None)), chunk_of((1, "stop")), b'{"choices":[]}'], b"[DONE]"),
        ([chunk_of((0, "stop"), (1, None))], b""),
        ([chunk_of((0, None)), chunk_of((0, ""))], b""),
        ([b'{"choices":[]}', b'{"choices":[7]}', b'{"choices":7}', b"not json"], b""),
        ([], b""),
    ],
)
@pytest.mark.parametrize("is_read", [True, False])
def test_a_chat_lacks_its_end_alone_once_each_choice_has_said_why_it_ends(
    events: list[bytes], end: bytes, is_read: bool
) -> None:
    reader = ChatReader()
    for event in events:
        if is_read:
            reader.read_event(event)
        else:
            assert reader.passes_over(b"data: " + event + b"\n\n")
    assert reader.missing_end() == end


def test_a_translated_chat_without_its_last_event_ends_as_it_said(openai: Spoken) -> None:
    tool = Tool("weather", "", {"type": "object", "properties": {}})
    heard = ask_text(openai, "[fault:no-end]", is_stream=True, tools=(tool,))
    assert heard.error is None and heard.reader.is_complete and heard.usage is None
    assert heard.deltas[-1] == Ended("tool_calls")


def test_a_call_of_2023_counts_as_a_call_of_a_tool_does() -> None:
    call = {"name": "weather", "arguments": '{"city":"Rome"}'}
    whole, legacy, streamed = ChatReader(), ChatReader(), ChatReader()
    message = {"role": "assistant", "content": None, "function_call": None}
    for reader, called in ((whole, {"tool_calls": [{"function": call}]}), (legacy, {"function_call": call})):
        reader.read_body(json.dumps({"choices": [{"message": {**message, **called}}]}).encode())
    for piece in ({"name": "weather", "arguments": ""}, {"arguments": '{"city":'}, {"arguments": '"Rome"}'}):
        streamed.read_event(json.dumps({"choices": [{"index": 0, "delta": {"function_call": piece}}]}).encode())
    # weat|her {|"|city|"|:|"|Rome|"|}
    assert [reader.produced_tokens() for reader in (whole, legacy, streamed)] == [11, 11, 11]


def test_a_chat_whose_content_comes_in_parts() -> None:
    reader = ChatReader()
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi."}], "reasoning": "hm"}
    reader.read_body(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert reader.reply().blocks == (Thinking("hm"), Text("Hi."))
