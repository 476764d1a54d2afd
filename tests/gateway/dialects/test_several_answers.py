"""Several answers to one question, told to clients of the dialects that can ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from routing.conversation import (
    Began,
    Choice,
    Delta,
    Ended,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.token_usage import TokenUsage
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.sse import SseDecoder
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from tests.gateway.dialects.said import MONEY, USAGE, SaidReader, data_of, events_in, written

GENERATE = GenerateDialect("m", is_stream=True)
RECORDED = Path(__file__).parents[2] / "routing/upstreams/recorded/openai-chat-choices-stream.sse"
REPLY = Reply(
    "id-1", "vendors-name", (Text("one"),), "length", USAGE,
    others=(Choice((Thinking("hm", "sig"), ToolCall("c", "f", '{"a":1}')), "tool_calls"), Choice((Text("three"),), "stop")),
)  # fmt: skip
DELTAS: list[Delta] = [
    Began("id-1", "m"),
    TextDelta("three", 2),
    ThinkingDelta("hm", choice=1),
    ThinkingDelta(signature="sig", choice=1),
    TextDelta("one"),
    ToolCallBegan(0, "c", "f", choice=1),
    ToolCallDelta(0, '{"a":', 1),
    Ended("stop", choice=2, is_last=False),
    ToolCallDelta(0, "1}", 1),
    Ended("length", is_last=False),
    Ended("tool_calls", choice=1, is_last=False),
]


def chat(choices: int, **fields: Any) -> CallRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields, "n": choices}
    return CHAT_DIALECT.parse(json.dumps(body).encode())


def contents(choices: int) -> CallRequest:
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": choices}}
    return GENERATE.parse(json.dumps(body).encode())


def test_they_are_asked_for_and_needed_of_a_model() -> None:
    assert CHAT_DIALECT.conversation(chat(3)).choices == GENERATE.conversation(contents(3)).choices == 3
    assert CHAT_DIALECT.needs(chat(3)) == {"choices"} and CHAT_DIALECT.needs(chat(1)) == frozenset()
    assert GENERATE.needs(contents(3)) == {"streaming", "choices"} and GENERATE.needs(contents(1)) == {"streaming"}


def test_a_chat_has_a_choice_for_each() -> None:
    body = CHAT_DIALECT.whole(REPLY, chat(3), "m")
    told = ChatCompletion.model_validate_json(body, strict=True)
    assert [(each.index, each.message.content, each.finish_reason) for each in told.choices] == [
        (0, "one", "length"), (1, None, "tool_calls"), (2, "three", "stop"),
    ]  # fmt: skip
    assert told.usage is not None and told.usage.total_tokens == 140  # of all of them
    reader = ChatReader()
    reader.read_body(body)
    assert [choice.finish for choice in reader.reply().choices] == ["length", "tool_calls", "stop"]


def test_googles_client_has_a_candidate_for_each() -> None:
    body = GENERATE.whole(REPLY, contents(3), "m")
    GenerateContentResponse.model_validate_json(body)
    reader = ContentsReader()
    reader.read_body(body)
    reply = reader.reply()
    assert (reply.blocks, reply.finish) == ((Text("one"),), "length")
    assert [choice.finish for choice in reply.others] == ["tool_calls", "stop"]
    assert reply.others[1].blocks == (Text("three"),)


def test_a_streamed_chat_tells_whose_turn_it_is() -> None:
    out = CHAT_DIALECT.writing(chat(3, stream=True), SaidReader(DELTAS), "m")
    chunks = data_of(written(out, len(DELTAS)))
    assert all(ChatCompletionChunk.model_validate(each) for each in chunks)
    told: dict[int, list[Any]] = {}
    for chunk in chunks:
        (choice,) = chunk["choices"]
        told.setdefault(choice["index"], []).append((choice["delta"], choice["finish_reason"]))
    begun = ({"role": "assistant", "content": ""}, None)
    assert told[0] == [begun, ({"content": "one"}, None), ({}, "length")]
    assert told[2] == [begun, ({"content": "three"}, None), ({}, "stop")]
    block = {"index": 0, "type": "thinking", "thinking": "hm", "signature": "anthropic.sig"}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert told[1] == [
        begun,
        ({"reasoning_content": "hm"}, None),
        ({"thinking_blocks": [block]}, None),
        ({"tool_calls": [call]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}, None),
        ({}, "tool_calls"),
    ]


def test_a_stream_of_googles_tells_whose_turn_it_is_and_ends_all_at_once() -> None:
    *chunks, last = data_of(written(GENERATE.writing(contents(3), SaidReader(DELTAS), "m"), len(DELTAS)))
    said = [(each["candidates"][0]["index"], each["candidates"][0]["content"]["parts"]) for each in chunks]
    assert [number for number, _ in said] == [2, 1, 1, 0, 1]
    assert (said[0][1], said[3][1]) == ([{"text": "three"}], [{"text": "one"}])
    assert said[4][1][0]["functionCall"] == {"id": "c", "name": "f", "args": {"a": 1}}
    assert [(each["index"], each["finishReason"]) for each in last["candidates"]] == [
        (0, "MAX_TOKENS"), (1, "STOP"), (2, "STOP"),
    ]  # fmt: skip
    assert (last["usageMetadata"]["totalTokenCount"], last["spendhub"]) == (140, MONEY)


def test_a_stream_is_done_once_as_many_have_ended_as_were_asked_for() -> None:
    for out in (
        CHAT_DIALECT.writing(chat(3), SaidReader(DELTAS), "m"),
        GENERATE.writing(contents(3), SaidReader(DELTAS), "m"),
    ):
        done = []
        for number in range(len(DELTAS)):
            out.pass_on(events_of(number))
            done.append(out.is_done)
        assert done == [False] * (len(DELTAS) - 1) + [True]


def events_of(number: int) -> Any:
    return [(event, None) for event in SseDecoder().feed(f"data: {number}\n\n".encode())]


def test_a_vendor_that_gives_fewer_and_says_that_it_is_done_is_believed() -> None:
    deltas: list[Delta] = [Began("id-1", "m"), TextDelta("one"), Ended("stop", is_last=True)]
    out = CHAT_DIALECT.writing(chat(3, stream=True), SaidReader(deltas), "m")
    chunks = data_of(written(out, len(deltas)))
    assert out.is_done
    assert [(each["choices"][0]["index"], each["choices"][0]["finish_reason"]) for each in chunks] == [
        (0, None), (0, None), (0, "stop"),
    ]  # fmt: skip


def test_what_was_not_asked_for_is_not_told() -> None:
    assert len(json.loads(CHAT_DIALECT.whole(REPLY, chat(1), "m"))["choices"]) == 1
    assert len(json.loads(GENERATE.whole(REPLY, contents(2), "m"))["candidates"]) == 2
    message = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    request = MESSAGES_DIALECT.parse(json.dumps(message).encode())
    events = written(MESSAGES_DIALECT.writing(request, SaidReader(DELTAS), "m"), len(DELTAS))
    assert b"three" not in b"".join(event.data for event in events)


def test_a_real_stream_of_two_answers_is_told_to_both_kinds_of_clients() -> None:
    words: dict[str, dict[int, str]] = {"chat": {}, "generate": {}}
    for client in words:
        reader = ChatReader()
        out = (
            CHAT_DIALECT.writing(chat(2, stream=True, stream_options={"include_usage": True}), reader, "m")
            if client == "chat"
            else GENERATE.writing(contents(2), reader, "m")
        )
        wire = b""
        for event in SseDecoder().feed(RECORDED.read_bytes()):
            wire += out.pass_on([(event, reader.read_event(event.data))])
        assert out.is_done
        assert reader.usage == TokenUsage(26, 104)
        wire += out.last_events(reader.usage, MONEY, "m", reader.response_id)
        for data in data_of(events_in(wire)):
            for each in data.get("choices") or data.get("candidates") or ():
                said = (
                    each["delta"].get("content")
                    if client == "chat"
                    else "".join(part.get("text", "") for part in each["content"]["parts"])
                )
                words[client][each["index"]] = words[client].get(each["index"], "") + (said or "")
    assert words["chat"] == words["generate"]
    assert words["chat"][0] == "I'm unable to provide." and words["chat"][1].startswith("I'm unable to")
