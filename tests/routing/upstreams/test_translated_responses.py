"""What is translated towards OpenAI and cannot be said as a chat completion: said as a response, and its answer read."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
    RefusalDelta,
    Reply,
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
from routing.data.extract_catalog import PROVIDERS
from routing.errors import UpstreamError
from routing.model_facts import ModelFacts
from routing.refused_answers import ear_for
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT, RESPONSES, UpstreamRequest
from routing.upstreams.openai.dialect import OpenAIDialect
from routing.upstreams.openai.kept_thoughts import encrypted_for, keeper_of, signature_of
from routing.upstreams.openai.only_responses import is_named_only_at_responses
from routing.upstreams.openai.responses_said import ReadsResponses, TranslatedResponsesReader
from routing.upstreams.registry import passes_untouched
from routing.upstreams.sse import SseEvent
from tests.routing.facts import model_facts
from tests.routing.upstreams.vendors import AT_RESPONSES, Spoken, ask, joined, spoken

OPENAI, AZURE = "https://api.openai.com/v1", "https://acme.openai.azure.com/openai/v1"
WEATHER = Tool("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
HI = Message("user", (Text("hi"),))


def model(name: str = "gpt-5-pro", **facts: Any) -> ModelFacts:
    return model_facts(name, **{"base_url": OPENAI, "has_responses": True, **facts})


def requested(facts: ModelFacts, *messages: Message, **fields: Any) -> UpstreamRequest:
    asked = Conversation(messages or (HI,), **fields)
    return OpenAIDialect().translated_request(facts, "", asked, is_stream=False)


def body_of(request: UpstreamRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


def said(*messages: Message, **fields: Any) -> dict[str, Any]:
    """The body of a response's request without what all of them say."""
    body = body_of(requested(model(), *messages, **fields))
    assert body.pop("model") == "gpt-5-pro"
    assert body.pop("store") is False
    return body


# Where a call goes


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-pro", "gpt-5-pro-2025-10-06", "gpt-5.2-pro", "gpt-5.4-pro-2026-03-05", "o1-pro", "o3-pro-2025-06-10",
        "gpt-5-codex", "gpt-5.1-codex-max", "gpt-5.3-codex", "codex-mini-latest", "o3-deep-research",
        "o4-mini-deep-research-2025-06-26", "computer-use-preview", "gpt-daybreak-red-latest", "openai/gpt-5.5-pro",
    ],
)  # fmt: skip
def test_a_model_that_responses_alone_serve_is_asked_there(name: str) -> None:
    assert requested(model(name)).url == f"{OPENAI}/responses"
    assert not passes_untouched(model(name), CHAT) and passes_untouched(model(name), RESPONSES)


@pytest.mark.parametrize(
    "name", ["gpt-5", "gpt-5.6", "gpt-5.6-luna", "gpt-4o", "o3", "gpt-5.4-mini", "gpt-5.2-chat-latest", "gpt-5-prod"]
)
def test_every_other_model_is_asked_by_a_chat_completion(name: str) -> None:
    assert requested(model(name)).url == f"{OPENAI}/chat/completions"
    assert passes_untouched(model(name), CHAT)


def test_a_provider_that_does_not_speak_responses_is_asked_by_a_chat_completion() -> None:
    assert requested(model(has_responses=False)).url == f"{OPENAI}/chat/completions"
    assert passes_untouched(model(has_responses=False), CHAT)


def test_the_catalogs_name_tells_of_a_deployment_whose_own_says_nothing() -> None:
    deployed = model("azure/gpt-5-pro", upstream_name="OUR-DEPLOYMENT", base_url=AZURE)
    assert requested(deployed).url == f"{AZURE}/responses"
    assert not is_named_only_at_responses("OUR-DEPLOYMENT")


