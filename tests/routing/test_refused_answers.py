"""When an answer has begun, and when it is nothing but a refusal: in each vendor's words, whole and as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from routing import execution
from routing.errors import UpstreamError
from routing.execution import Execution
from routing.refused_answers import Ear, ear_for
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES, Wire
from routing.upstreams.registry import dialect_of
from routing.upstreams.sse import SseEvent
from tests.routing.facts import model_facts
from tests.routing.test_trials import DONE, KEY, WORD, Scripted, begin, breakers, rules

__all__ = ["breakers", "rules"]  # fixtures
RECORDED = Path(__file__).parent / "upstreams" / "recorded"
DIALECTS: dict[Wire, str] = {CHAT: "openai", RESPONSES: "openai", MESSAGES: "anthropic", GENERATE: "gemini"}


def ear(wire: Wire) -> Ear:
    return ear_for(model_facts("m", dialect=DIALECTS[wire]), wire)


def heard(wire: Wire, *events: dict[str, Any] | bytes) -> tuple[bool, bool]:
    """Whether a stream of these events has begun, and whether it refuses."""
    found = ear(wire)
    found.hear([(SseEvent(each if isinstance(each, bytes) else json.dumps(each).encode()), None) for each in events])
    return found.has_begun, found.refuses


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def block(**facts: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": facts}


def said(*parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


def item(kind: str) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": 0, "item": {"id": "i", "type": kind}}


def ended(status: str = "completed", *output: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"status": status, "output": list(output), **facts}}


STOPPED = {"type": "message_delta", "delta": {"stop_reason": "refusal"}}
AZURES_FIRST: dict[str, Any] = {"choices": [], "id": "", "model": "", "prompt_filter_results": []}
BEGUN: list[tuple[Wire, dict[str, Any]]] = [
    (CHAT, chunk(content="hi")),
    (CHAT, chunk(reasoning_content="hm")),
    (CHAT, chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])),
    (CHAT, chunk(function_call={"name": "f", "arguments": ""})),
    (CHAT, chunk(audio={"data": "AAAA"})),
    (MESSAGES, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
    (MESSAGES, {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
    (MESSAGES, block(type="tool_use", id="t", name="f", input={})),
    (MESSAGES, block(type="server_tool_use", id="t", name="web_search", input={})),
    (GENERATE, said({"text": "hi"})),
    (GENERATE, said({"text": "hm", "thought": True})),
    (GENERATE, said({"functionCall": {"name": "f", "args": {}}})),
    (GENERATE, said({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})),
    (RESPONSES, {"type": "response.output_text.delta", "delta": "hi"}),
    (RESPONSES, {"type": "response.reasoning_summary_text.delta", "delta": "hm"}),
    (RESPONSES, item("function_call")),
    (RESPONSES, item("web_search_call")),
]
NOT_YET: list[tuple[Wire, dict[str, Any]]] = [
    (CHAT, AZURES_FIRST),
    (CHAT, chunk(role="assistant", content="", refusal=None)),
    (CHAT, chunk(refusal="I can")),
    (CHAT, chunk(content=[{"type": "refusal", "refusal": "I can"}])),
    (MESSAGES, {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    (MESSAGES, {"type": "ping"}),
    (MESSAGES, block(type="text", text="")),
    (MESSAGES, block(type="thinking", thinking="", signature="")),
    (MESSAGES, {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
    (MESSAGES, block(type="redacted_thinking", data="d")),
    (GENERATE, said({"text": ""})),
    (GENERATE, said({"text": "", "thoughtSignature": "s"})),
    (RESPONSES, {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}),
    (RESPONSES, item("reasoning")),
    (RESPONSES, item("message")),
    (RESPONSES, {"type": "response.refusal.delta", "delta": "I can"}),
]
REFUSED: list[tuple[Wire, list[dict[str, Any] | bytes]]] = [
    (CHAT, [chunk(role="assistant"), chunk(refusal="I cannot"), chunk("stop"), b"[DONE]"]),
    (CHAT, [chunk(content=[{"type": "refusal", "refusal": "I cannot"}]), chunk("stop"), b"[DONE]"]),
    (CHAT, [AZURES_FIRST, chunk(role="assistant", content=""), chunk("content_filter"), b"[DONE]"]),
    (CHAT, [chunk("content_filter"), chunk("content_filter", 1), b"[DONE]"]),
    (CHAT, [chunk("sensitive"), b"[DONE]"]),
    (MESSAGES, [block(type="redacted_thinking", data="d"), STOPPED, {"type": "message_stop"}]),
    (GENERATE, [{"promptFeedback": {"blockReason": "OTHER"}}, b"[DONE]"]),  # as its reader says that the body has ended
    (GENERATE, [said(finish="SAFETY"), b"[DONE]"]),
    (GENERATE, [said(finish="PROHIBITED_CONTENT"), b"[DONE]"]),
    (GENERATE, [said(finish="BLOCKLIST"), b"[DONE]"]),
    (GENERATE, [said(finish="SPII"), b"[DONE]"]),
    (GENERATE, [said(finish="RECITATION"), b"[DONE]"]),
    (RESPONSES, [item("message"), {"type": "response.refusal.delta", "delta": "No"}, ended()]),
    (RESPONSES, [ended("incomplete", incomplete_details={"reason": "content_filter"})]),
    (RESPONSES, [ended("failed", error={"code": "image_content_policy_violation", "message": "no"})]),
]
STAYS: list[tuple[Wire, list[dict[str, Any] | bytes]]] = [
    (CHAT, [chunk("stop"), b"[DONE]"]),
    (CHAT, [chunk("length"), b"[DONE]"]),
    (CHAT, [chunk("content_filter"), chunk("stop", 1), b"[DONE]"]),
    (CHAT, [chunk("content_filter")]),  # it may go on
    (MESSAGES, [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]),
    (GENERATE, [said(finish="STOP"), b"[DONE]"]),
    (GENERATE, [said(finish="SAFETY")]),  # it may go on
    (GENERATE, [said(finish="MAX_TOKENS"), b"[DONE]"]),
    (RESPONSES, [ended()]),
    (RESPONSES, [ended("incomplete", incomplete_details={"reason": "max_output_tokens"})]),
    (RESPONSES, [ended("failed", error={"code": "server_error", "message": "safety"})]),
]


@pytest.mark.parametrize(("wire", "event"), BEGUN)
def test_words_thoughts_and_tools_begin_an_answer(wire: Wire, event: dict[str, Any]) -> None:
    assert heard(wire, event) == (True, False)


@pytest.mark.parametrize(("wire", "event"), NOT_YET)
def test_other_events_do_not(wire: Wire, event: dict[str, Any]) -> None:
    assert heard(wire, event) == (False, False)


@pytest.mark.parametrize(("wire", "events"), REFUSED)
def test_an_answer_that_ends_without_them_for_its_content_refuses(wire: Wire, events: list[Any]) -> None:
    assert heard(wire, *events) == (False, True)


@pytest.mark.parametrize(("wire", "events"), STAYS)
def test_one_that_ends_for_another_reason_does_not(wire: Wire, events: list[Any]) -> None:
    assert heard(wire, *events) == (False, False)


@pytest.mark.parametrize(
    ("wire", "event"),
    [
        (CHAT, {"id": "c", "choices": 7}),
        (MESSAGES, {"type": "message_start", "message": 7}),
        (GENERATE, {"error": {"message": "boo"}}),
    ],
)
def test_events_that_make_no_sense_are_not_kept_from_the_client(wire: Wire, event: dict[str, Any]) -> None:
    assert heard(wire, event) == (True, False)


@pytest.mark.parametrize(("wire", "events"), REFUSED)
def test_what_is_no_json_says_nothing(wire: Wire, events: list[Any]) -> None:
    assert heard(wire, b"{not json") == (False, False)
    assert heard(wire, b"{not json", *events) == (False, True)


def whole(wire: Wire, body: dict[str, Any]) -> bool:
    found = ear(wire)
    found.hear_whole(json.dumps(body).encode())
    return found.refuses


def completion(finish: str, **message: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
TEXT, REFUSAL = {"type": "output_text", "text": "hi"}, {"type": "refusal", "refusal": "no"}


@pytest.mark.parametrize(
    ("wire", "body", "refuses"),
    [
        (CHAT, completion("stop", content=None, refusal="I cannot"), True),
        (CHAT, completion("stop", content=[REFUSAL]), True),
        (CHAT, completion("stop", content=[{"type": "text", "text": "hi"}, REFUSAL]), False),
        (CHAT, completion("content_filter"), True),
        (CHAT, completion("content_filter", content="", reasoning_content="hm"), True),
        (CHAT, completion("content_filter", content="I"), False),
        (CHAT, completion("content_filter", content=None, function_call={"name": "f", "arguments": "{}"}), False),
        (CHAT, completion("stop", content=""), False),
        (MESSAGES, {"content": [], "stop_reason": "refusal"}, True),
        # Nobody has seen the thoughts of a whole answer yet.
        (MESSAGES, {"content": [THOUGHT], "stop_reason": "refusal"}, True),
        (MESSAGES, {"content": [{"type": "text", "text": "I"}], "stop_reason": "refusal"}, False),
        (MESSAGES, {"content": [{"type": "web_search_tool_result"}], "stop_reason": "refusal"}, False),
        (GENERATE, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, True),
        (GENERATE, said(finish="SAFETY"), True),
        (GENERATE, said({"text": "I"}, finish="SAFETY"), False),
        (GENERATE, said({"inlineData": {}}, finish="IMAGE_SAFETY"), False),
        (RESPONSES, {"status": "completed", "output": [{"type": "message", "content": [REFUSAL]}]}, True),
        (RESPONSES, {"status": "completed", "output": [{"type": "message", "content": [TEXT, REFUSAL]}]}, False),
        (RESPONSES, {"status": "incomplete", "output": [], "incomplete_details": {"reason": "content_filter"}}, True),
        (RESPONSES, {"status": "completed", "output": []}, False),
        (RESPONSES, {"output": "none"}, False),
        (CHAT, {}, False),
    ],
)  # fmt: skip
def test_a_whole_answer_refuses_where_it_has_said_no_words(wire: Wire, body: dict[str, Any], refuses: bool) -> None:
    assert whole(wire, body) is refuses


@pytest.mark.parametrize(
    ("file", "dialect"), [("anthropic-refusal-stream.sse", "anthropic"), ("gemini-blocked-stream.sse", "gemini")]
)
@pytest.mark.parametrize("is_native", [False, True])
def test_recorded_refusals_are_heard(file: str, dialect: str, is_native: bool) -> None:
    model = model_facts("m", dialect=dialect)
    wire = {"anthropic": MESSAGES, "gemini": GENERATE}[dialect] if is_native else None
    found, vendor = ear_for(model, wire), Scripted((RECORDED / file).read_bytes())
    execution = Execution(model, vendor, dialect_of(model).reader(wire), is_translated=not is_native)
    asyncio.run(execution.look_ahead(is_stream=True, ear=found))
    assert (found.has_begun, found.refuses) == (False, True)


REFUSAL_STREAM = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n',
    DONE,
)


def test_a_refusal_is_a_success_of_its_vendors_and_can_still_be_handed_on(breakers: Any) -> None:
    vendor, found = Scripted(*REFUSAL_STREAM, is_silent_then=True), ear(CHAT)

    async def look_and_read() -> bytes:
        begun = await begin(breakers, vendor)
        await begun.look_ahead(is_stream=True, ear=found)
        assert breakers.standing()[KEY].failures == 0 and vendor.times_closed == 1
        return b"".join([event.encode() async for event, _ in begun.events()])

    assert asyncio.run(look_and_read()) == b"".join(REFUSAL_STREAM)
    assert found.refuses


def test_an_answer_that_has_begun_is_handed_on_while_it_goes_on(breakers: Any) -> None:
    vendor = Scripted(REFUSAL_STREAM[0], WORD, is_silent_then=True)

    async def first_events() -> list[bytes]:
        begun = await begin(breakers, vendor)
        await begun.look_ahead(is_stream=True, ear=ear(CHAT))
        bursts = begun.bursts()
        found = [(await anext(bursts))[0][0].encode() for _ in range(2)]
        await bursts.aclose()
        return found

    assert asyncio.run(first_events()) == [REFUSAL_STREAM[0], WORD]


def test_a_stream_that_ends_in_the_middle_before_its_first_word_is_no_answer(breakers: Any) -> None:
    async def look() -> None:
        begun = await begin(breakers, Scripted(REFUSAL_STREAM[0]))
        await begun.look_ahead(is_stream=True, ear=ear(CHAT))

    with pytest.raises(UpstreamError, match="ended its stream in the middle"):
        asyncio.run(look())
    assert breakers.standing()[KEY].failures == 2


class Chatty(Scripted):
    """A stream that goes on with one more chunk for as long as it is read."""

    def __init__(self, *chunks: bytes, then: bytes) -> None:
        super().__init__(*chunks)
        self.then, self.bytes_sent = then, 0

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        async for chunk in super().aiter_bytes():
            yield chunk
        while True:
            await asyncio.sleep(0)
            self.bytes_sent += len(self.then)
            yield self.then


def test_a_refusal_that_has_ended_is_not_waited_for_by_the_chunk(
    breakers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "CLOSING_SECONDS", 0.05)
    vendor, found = Chatty(*REFUSAL_STREAM, then=b": still here\n\n"), ear(CHAT)

    async def look() -> None:
        begun = await begin(breakers, vendor)
        async with asyncio.timeout(30):
            await begun.look_ahead(is_stream=True, ear=found)

    asyncio.run(look())
    assert (found.refuses, vendor.times_closed, breakers.standing()[KEY].failures) == (True, 1, 0)


def test_a_stream_that_never_says_a_word_is_kept_back_up_to_a_size_and_then_handed_on(
    breakers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "MAX_KEPT_BACK_BYTES", 10 * len(REFUSAL_STREAM[0]))
    vendor, found = Chatty(then=REFUSAL_STREAM[0]), ear(CHAT)

    async def look_and_read() -> bytes:
        begun = await begin(breakers, vendor)
        async with asyncio.timeout(30):
            await begun.look_ahead(is_stream=True, ear=found)
        assert vendor.bytes_sent == 11 * len(REFUSAL_STREAM[0])
        bursts = begun.bursts()
        told = b"".join([(await anext(bursts))[0][0].encode() for _ in range(12)])
        await bursts.aclose()
        return told

    assert asyncio.run(look_and_read()) == 12 * REFUSAL_STREAM[0]
    assert (found.has_begun, found.refuses) == (True, False)
