"""OpenAI's chat completions towards clients: asked in full, answered so that its SDK understands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from routing.conversation import Audio, Conversation, File, Image, NotTranslatable, Text, Thinking, ToolCall, ToolResult
from routing.model_facts import ModelFacts
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.request import chat_body
from routing.upstreams.sse import SseEvent, UnreadEvents
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.chat_conversation import DROPPED
from tests.gateway.dialects.said import MONEY, REPLIES, USAGE, SaidReader, data_of, deltas_of, events_in, written
from tests.routing.facts import model_facts

HI = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}, "description": "of a city"},
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}, "strict": True}}


def said_to_openai(conversation: Conversation) -> dict[str, Any]:
    """The body that asks OpenAI the same, without the model."""
    # Nothing is known of it that it does not take.
    body = chat_body(model_facts("a-deployment", has_responses=True), conversation)
    return {name: value for name, value in body.items() if name != "model"}


def asked(*messages: dict[str, Any], **fields: Any):
    """A request, parsed."""
    return CHAT_DIALECT.parse(json.dumps({"model": "m", "messages": messages or [HI], **fields}).encode())


SAID_AGAIN: dict[str, dict[str, Any]] = {
    "a text": {},
    "a system prompt": {"messages": [{"role": "system", "content": "be brief"}, HI]},
    "a picture": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it"},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                ],
            }
        ]
    },
    "a loop of tools": {
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": "let me see",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                    {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "c2", "content": "noon"},
            {"role": "assistant", "content": "sunny at noon"},
            {"role": "user", "content": "thanks"},
            {"role": "assistant", "refusal": "no"},
        ],
        "tools": [WEATHER, TIME],
        "tool_choice": {"type": "function", "function": {"name": "time"}},
        "parallel_tool_calls": False,
    },
    "sampling": {
        "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": -0.1, "seed": -7,
        "stop": ["a", "b"], "user": "ada", "max_completion_tokens": 9,
    },
    "an object": {"response_format": {"type": "json_object"}},
    "a schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "description": "d", "schema": {"type": "object"}, "strict": True},
        }
    },
    "thinking": {"reasoning_effort": "low"},
    "tools when it must": {"tools": [WEATHER], "tool_choice": "required"},
}  # fmt: skip


@pytest.mark.parametrize("name", SAID_AGAIN)
def test_a_request_means_the_same_after_it_was_no_vendors(name: str) -> None:
    body = {"messages": [HI], **SAID_AGAIN[name]}
    request = CHAT_DIALECT.parse(json.dumps({"model": "m", **body}).encode())
    assert said_to_openai(CHAT_DIALECT.conversation(request)) == body


def test_the_words_of_2023_are_understood() -> None:
    function = WEATHER["function"]
    said = CHAT_DIALECT.conversation(
        asked(
            HI,
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "sunny"},
            functions=[function],
            function_call={"name": "weather"},
            max_tokens=5,
            stop="x",
        )
    )
    assert said_to_openai(said)["tools"] == [WEATHER]
    assert said_to_openai(said)["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    (call,), (result,) = said.messages[1].blocks, said.messages[2].blocks
    assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
    assert (call.id, result.call_id, result.name) == ("call_1", "call_1", "weather")
    assert (said.max_output_tokens, said.stop) == (5, ("x",))


def test_developer_messages_and_late_system_messages_stand_first() -> None:
    said = CHAT_DIALECT.conversation(
        asked({"role": "developer", "content": "a"}, HI, {"role": "system", "content": [{"type": "text", "text": "b"}]})
    )
    assert said.system == (Text("a"), Text("b"))
    assert len(said.messages) == 1


def test_what_a_vendor_signed_comes_back_to_it() -> None:
    said = CHAT_DIALECT.conversation(
        asked(
            HI,
            {
                "role": "assistant",
                "content": "yes",
                "reasoning_content": "hm",
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "blob"},
                ],
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "g"}},
                    }
                ],
            },
        )
    )
    assert said.messages[1].blocks == (
        Thinking("hm", "s"),
        Thinking("", "blob", is_redacted=True),
        Text("yes"),
        ToolCall("c", "f", "{}", "g"),
    )


def test_pictures_sounds_and_files_keep_their_kind() -> None:
    said = CHAT_DIALECT.conversation(asked(*SAID_AGAIN["a picture"]["messages"]))
    assert [type(block) for block in said.messages[0].blocks] == [Text, Image, Image, Audio, File]


ONLY_OPENAI: dict[str, dict[str, Any]] = {
    "logit_bias": {"logit_bias": {"50256": -100}},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "modalities": {"modalities": ["text", "audio"]},
    "audio": {"audio": {"voice": "alloy", "format": "wav"}},
    "web_search_options": {"web_search_options": {}},
    "service_tier": {"service_tier": "flex"},
    "verbosity": {"verbosity": "low"},
    "no_such_field": {"no_such_field": 1},
    "tools[0].type 'custom'": {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
    "tool_choice.type 'allowed_tools'": {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
    "response_format.type 'grammar'": {"response_format": {"type": "grammar"}},
    "messages[0].content[0].file.file_id": {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    },
    "messages[0].content[0].type 'video_url'": {"messages": [{"role": "user", "content": [{"type": "video_url"}]}]},
    "messages[0].audio": {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    "messages[0].tool_calls[0].type 'custom'": {
        "messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}]
    },
}


@pytest.mark.parametrize("field", ONLY_OPENAI)
def test_what_openai_alone_understands_is_refused_by_its_name(field: str) -> None:
    request = CHAT_DIALECT.parse(json.dumps({"model": "m", "messages": [HI], **ONLY_OPENAI[field]}).encode())
    with pytest.raises(NotTranslatable) as refused:
        CHAT_DIALECT.conversation(request)
    assert refused.value.details["field"] == field


def test_what_changes_no_answer_is_dropped() -> None:
    values = {name: {} if name in ("metadata", "stream_options") else "x" for name in DROPPED}
    silent = {"logit_bias": {}, "modalities": ["text"], "service_tier": "auto", "prediction": None,
              "prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}  # fmt: skip
    assert said_to_openai(CHAT_DIALECT.conversation(asked(**values | silent))) == {"messages": [HI]}


def test_needs_are_read_from_the_request() -> None:
    assert CHAT_DIALECT.needs(asked()) == frozenset()
    request = asked(
        *SAID_AGAIN["a picture"]["messages"],
        stream=True,
        tools=[WEATHER],
        reasoning_effort="low",
        response_format={"type": "json_object"},
    )
    assert CHAT_DIALECT.needs(request) == {"streaming", "vision", "audio", "files", "tools", "reasoning", "json"}
    assert CHAT_DIALECT.needs(asked(reasoning_effort="none")) == frozenset()
    assert CHAT_DIALECT.text(request) == "what is it"


CALLED = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    "said",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALLED]},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
        {"role": "function", "name": "weather", "content": "rain"},
    ],
)
def test_a_tool_that_was_called_before_needs_a_model_that_knows_tools(said: dict[str, Any]) -> None:
    assert CHAT_DIALECT.needs(asked(HI, said, HI)) == {"tools"}


def test_an_answer_without_calls_needs_no_tools() -> None:
    said = {"role": "assistant", "content": "hi", "tool_calls": [], "function_call": None, "audio": None}
    assert CHAT_DIALECT.needs(asked(HI, said, HI)) == frozenset()


def test_a_spoken_answer_needs_a_model_that_speaks_and_does_not_only_hear() -> None:
    assert CHAT_DIALECT.needs(asked(modalities=["text", "audio"])) == {"audio", "speech"}
    assert CHAT_DIALECT.needs(asked(modalities=["text"])) == frozenset()
    heard = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    assert CHAT_DIALECT.needs(asked({"role": "user", "content": [heard]})) == {"audio"}


def test_tools_can_be_taken_away() -> None:
    request = asked(tools=[WEATHER, TIME], tool_choice={"type": "function", "function": {"name": "time"}})
    assert request.tools == ("weather", "time")
    fewer = CHAT_DIALECT.without_tools(request, frozenset(("time",)))
    assert fewer.tools == ("weather",)
    assert fewer.body["tools"] == [WEATHER] and "tool_choice" not in fewer.body
    none = CHAT_DIALECT.without_tools(request, frozenset(("time", "weather")))
    assert none.tools == () and set(none.body) == {"model", "messages"}
    assert request.body["tools"] == [WEATHER, TIME]  # the client's own is left as it was


def test_a_limit_is_shared_by_the_choices() -> None:
    limited = CHAT_DIALECT.with_max_output(asked(n=2, max_tokens=100), 9)
    assert limited.body["max_completion_tokens"] == 4 and "max_tokens" not in limited.body
    assert limited.max_output_tokens == 8
    assert CHAT_DIALECT.with_max_output(asked(), 0).body["max_completion_tokens"] == 1


def test_of_two_limits_the_larger_counts() -> None:
    assert asked(max_completion_tokens=16, max_tokens=1_500).max_output_tokens == 1_500
    assert asked(max_completion_tokens=1_500, max_tokens=16, n=2).max_output_tokens == 3_000
    assert asked(max_completion_tokens=None, max_tokens=16).max_output_tokens == 16
    assert asked(max_completion_tokens=16, max_tokens=None).max_output_tokens == 16
    both = asked(max_completion_tokens=16, max_tokens=1_500)
    assert CHAT_DIALECT.conversation(both).max_output_tokens == 1_500


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (model_facts("gpt-5"), "max_completion_tokens"),
        (model_facts("llama-4"), "max_tokens"),
        (model_facts("m", base_url="https://api.mistral.ai/v1"), "max_tokens"),
        (model_facts("kimi-k3", base_url="https://api.moonshot.ai/v1"), "max_completion_tokens"),
    ],
)
@pytest.mark.parametrize("limits", [{}, {"max_tokens": 5}, {"max_completion_tokens": 5, "max_tokens": 100}])
def test_a_limit_of_ours_is_said_once_in_the_word_that_the_models_vendor_obeys(
    model: ModelFacts, said: str, limits: dict[str, int]
) -> None:
    limited = CHAT_DIALECT.with_max_output(asked(**limits), 7, model)
    assert {name: limited.body[name] for name in limited.body if name.startswith("max_")} == {said: 7}


@pytest.mark.parametrize(
    ("model", "limits", "said"),
    [
        # Everybody obeys the old name, or refuses it. The new one is passed over in silence by many.
        (model_facts("gpt-5", base_url="https://vendor.test/v1"), {"max_tokens": 7}, "max_tokens"),
        (model_facts("llama-4", base_url="https://vendor.test/v1"), {"max_completion_tokens": 7}, "max_tokens"),
        (
            model_facts("gpt-5", base_url="https://vendor.test/v1"),
            {"max_completion_tokens": 7},
            "max_completion_tokens",
        ),
        (model_facts("gpt-5", base_url="https://api.openai.com/v1"), {"max_tokens": 7}, "max_completion_tokens"),
    ],
)
def test_a_limit_of_the_clients_own_keeps_the_old_name_at_a_vendor_that_nobody_knows(
    model: ModelFacts, limits: dict[str, int], said: str
) -> None:
    limited = CHAT_DIALECT.with_max_output(asked(**limits), 7, model)
    assert {name: limited.body[name] for name in limited.body if name.startswith("max_")} == {said: 7}


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_answer_is_a_chat_completion_that_says_the_same(name: str) -> None:
    reply = REPLIES[name]
    body = CHAT_DIALECT.whole(reply, asked(), "m")
    told = ChatCompletion.model_validate_json(body, strict=True)
    assert (told.id, told.model, told.usage.total_tokens) == ("id-1", "m", 140)
    assert told.usage.prompt_tokens_details.cached_tokens == 20
    assert told.usage.completion_tokens_details.reasoning_tokens == 15
    reader = ChatReader()
    reader.read_body(body)
    again = reader.reply()
    assert again.usage == USAGE
    assert again.finish == reply.finish
    assert [b for b in again.blocks if not isinstance(b, Thinking)] == [
        b for b in reply.blocks if not isinstance(b, Thinking)
    ]


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_is_chunks_that_say_the_same(name: str) -> None:
    reply = REPLIES[name]
    deltas = deltas_of(reply)
    request = asked(stream=True, stream_options={"include_usage": True})
    events = written(CHAT_DIALECT.writing(request, SaidReader(deltas), "m"), len(deltas))
    assert events[-1].data == b"[DONE]"
    chunks = [ChatCompletionChunk.model_validate(data) for data in data_of(events)]
    assert all((chunk.id, chunk.model) == ("id-1", "m") for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 140
    assert chunks[-1].model_extra["spendhub"] == MONEY
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + [reply.finish]
    reader = ChatReader()
    said = "".join(
        getattr(delta, "text", "") or getattr(delta, "arguments", "")
        for event in events
        for delta in reader.deltas(event.data)
    )
    assert said == "".join(getattr(delta, "text", "") or getattr(delta, "arguments", "") for delta in deltas)


def test_a_client_that_did_not_ask_for_usage_gets_none() -> None:
    deltas = deltas_of(REPLIES["words"])
    events = written(CHAT_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas))
    assert all(data["choices"] and "usage" not in data for data in data_of(events))


def test_a_client_of_2023_is_answered_in_its_words() -> None:
    request = asked(functions=[WEATHER["function"]], stream=True)
    told = json.loads(CHAT_DIALECT.whole(REPLIES["a tool alone"], request, "m"))["choices"][0]
    assert told["message"]["function_call"] == {"name": "weather", "arguments": '{"a":1}'}
    assert told["finish_reason"] == "function_call" and "tool_calls" not in told["message"]
    deltas = deltas_of(REPLIES["a tool alone"])
    choices = [
        data["choices"][0]
        for data in data_of(written(CHAT_DIALECT.writing(request, SaidReader(deltas), "m"), len(deltas)))
    ]
    calls = [choice["delta"]["function_call"] for choice in choices if "function_call" in choice["delta"]]
    assert calls[0] == {"name": "weather", "arguments": ""}
    assert "".join(call["arguments"] for call in calls) == '{"a":1}'
    assert choices[-1]["finish_reason"] == "function_call"


def test_a_signed_thought_is_told_whole_once_it_is_signed() -> None:
    deltas = deltas_of(REPLIES["thoughts and words"])
    events = written(CHAT_DIALECT.writing(asked(stream=True), SaidReader(deltas), "m"), len(deltas))
    blocks = [b for data in data_of(events) for b in data["choices"][0]["delta"].get("thinking_blocks", ())]
    assert blocks == [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "anthropic.sig"}]
    message = json.loads(CHAT_DIALECT.whole(REPLIES["hidden thoughts"], asked(), "m"))["choices"][0]["message"]
    assert message["thinking_blocks"] == [{"type": "redacted_thinking", "data": "anthropic.blob"}]


def event(value: Any) -> SseEvent:
    return SseEvent(value if isinstance(value, bytes) else json.dumps(value).encode())


def test_a_passing_stream_is_held_back_at_its_usage_only() -> None:
    words = {"choices": [{"delta": {"content": "hi"}}], "vendors_own": 1}
    usage = {"choices": [], "usage": {"prompt_tokens": 1}}
    out = CHAT_DIALECT.passing(asked(stream=True, stream_options={"include_usage": True}))
    passed = out.pass_on([(event(words), None), (event(usage), usage)])
    assert data_of(events_in(passed)) == [words] and not out.is_done
    assert out.pass_on([(event(b"[DONE]"), None)]) == b"" and out.is_done
    last = events_in(out.last_events(USAGE, MONEY, "m", "id"))
    assert [e.data for e in last][1:] == [b"[DONE]"]
    assert data_of(last) == [{**usage, "spendhub": MONEY}]


def test_comments_of_a_passing_stream_go_on_and_let_nothing_go_that_was_held_back() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 1}}
    out = CHAT_DIALECT.passing(asked(stream=True, stream_options={"include_usage": True}))
    assert out.pass_on(UnreadEvents(b": queued\n\n")) == b": queued\n\n"
    assert out.pass_on([(event(usage), usage)]) == b""
    assert out.pass_on(UnreadEvents(b": queued\n\n")) == b": queued\n\n"
    assert data_of(events_in(out.last_events(USAGE, MONEY, "m", "id"))) == [{**usage, "spendhub": MONEY}]