@pytest.mark.parametrize(
    ("name", "reasoning", "path"),
    [
        ("gpt-5.6", None, "/responses"),
        ("gpt-5.6", Reasoning("low"), "/responses"),
        ("gpt-5.6", Reasoning(budget_tokens=2_000), "/responses"),
        ("gpt-5.6", Reasoning("none"), "/chat/completions"),
        ("gpt-6-astra", Reasoning("none"), "/responses"),  # which always thinks
        ("gpt-5.4-mini", None, "/chat/completions"),  # which does not think unasked
        ("gpt-5.4-mini", Reasoning(), "/responses"),
        ("gpt-5.2", Reasoning("high"), "/chat/completions"),
        ("gpt-4o", Reasoning("high"), "/chat/completions"),
    ],
)
def test_tools_beside_reasoning_are_offered_where_they_are_taken(
    name: str, reasoning: Reasoning | None, path: str
) -> None:
    assert requested(model(name), tools=(WEATHER,), reasoning=reasoning).url == OPENAI + path
    assert requested(model(name), reasoning=reasoning).url == f"{OPENAI}/chat/completions"


def test_where_no_responses_are_spoken_tools_are_offered_to_a_model_that_is_told_not_to_think() -> None:
    def effort(name: str, reasoning: Reasoning | None = None, **fields: Any) -> Any:
        asked = requested(model(name, has_responses=False), reasoning=reasoning, **fields)
        return body_of(asked).get("reasoning_effort")

    assert effort("gpt-5.6", tools=(WEATHER,)) == "none"
    assert effort("gpt-5.6") is None
    assert effort("gpt-5.6", Reasoning("low"), tools=(WEATHER,)) == "low"
    assert effort("gpt-6-astra", tools=(WEATHER,)) is None  # it cannot but think
    assert effort("gpt-5.4", tools=(WEATHER,)) is None and effort("gpt-5", tools=(WEATHER,)) is None
    assert effort("openai/gpt-5.6", tools=(WEATHER,)) is None  # a reseller's


def test_the_catalogs_provider_speaks_responses() -> None:
    assert next(each for each in PROVIDERS if each["name"] == "openai")["has_responses"]


# What is said


def test_a_conversation_is_said_in_items() -> None:
    call = ToolCall("call_1", "weather", '{"city":"Köln"}')
    body = said(
        Message("user", (Text("look"), Image("image/png", "AAAA", detail="low"), Text(""))),
        Message("assistant", (Text("One moment."), call, ToolCall("call_2", "weather", ""))),
        Message("user", (ToolResult("call_1", (Text("22"), Text("°C"))), Text("well?"))),
        Message("user", (ToolResult("call_2", (Text("no"),), is_error=True),)),
        Message("assistant", (Refusal("I will not."),)),
        system=(Text("Be brief."), Text("Be kind.")),
    )
    assert body == {
        "instructions": "Be brief.\n\nBe kind.",
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            ]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Köln"}'},
            {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "22\n\n°C"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "well?"}]},
            {"type": "function_call_output", "call_id": "call_2", "output": "Error: no"},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
        ],
    }  # fmt: skip


def test_a_tools_result_keeps_its_pictures() -> None:
    picture = Image(url="https://acme.test/a.png")
    call = ToolCall("call_1", "draw", "{}")

    def output(result: ToolResult) -> Any:
        return said(HI, Message("assistant", (call,)), Message("user", (result,)))["input"][-1]["output"]

    shown = {"type": "input_image", "image_url": "https://acme.test/a.png"}
    assert output(ToolResult("call_1", (Text("this"), picture))) == [{"type": "input_text", "text": "this"}, shown]
    error = {"type": "input_text", "text": "Error:"}
    assert output(ToolResult("call_1", (picture,), is_error=True)) == [error, shown]
    assert output(ToolResult("call_1", ())) == ""


