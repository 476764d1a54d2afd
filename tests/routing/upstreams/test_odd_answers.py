"""An answer of no documented shape is an error of its vendor's: never one of ours, whichever value stands where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import Delta
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.odd_answers import guarded
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.responses import ResponsesReader
from tests.places import copy_to_change, places
from tests.routing.upstreams.test_recorded import ALL, CLIENTS, Recorded

ODD: tuple[Any, ...] = (None, True, -1, "x", [], {}, ["x"], [{"type": []}], {"type": []})
# One recording for each reader, with calls of tools where there is one: small, and with every kind of block.
FILES = (
    "openai-chat-tools.json", "anthropic-message.json", "anthropic-tools-stream.sse", "groq-tools-stream.sse",
    "gemini-tools-stream.sse", "azure-responses-reasoning.json", "azure-chat-stream.sse",
)  # fmt: skip


def with_odd(value: Any, place: tuple[Any, ...], odd: Any) -> bytes:
    found, inner = copy_to_change(value, place)
    inner[place[-1]] = odd
    return json.dumps(found).encode()


def read_whole(recorded: Recorded, body: bytes) -> None:
    reader = guarded(recorded.reader())
    reader.read_body(body)
    if "text" in recorded.expected:
        reply = reader.reply()
        for client in CLIENTS.values():
            client.whole(reply, client.parse(json.dumps(ASKED[client.wire]).encode()), "m")


def read_events(recorded: Recorded, events: list[bytes]) -> None:
    reader, found = guarded(recorded.reader()), list[Delta]()
    for data in events:
        reader.read_event(data)
        found += reader.deltas(data)


ASKED: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "m", "input": "hi"},
    "messages": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


@pytest.mark.parametrize("file", FILES)
def test_whatever_stands_wherever_it_is_read_or_it_is_the_vendors_error(file: str) -> None:
    recorded = next(each for each in ALL if each.file == file)
    refused = 0
    if not recorded.is_stream:
        answer = json.loads(recorded.raw)
        for place in places(answer):
            for odd in ODD:
                refused += is_refused(read_whole, recorded, with_odd(answer, place, odd))
    else:
        lines = [line[6:] for line in recorded.raw.splitlines() if line.startswith(b"data: ")]
        events = [*lines[:8], *lines[8:][-4:]]
        for number, data in enumerate(events):
            if data == b"[DONE]":
                continue
            event = json.loads(data)
            for place in list(places(event))[:60]:
                for odd in ODD:
                    changed = [*events[:number], with_odd(event, place, odd), *events[number + 1 :]]
                    refused += is_refused(read_events, recorded, changed)
    assert refused > 0


READERS: dict[str, tuple[type[UsageReader], dict[str, Any]]] = {
    "choices": (ChatReader, {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
    "output": (ResponsesReader, {"output": [], "usage": {"input_tokens": 7, "output_tokens": 2}}),
    "content": (MessagesReader, {"content": [], "usage": {"input_tokens": 7, "output_tokens": 2}}),
    "candidates": (ContentsReader, {"candidates": [], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2}}),
    "data": (EmbeddingsReader, {"data": [], "usage": {"prompt_tokens": 7}}),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_whole_answer_that_is_an_error_or_lacks_what_it_is_about_is_none_and_its_usage_counts(name: str) -> None:
    kind, answer = READERS[name]
    assert kind().read_body(json.dumps(answer).encode()) == answer
    error = {"error": {"message": "boo", "type": "server_error", "code": 502}}
    nothing = {key: value for key, value in answer.items() if key != name}
    for body, told in (
        (error, "answered with an error: server_error: boo"),
        (nothing | error, "answered with an error: server_error: boo"),
        (nothing, f"has no {name}"),
        (answer | {name: None, "error": None}, f"has no {name}"),
    ):
        reader = kind()
        with pytest.raises(UpstreamError, match=told):
            reader.read_body(json.dumps(body).encode())
        usage = None if body is error else TokenUsage(input_tokens=7, output_tokens=0 if name == "data" else 2)
        assert reader.usage == usage and not reader.is_complete


@pytest.mark.parametrize("name", [name for name in READERS if name != "output"])
def test_an_error_beside_an_answer_is_an_error(name: str) -> None:
    kind, answer = READERS[name]
    with pytest.raises(UpstreamError, match="answered with an error: error: boo"):
        kind().read_body(json.dumps(answer | {"error": "boo"}).encode())


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_still_being_made_is_no_answer(status: str) -> None:
    unfinished: dict[str, Any] = {"id": "resp_1", "status": status, "output": [], "usage": None}
    with pytest.raises(UpstreamError, match=f"the vendor's response is still {status}"):
        ResponsesReader().read_body(json.dumps(unfinished).encode())


def test_a_failed_response_is_an_answer_as_its_stream_is() -> None:
    failed: dict[str, Any] = {
        "status": "failed",
        "error": {"code": "server_error", "message": "boo"},
        "output": [],
        "usage": None,
    }
    reader = ResponsesReader()
    assert reader.read_body(json.dumps(failed).encode()) == failed
    assert reader.finish_reason == "failed"


@pytest.mark.parametrize("choices", [[], [7], [{}], [{"message": None}]])
def test_a_chat_without_a_message_is_no_answer(choices: list[Any]) -> None:
    with pytest.raises(UpstreamError, match=r"has no (choices|message)"):
        ChatReader().read_body(json.dumps({"choices": choices}).encode())


def is_refused(read: Any, recorded: Recorded, answer: Any) -> bool:
    try:
        read(recorded, answer)
    except UpstreamError:
        return True
    return False


def test_a_reader_that_makes_sense_of_its_answer_is_as_it_was() -> None:
    recorded = next(each for each in ALL if each.file == "openai-chat-tools.json")
    plain, reader = recorded.reader(), guarded(recorded.reader())
    assert reader.read_body(recorded.raw) == plain.read_body(recorded.raw)
    assert (reader.reply(), reader.usage, reader.finish_reason) == (plain.reply(), plain.usage, plain.finish_reason)
    assert (reader.produced_tokens(), reader.service_tier) == (plain.produced_tokens(), plain.service_tier)


@pytest.mark.parametrize("kind", [ChatReader, ResponsesReader])
def test_what_was_produced_before_and_after_an_odd_event_counts(kind: type[ChatReader] | type[ResponsesReader]) -> None:
    reader = guarded(kind())
    if kind is ChatReader:
        words, odd = b'{"choices":[{"index":0,"delta":{"content":"one two"}}]}', b'{"choices":[{"delta":true}]}'
    else:
        words, odd = b'{"type":"response.output_text.delta","delta":"one two"}', b'{"type":"x","output":true}'
    for event in (words, odd, words):
        reader.read_event(event)
    assert reader.produced_tokens() == 4
