"""An answer that calls a tool has ended for that, whichever word its vendor has for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import Ended
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.bedrock.converse import ConverseReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.sse import DONE

CALLED = {"id": "c", "type": "function", "function": {"name": "now", "arguments": '{"zone":"UTC"}'}}


def chat(word: str) -> dict[str, Any]:
    """As OpenAI ends a call that was demanded by its name: with `stop`."""
    message = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
    return {"id": "i", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": word}]}


def streamed_chat(word: str) -> list[Any]:
    def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    return [chunk(tool_calls=[{"index": 0, **CALLED}]), chunk(word), DONE]


def message(word: str) -> dict[str, Any]:
    return {"id": "i", "content": [{"type": "tool_use", "id": "c", "name": "now", "input": {}}], "stop_reason": word}


def streamed_message(word: str) -> list[Any]:
    block = {"type": "tool_use", "id": "c", "name": "now", "input": {}}
    return [
        {"type": "message_start", "message": {"id": "i", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": word}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]


def converse(word: str) -> dict[str, Any]:
    content = [{"toolUse": {"toolUseId": "c", "name": "now", "input": {"zone": "UTC"}}}]
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": word}


def streamed_converse(word: str) -> list[Any]:
    return [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "c", "name": "now"}}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": word}},
        {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}},
    ]


VENDORS: list[tuple[type[Any], Any, Any, str, str]] = [
    (ChatReader, chat, streamed_chat, "stop", "length"),
    (MessagesReader, message, streamed_message, "end_turn", "max_tokens"),
    (ConverseReader, converse, streamed_converse, "end_turn", "max_tokens"),
]


@pytest.mark.parametrize(("reader_class", "whole", "streamed", "stopped", "cut"), VENDORS)
def test_an_answer_that_calls_a_tool_has_ended_for_that(
    reader_class: type[Any], whole: Any, streamed: Any, stopped: str, cut: str
) -> None:
    for word, finish in ((stopped, "tool_calls"), (cut, "length")):
        reader = reader_class()
        reader.read_body(json.dumps(whole(word)).encode())
        assert reader.reply().finish == finish
        reader, deltas = reader_class(), []
        for event in streamed(word):
            data = event if isinstance(event, bytes) else json.dumps(event).encode()
            reader.read_event(data)
            deltas += reader.deltas(data)
        assert deltas[-1] == Ended(finish)


def test_each_of_several_answers_has_ended_for_its_own_reason() -> None:
    reader = ChatReader()
    words = {"index": 1, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    reader.read_body(json.dumps({**chat("stop"), "choices": [*chat("stop")["choices"], words]}).encode())
    assert [choice.finish for choice in reader.reply().choices] == ["tool_calls", "stop"]