def test_documents_are_said_by_their_text_their_data_or_their_address() -> None:
    def part(file: File) -> Any:
        return said(Message("user", (file,)))["input"][0]["content"][0]

    assert part(File("application/pdf", "AAAA")) == {
        "type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AAAA",
    }  # fmt: skip
    assert part(File("application/pdf", url="https://acme.test/a.pdf")) == {
        "type": "input_file", "file_url": "https://acme.test/a.pdf",
    }  # fmt: skip
    assert part(File("text/plain", "aGk=", name="a.txt")) == {"type": "input_text", "text": "a.txt\nhi"}


def test_a_prompt_alone_is_what_the_user_says() -> None:
    body = body_of(OpenAIDialect().translated_request(model(), "", Conversation((), (Text("Go."),)), is_stream=False))
    assert "instructions" not in body
    assert body["input"] == [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}]


def test_tools_are_strict_only_where_their_client_says_so() -> None:
    body = said(tools=(WEATHER, Tool("now"), Tool("sure", is_strict=True)), is_parallel=False)
    assert body["tools"] == [
        {"type": "function", "name": "weather", "description": "The weather.", "strict": False,
         "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
        {"type": "function", "name": "now", "strict": False, "parameters": {"type": "object", "properties": {}}},
        {"type": "function", "name": "sure", "strict": True, "parameters": {"type": "object", "properties": {}}},
    ]  # fmt: skip
    assert body["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in said(is_parallel=False)


def test_a_tool_may_or_must_be_chosen() -> None:
    for choosing in ("auto", "none", "required"):
        assert said(tools=(WEATHER,), tool_choice=ToolChoice(choosing))["tool_choice"] == choosing
    named = said(tools=(WEATHER,), tool_choice=ToolChoice("named", "weather"))
    assert named["tool_choice"] == {"type": "function", "name": "weather"}


def test_json_is_asked_for_by_its_schema_or_as_any_object() -> None:
    assert said(output=OutputFormat())["text"] == {"format": {"type": "json_object"}}
    wanted = OutputFormat({"type": "object"}, "city", "A city.", is_strict=True)
    assert said(output=wanted)["text"] == {
        "format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "description": "A city.",
                   "strict": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted", "reasoning"),
    [
        ("gpt-5-pro", Reasoning("low"), {"effort": "high"}),  # it thinks no less
        ("gpt-5.4-pro", Reasoning("low", is_shown=True), {"effort": "medium", "summary": "auto"}),
        ("gpt-5.6", Reasoning(is_shown=True), {"effort": "medium", "summary": "auto"}),
        ("gpt-5.6", Reasoning(budget_tokens=30_000), {"effort": "high"}),
        ("gpt-5.6", Reasoning("max"), {"effort": "max"}),
        ("gpt-5.5", Reasoning("max"), {"effort": "xhigh"}),
        ("gpt-daybreak-red-latest", Reasoning("low"), {"effort": "low"}),
        ("gpt-5.6", None, None),
    ],
)
def test_the_effort_is_said_as_the_model_takes_it(name: str, wanted: Reasoning | None, reasoning: Any) -> None:
    body = body_of(requested(model(name), tools=(WEATHER,), reasoning=wanted))
    assert body.get("reasoning") == reasoning


def test_limits_are_said_and_settings_left_out_that_a_thinking_model_does_not_take() -> None:
    body = said(max_output_tokens=99, temperature=0.5, top_p=0.5, frequency_penalty=1, presence_penalty=1, user="ada")
    assert {name: body[name] for name in body if name != "input"} == {"max_output_tokens": 99, "user": "ada"}
    body = body_of(requested(model("gpt-daybreak-red-latest"), temperature=0.5, top_p=0.25))
    assert (body["temperature"], body["top_p"]) == (0.5, 0.25)  # nothing is known of it


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("top_k", {"top_k": 1}),
        ("seed", {"seed": 1}),
        ("stop", {"stop": ("END",)}),
        ("choices", {"choices": 2}),
        ("logprobs", {"logprobs": 0}),
    ],
)
def test_what_responses_have_no_word_for_is_refused(field: str, fields: dict[str, Any]) -> None:
    for facts in (model(), model("gpt-5.6")):
        with pytest.raises(NotTranslatable) as refused:
            requested(facts, tools=(WEATHER,), **fields)
        assert refused.value.field == field


