"""Several answers to one question: asked of vendors, and read from what they say, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import (
    Began,
    Choice,
    Conversation,
    Delta,
    Ended,
    Message,
    NotTranslatable,
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
from routing.upstreams.registry import DIALECTS
from routing.upstreams.sse import DONE
from tests.routing.facts import model_facts


def asked(dialect: str, choices: int, **facts: Any) -> dict[str, Any]:
    """The body that asks a vendor for so many answers."""
    conversation = Conversation((Message("user", (Text("hi"),)),), choices=choices)
    model = model_facts("m", **{"dialect": dialect, "base_url": "https://vendor.test/v1", **facts})
    body: dict[str, Any] = json.loads(
        DIALECTS[dialect].translated_request(model, "", conversation, is_stream=False).body
    )
    return body


def test_each_vendor_is_asked_in_its_own_words() -> None:
    assert asked("openai", 9)["n"] == 9 and "n" not in asked("openai", 1)
    assert asked("gemini", 8)["generationConfig"] == {"candidateCount": 8}
    assert "generationConfig" not in asked("gemini", 1)


@pytest.mark.parametrize(
    ("dialect", "base_url"),
    [("gemini", "https://vendor.test"), ("openai", "https://api.deepseek.com"), ("openai", "https://api.z.ai/v4"),
     ("anthropic", "https://vendor.test"), ("bedrock", "https://vendor.test")],
)  # fmt: skip
def test_who_cannot_give_so_many_is_not_asked(dialect: str, base_url: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        asked(dialect, 9, base_url=base_url)
    assert refused.value.details["field"] == "choices"


def call_of(name: str, **facts: Any) -> dict[str, Any]:
    return {"id": f"c-{name}", "type": "function", "function": {"name": name, "arguments": "{}"}, **facts}


def test_the_choices_of_a_whole_chat_are_read_in_their_order() -> None:
    reader = ChatReader()
    choices = [
        {"index": 0, "message": {"content": "one"}, "finish_reason": "length"},
        {"index": 1, "message": {"content": None, "tool_calls": [call_of("f")]}, "finish_reason": "tool_calls"},
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19}
    reader.read_body(json.dumps({"id": "i", "model": "m", "choices": choices, "usage": usage}).encode())
    reply = reader.reply()
    assert (reply.blocks, reply.finish, reply.usage) == ((Text("one"),), "length", TokenUsage(10, 9))
    assert reply.others == (Choice((ToolCall("c-f", "f", "{}"),), "tool_calls"),)
    assert reply.choices == (Choice((Text("one"),), "length"), *reply.others)


def heard(reader: Any, *events: Any) -> list[Delta]:
    raw = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    found: list[Delta] = []
    for event in raw:
        reader.read_event(event)
        found += reader.deltas(event)
    if not reader.is_complete and (end := reader.missing_end()):
        reader.read_event(end)
        found += reader.deltas(end)
    return found


def test_a_streamed_chat_tells_whose_turn_it_is() -> None:
    def chunk(index: int, finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"id": "i", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    deltas = heard(
        ChatReader(),
        chunk(0, content="a"),
        chunk(1, reasoning_content="hm"),
        chunk(1, tool_calls=[call_of("f", index=0)]),
        chunk(0, tool_calls=[call_of("g", index=0)]),
        chunk(1, tool_calls=[call_of("h", index=1)]),
        chunk(1, "tool_calls"),
        chunk(0, "length"),
        DONE,
    )
    assert deltas == [
        Began("i", "m"),
        TextDelta("a"),
        ThinkingDelta("hm", choice=1),
        ToolCallBegan(0, "c-f", "f", choice=1),
        ToolCallDelta(0, "{}", 1),
        ToolCallBegan(0, "c-g", "g"),
        ToolCallDelta(0, "{}"),
        ToolCallBegan(1, "c-h", "h", choice=1),
        ToolCallDelta(1, "{}", 1),
        Ended("length", is_last=False),
        Ended("tool_calls", choice=1),
    ]


def candidate(index: int | None, *parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if index is not None:
        told["index"] = index
    return told if finish is None else {**told, "finishReason": finish}


def test_the_candidates_of_a_whole_answer_are_read_in_their_order() -> None:
    reader = ContentsReader()
    candidates = [
        candidate(1, {"functionCall": {"name": "f", "args": {}}}, finish="STOP"),
        candidate(0, {"text": "hm", "thought": True}, {"text": "one"}, finish="MAX_TOKENS"),
    ]
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 9, "totalTokenCount": 19}
    reader.read_body(json.dumps({"responseId": "i", "candidates": candidates, "usageMetadata": usage}).encode())
    reply = reader.reply()
    assert (reply.blocks, reply.finish, reply.usage) == ((Thinking("hm"), Text("one")), "length", TokenUsage(10, 9))
    assert reply.others == (Choice((ToolCall("call_i_1_0", "f", "{}"),), "tool_calls"),)


def test_a_stream_of_googles_tells_whose_turn_it_is_and_counts_all() -> None:
    reader = ContentsReader()

    def event(output: int, *candidates: dict[str, Any]) -> dict[str, Any]:
        counted = {"promptTokenCount": 10, "candidatesTokenCount": output, "totalTokenCount": 10 + output}
        return {"responseId": "i", "candidates": list(candidates), "usageMetadata": counted}

    deltas = heard(
        reader,
        event(1, candidate(None, {"text": "a"}), candidate(1, {"text": "b"})),
        event(2, candidate(0, {"text": "c"}, finish="STOP")),
        event(5, candidate(1, {"functionCall": {"name": "f", "args": {"x": 1}}}, finish="STOP")),
    )
    assert deltas == [
        Began("i", ""),
        TextDelta("a"),
        TextDelta("b", 1),
        TextDelta("c"),
        ToolCallBegan(0, "call_i_1_0", "f", choice=1),
        ToolCallDelta(0, '{"x":1}', 1),
        Ended("stop", is_last=False),
        Ended("tool_calls", choice=1),
    ]
    assert reader.usage == TokenUsage(10, 5)


def test_a_stream_of_googles_is_whole_once_every_answer_that_began_has_ended() -> None:
    reader = ContentsReader()
    counted = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    first = [candidate(0, {"text": "a"}, finish="STOP"), candidate(1, {"text": "b"})]
    heard(reader, {"candidates": first, "usageMetadata": counted})
    assert not reader.is_complete and reader.usage is None and reader.usage_so_far == TokenUsage(10, 2)
    heard(reader, {"candidates": [candidate(1, finish="STOP")], "usageMetadata": counted})
    assert reader.is_complete and reader.usage == TokenUsage(10, 2)


def test_a_blocked_question_ends_all_answers_at_once() -> None:
    assert heard(ContentsReader(), {"promptFeedback": {"blockReason": "SAFETY"}}) == [
        Began("", ""), Ended("content_filter"),
    ]  # fmt: skip
