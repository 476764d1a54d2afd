"""Usage that no call can have is no usage: the answer is whole all the same, and the log says who told what."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from routing.token_usage import TokenUsage
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.bedrock.converse import ConverseReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.odd_answers import guarded
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.responses import ResponsesReader
from tests.routing.facts import model_facts

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
CHAT = {"id": "c", "choices": [CHOICE]}
RESPONSE = {"id": "r", "status": "completed", "output": []}
MESSAGE = {"id": "m", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
CONTENTS = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
CONVERSED = {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn"}
EMBEDDED = {"data": [{"embedding": [0.5]}]}
# By reader: an answer, where its usage stands, and what its counts are called.
WHOLE: dict[str, tuple[Callable[[], UsageReader], dict[str, Any], str, tuple[str, str]]] = {
    "chat": (ChatReader, CHAT, "usage", ("prompt_tokens", "completion_tokens")),
    "responses": (ResponsesReader, RESPONSE, "usage", ("input_tokens", "output_tokens")),
    "messages": (MessagesReader, MESSAGE, "usage", ("input_tokens", "output_tokens")),
    "contents": (ContentsReader, CONTENTS, "usageMetadata", ("promptTokenCount", "candidatesTokenCount")),
    "converse": (ConverseReader, CONVERSED, "usage", ("inputTokens", "outputTokens")),
    "embeddings": (EmbeddingsReader, EMBEDDED, "usage", ("prompt_tokens", "nothing")),
}


def read(kind: str, told_input: Any, told_output: Any = 3) -> UsageReader:
    """The reader, once it has read an answer with these counts."""
    make, answer, place, (input_name, output_name) = WHOLE[kind]
    reader = make()
    body = {**answer, place: {input_name: told_input, output_name: told_output}}
    assert reader.read_body(json.dumps(body).encode()) is not None
    return reader


@pytest.mark.parametrize("kind", list(WHOLE))
@pytest.mark.parametrize("told", [-1, "10", 1.5, True, [10], float("nan"), float("inf"), 10**10])
def test_a_whole_answer_with_counts_that_cannot_be_has_no_usage(kind: str, told: Any) -> None:
    assert read(kind, told).usage is None


@pytest.mark.parametrize("kind", list(WHOLE))
def test_a_whole_float_is_a_number(kind: str) -> None:
    output = 0 if kind == "embeddings" else 3
    assert read(kind, 10.0, 3.0).usage == TokenUsage(input_tokens=10, output_tokens=output)


def test_more_from_the_cache_than_there_was_is_no_usage() -> None:
    reader = ChatReader()
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 12}}
    reader.read_body(json.dumps({**CHAT, "usage": usage}).encode())
    assert reader.usage is None


def event(**said: Any) -> bytes:
    return json.dumps(said).encode()


def chunk(completion: Any) -> bytes:
    return event(choices=[{"delta": {"content": "a"}}], usage={"prompt_tokens": 10, "completion_tokens": completion})


def test_of_a_chats_stream_what_was_good_before_is_not_its_end() -> None:
    reader = ChatReader()
    for data in (chunk(1), chunk(2), chunk(-3)):
        assert reader.read_event(data) is not None  # it carries usage still: a client may not have asked for it
    assert (reader.usage, reader.usage_so_far) == (None, TokenUsage(input_tokens=10, output_tokens=2))
    reader.read_event(chunk(4))
    assert reader.usage == TokenUsage(input_tokens=10, output_tokens=4)


def test_of_a_message_what_was_good_before_is_not_its_end() -> None:
    reader = MessagesReader()
    usage = {"input_tokens": 10, "output_tokens": 1, "service_tier": "standard"}
    reader.read_event(event(type="message_start", message={"id": "m", "usage": usage}))
    reader.read_event(event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": "x"}))
    assert (reader.usage, reader.usage_so_far) == (None, TokenUsage(input_tokens=10, output_tokens=1))
    reader.read_event(event(type="message_stop"))
    assert reader.is_complete and reader.service_tier == ""


def test_of_a_message_whose_beginning_cannot_be_the_end_counts() -> None:
    reader = MessagesReader()
    reader.read_event(event(type="message_start", message={"usage": {"input_tokens": -1, "output_tokens": 1}}))
    assert reader.usage_so_far is None
    reader.read_event(event(type="message_delta", delta={}, usage={"input_tokens": 10, "output_tokens": 5}))
    assert reader.usage == TokenUsage(input_tokens=10, output_tokens=5)


def contents(candidates: int, *, finish: str = "") -> bytes:
    said = {"content": {"parts": [{"text": "a"}]}} | ({"finishReason": finish} if finish else {})
    return event(candidates=[said], usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": candidates})


def test_of_contents_what_was_good_before_is_not_their_end() -> None:
    reader = ContentsReader()
    for data in (contents(1), contents(2), contents(-3, finish="STOP")):
        assert reader.read_event(data) is not None
    assert (reader.usage, reader.usage_so_far) == (None, TokenUsage(input_tokens=10, output_tokens=2))
    reader.read_event(contents(4, finish="STOP"))
    assert reader.usage == TokenUsage(input_tokens=10, output_tokens=4)


def test_of_a_response_the_last_event_ends_it_all_the_same() -> None:
    reader = ResponsesReader()
    usage = {"input_tokens": "10", "output_tokens": 3}
    reader.read_event(event(type="response.completed", response={**RESPONSE, "usage": usage}))
    assert reader.is_complete and reader.usage is None


def test_the_log_says_once_who_has_told_what(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.upstreams.rare_warnings._warned", {})
    reader = guarded(ChatReader(), model_facts("counts-oddly"))
    with caplog.at_level(logging.WARNING):
        for data in (chunk(-3), chunk(-4)):
            reader.read_event(data)
    assert [record.getMessage() for record in caplog.records] == [
        "vendor's counts-oddly told usage that cannot be, and is counted by us: "
        "completion_tokens: -3 is not between 0 and 1000000000"
    ]


def test_who_only_reads_along_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        guarded(ChatReader()).read_event(chunk(-3))
    assert caplog.records == []