def test_a_penalty_is_refused_where_it_is_not_left_out() -> None:
    for field in ("frequency_penalty", "presence_penalty"):
        with pytest.raises(NotTranslatable) as refused:
            requested(model("gpt-daybreak-red-latest"), **{field: 0.5})
        assert refused.value.field == field


@pytest.mark.parametrize("block", [Audio("AAAA", "wav"), File("text/plain", "/w=="), File("image/tiff", "AAAA")])
def test_what_its_messages_have_no_word_for_is_refused(block: Any) -> None:
    with pytest.raises(NotTranslatable, match="messages: "):
        said(Message("user", (block,)))


# Thoughts


def test_thoughts_are_asked_for_where_the_client_asks_for_them() -> None:
    assert "include" not in said() and "reasoning" not in said()
    assert said(reasoning=Reasoning("high"))["include"] == ["reasoning.encrypted_content"]
    unthinking = requested(model("gpt-5.6"), tools=(WEATHER,), reasoning=Reasoning("none"))
    assert unthinking.url.endswith("/chat/completions") and "include" not in body_of(unthinking)


def test_a_thought_comes_back_to_whoever_has_encrypted_it_and_to_nobody_else() -> None:
    openai, azure = model(), model(base_url=AZURE)
    own = signature_of(keeper_of(openai), "gAAA.x")
    assert own.startswith("openai.") and "api.openai.com" not in own
    assert encrypted_for(keeper_of(openai), own) == "gAAA.x"
    assert encrypted_for(keeper_of(azure), own) == ""
    thought, call = Thinking("hm", own), ToolCall("call_1", "weather", "{}")
    turn = (HI, Message("assistant", (thought, call)), Message("user", (ToolResult("call_1", (Text("22"),)),)))
    sent = body_of(requested(openai, *turn))["input"]
    assert sent[1] == {
        "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAA.x",
    }  # fmt: skip
    assert [item["type"] for item in body_of(requested(azure, *turn))["input"]] == [
        "message", "function_call", "function_call_output",
    ]  # fmt: skip


@pytest.mark.parametrize("signature", ["", "ErUBCk...", "gemini.c2ln", "bedrock.x", "anthropic.x", "openai.other.x"])
def test_a_thought_that_another_one_has_signed_is_left_out(signature: str) -> None:
    thought = Thinking("hm", signature)
    items = said(HI, Message("assistant", (thought, Text("Yes."))), HI)["input"]
    assert [item["type"] for item in items] == ["message", "message", "message"]


def test_a_thought_that_nothing_follows_is_left_out() -> None:
    own = signature_of(keeper_of(model()), "x")
    items = said(HI, Message("assistant", (Thinking("hm", own), Thinking("", own, is_redacted=True))), HI)["input"]
    assert [item["type"] for item in items] == ["message", "message"]


# What is read

HEAD = {"id": "resp_1", "object": "response", "model": "gpt-5-pro", "error": None, "incomplete_details": None}
USAGE = {
    "input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 30}, "total_tokens": 150,
}  # fmt: skip


def read(status: str = "completed", *items: Any, **more: Any) -> Reply:
    reader = TranslatedResponsesReader("me")
    reader.read_body(json.dumps({**HEAD, "status": status, "output": items, "usage": USAGE, **more}).encode())
    return reader.reply()


def message(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "status": "completed", "id": "msg_1", "content": parts}


def reasoning(*texts: str, encrypted: str | None = None) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": encrypted}


TEXT = {"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_9", "name": "now", "arguments": '{"a":1}'}


def test_a_whole_answer_is_read() -> None:
    found = read("completed", reasoning("One.", "Two.", encrypted="x"), message(TEXT), CALL, {"type": "odd"})
    assert found == Reply(
        id="resp_1",
        model="gpt-5-pro",
        blocks=(
            Thinking("One.\n\nTwo.", "openai.me.x"), Text("Hello."), ToolCall("call_9", "now", '{"a":1}'),
        ),
        finish="tool_calls",
        usage=TokenUsage(input_tokens=60, output_tokens=50, cache_read_tokens=40, reasoning_tokens=30),
    )  # fmt: skip


def test_thoughts_of_which_nothing_is_shown_are_kept_all_the_same() -> None:
    assert read("completed", reasoning(encrypted="x"), reasoning(), message(TEXT)).blocks == (
        Thinking("", "openai.me.x", is_redacted=True), Text("Hello."),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "reason", "finish"),
    [
        ("completed", None, "stop"),
        ("incomplete", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter"),
        ("incomplete", None, "length"),
    ],
)
def test_why_an_answer_ended(status: str, reason: str | None, finish: str) -> None:
    details = None if reason is None else {"reason": reason}
    assert read(status, message(TEXT), incomplete_details=details).finish == finish


def test_a_refusal_is_one() -> None:
    found = read("completed", message({"type": "refusal", "refusal": "No."}))
    assert (found.blocks, found.finish) == ((Refusal("No."),), "content_filter")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_answer_that_has_failed_is_an_error(status: str) -> None:
    with pytest.raises(UpstreamError, match="server_error: Sorry"):
        read(status, error={"code": "server_error", "message": "Sorry."})
    with pytest.raises(UpstreamError, match=status):
        read(status)


def told(*events: dict[str, Any]) -> tuple[TranslatedResponsesReader, list[Any]]:
    reader, found = TranslatedResponsesReader("me"), list[Any]()
    for event in events:
        data = json.dumps(event, separators=(",", ":")).encode()
        reader.read_event(data)
        found += reader.deltas(data)
    return reader, found


def last(status: str = "completed", **more: Any) -> dict[str, Any]:
    response = {**HEAD, "status": status, "output": [], "usage": USAGE, **more}
    return {"type": f"response.{status}", "response": response}


CREATED = {"type": "response.created", "response": {**HEAD, "status": "in_progress", "output": [], "usage": None}}


def test_a_stream_is_read_event_by_event() -> None:
    reader, found = told(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": reasoning()},
        {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "One."},
        {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1, "part": {}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 1, "delta": "Two."},
        {"type": "response.output_item.done", "output_index": 0, "item": reasoning("One.", "Two.", encrypted="x")},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "Hello."},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
        {"type": "response.output_item.added", "output_index": 3, "item": {**CALL, "call_id": "b", "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 3, "delta": '{"b":'},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
        {"type": "response.function_call_arguments.delta", "output_index": 3, "delta": "2}"},
        {"type": "response.output_item.done", "output_index": 3, "item": CALL},
        last(),
    )
    assert found == [
        Began("resp_1", "gpt-5-pro"),
        ThinkingDelta("One."), ThinkingDelta("\n\n"), ThinkingDelta("Two."), ThinkingDelta(signature="openai.me.x"),
        TextDelta("Hello."),
        ToolCallBegan(0, "call_9", "now"), ToolCallBegan(1, "b", "now"),
        ToolCallDelta(1, '{"b":'), ToolCallDelta(0, "{}"), ToolCallDelta(1, "2}"),
        Ended("tool_calls"),
    ]  # fmt: skip
    assert reader.is_complete and reader.usage is not None and reader.usage.reasoning_tokens == 30


def test_arguments_that_come_with_the_end_of_a_call_alone_are_told() -> None:
    _, found = told(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        {"type": "response.output_item.added", "output_index": 1, "item": {**CALL, "call_id": "b", "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 1, "item": {**CALL, "arguments": ""}},
        last(),
    )
    assert [delta for delta in found if isinstance(delta, ToolCallDelta)] == [
        ToolCallDelta(0, '{"a":1}'), ToolCallDelta(1, "{}"),
    ]  # fmt: skip


def test_a_stream_ends_for_the_reason_that_is_given() -> None:
    assert told(CREATED, last("incomplete", incomplete_details={"reason": "max_output_tokens"}))[1][-1] == Ended(
        "length"
    )
    _, found = told(CREATED, {"type": "response.refusal.delta", "output_index": 0, "delta": "No."}, last())
    assert found[1:] == [RefusalDelta("No."), Ended("content_filter")]


@pytest.mark.parametrize("usage", [None, USAGE])
def test_a_stream_that_has_failed_breaks_off(usage: Any) -> None:
    failed = last("failed", error={"code": "server_error", "message": "Sorry."}, usage=usage)
    with pytest.raises(UpstreamError, match="mid-stream: server_error: Sorry"):
        told(CREATED, failed)


REFUSED = {"type": "response.refusal.delta", "output_index": 0, "delta": "No."}
FILTERED = last("incomplete", incomplete_details={"reason": "content_filter"})


@pytest.mark.parametrize(
    ("events", "has_begun", "refuses"),
    [
        ([CREATED, REFUSED, last()], False, True),
        ([CREATED, FILTERED], False, True),
        ([CREATED, last()], False, False),
        ([CREATED, {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}], True, False),
        ([CREATED, {"type": "response.output_item.added", "output_index": 0, "item": CALL}], True, False),
    ],
)
def test_it_is_heard_whether_a_translated_response_refuses(events: list[Any], has_begun: bool, refuses: bool) -> None:
    ear = ear_for(model(), None, ReadsResponses("me"))
    ear.hear([(SseEvent(json.dumps(event, separators=(",", ":")).encode()), None) for event in events])
    assert (ear.has_begun, ear.refuses) == (has_begun, refuses)


# Both, at a vendor that refuses as OpenAI does


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", ["gpt-5.6", "gpt-5-pro"])
def test_a_loop_of_tools_goes_round_with_its_thoughts(name: str, is_stream: bool) -> None:
    with spoken(AT_RESPONSES) as fake:
        vendor = Spoken(AT_RESPONSES, fake)

        def answer(*messages: Message) -> Reply:
            asked = Conversation(messages, tools=(WEATHER,), reasoning=Reasoning("high", is_shown=True))
            heard = ask(vendor, asked, is_stream=is_stream, name=name)
            assert heard.error is None and vendor.sent()["path"] == "/v1/responses"
            if is_stream:
                return joined(heard.deltas, heard.usage)
            assert heard.reply is not None
            return heard.reply

        question = Message("user", (Text("[think:let me see] [calls:2] weather?"),))
        first = answer(question)
        thought, *calls = first.blocks
        assert isinstance(thought, Thinking) and (thought.text, first.finish) == ("let me see", "tool_calls")
        results = tuple(ToolResult(call.id, (Text("22 °C"),)) for call in calls if isinstance(call, ToolCall))
        second = answer(question, Message("assistant", first.blocks), Message("user", results))
        assert second.blocks == (Text("The tool says: 22 °C 22 °C"),) and second.finish == "stop"
        kinds = [item["type"] for item in vendor.sent()["body"]["input"]]
        assert kinds == ["message", "reasoning", *["function_call"] * 2, *["function_call_output"] * 2]


def test_ids_of_calls_have_at_most_64_characters() -> None:
    known, long = "call_" + "x" * 59, "call_" + "y" * 80
    calls = Message("assistant", (ToolCall(known, "f", "{}"), ToolCall(long, "f", "{}")))
    results = Message("user", (ToolResult(known, (Text("1"),)), ToolResult(long, (Text("2"),))))
    ids = [item["call_id"] for item in said(Message("user", (Text("hi"),)), calls, results)["input"][1:]]
    assert ids[0] == ids[2] == known
    assert ids[1] == ids[3] and len(ids[1]) == 64
