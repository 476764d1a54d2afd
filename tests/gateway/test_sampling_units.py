"""What a scorer is shown of an answer that has gone out, what is remembered of it until then, and how many are taken."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from routing.candidates import Candidate
from routing.errors import UpstreamError
from routing.model_facts import Quote
from routing.plans import Plan
from routing.requirements import FellOut, Requirements
from routing.review_plans import ScoringPlan
from routing.upstreams.base import Wire
from spendhub.gateway.begun import Begun
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import ClientLeft, Exchange, Message
from spendhub.gateway.heard_exchange import MAX_HEARD_BYTES, HeardExchange
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.sampling import MOST_PER_TENANT, MOST_SAMPLES, Sample, Samples, ending_seconds
from spendhub.gateway.words_sent import words_sent
from spendhub.tenants.attribution import NOBODY
from tests.routing.strategies.facts import priced

# What a scorer is shown


def events(*told: Mapping[str, Any] | str) -> bytes:
    """A stream's events; those with a type are named by it."""
    lines = []
    for each in told:
        data = each if isinstance(each, str) else json.dumps(each)
        name = f"event: {each['type']}\n" if isinstance(each, Mapping) and "type" in each else ""
        lines.append(f"{name}data: {data}\n\n")
    return "".join(lines).encode()


def chunk(delta: Mapping[str, Any], *, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def response(*output: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "r", "output": list(output), **facts}}


def candidate(*parts: Mapping[str, Any], finish: str = "STOP") -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, "index": 0}]}


TOOL = '[asks for the tool f with {"a":1}]'
STREAMS: list[tuple[Wire, bytes, str]] = [
    ("chat", events(chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, finish="stop"), "[DONE]"), "Hello"),
    (
        "chat",
        events(chunk({"content": "one"}), chunk({"content": "two"}, index=1), chunk({}, finish="stop"), chunk({}, index=1, finish="stop"), "[DONE]"),
        "one",
    ),
    ("chat", events(chunk({"reasoning_content": "hm"}), chunk({"content": "Hello"}), chunk({}, finish="stop"), "[DONE]"), "Hello"),
    (
        "chat",
        events(
            chunk({"content": "See:"}),
            chunk({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a"'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}), chunk({}, finish="tool_calls"), "[DONE]",
        ),
        f"See:\n{TOOL}",
    ),
    ("chat", events(chunk({"refusal": "No."}), chunk({}, finish="stop"), "[DONE]"), ""),
    ("chat", events(chunk({"content": "Well"}), chunk({}, finish="content_filter"), "[DONE]"), ""),
    ("chat", events(chunk({}, finish="stop"), "[DONE]"), ""),
    (
        "messages",
        events(
            {"type": "message_start", "message": {"id": "m", "model": "m"}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"input_tokens": 1, "output_tokens": 1}},
            {"type": "message_stop"},
        ),
        f"Hello\n{TOOL}",
    ),
    (
        "messages",
        events(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "message_delta", "delta": {"stop_reason": "refusal"}}, {"type": "message_stop"},
        ),
        "",
    ),
    ("generate", events(candidate({"text": "hm", "thought": True}, {"text": "Hel"}, finish=""), candidate({"text": "lo"})), "Hello"),
    ("generate", events(candidate({"functionCall": {"name": "f", "args": {"a": 1}}})), TOOL),
    ("generate", events(candidate({"text": "Hello"}, finish="SAFETY")), ""),
    ("generate", events({"promptFeedback": {"blockReason": "SAFETY"}}), ""),
    (
        "responses",
        events(
            {"type": "response.output_text.delta", "delta": "Hello"},
            response({"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}, {"type": "function_call", "name": "f", "arguments": '{"a":1}'}),
        ),
        f"Hello\n{TOOL}",
    ),
    ("responses", events(response({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]})), ""),
    ("responses", events(response({"type": "message", "content": [{"type": "output_text", "text": "Hel"}]}, incomplete_details={"reason": "content_filter"})), ""),
    ("responses", events({"type": "response.output_text.delta", "delta": "Hello"}), ""),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "sent", "words"), STREAMS)
def test_a_stream_is_read_as_its_client_was_sent_it_and_a_refusal_says_nothing(
    wire: Wire, sent: bytes, words: str
) -> None:
    assert words_sent(wire, sent, is_stream=True) == words


WHOLE: list[tuple[Wire, dict[str, Any], str]] = [
    ("chat", {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}, "Hello"),
    ("chat", {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}, ""),
    ("messages", {"content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}, "Hello"),
    ("messages", {"content": [], "stop_reason": "refusal"}, ""),
    ("generate", candidate({"text": "Hello"}), "Hello"),
    ("generate", {"promptFeedback": {"blockReason": "SAFETY"}}, ""),
    ("responses", {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}, "Hello"),
    ("responses", {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, ""),
]


@pytest.mark.parametrize(("wire", "sent", "words"), WHOLE)
def test_a_whole_answer_is_read_likewise(wire: Wire, sent: dict[str, Any], words: str) -> None:
    assert words_sent(wire, json.dumps(sent).encode(), is_stream=False) == words


@pytest.mark.parametrize("wire", ["chat", "messages", "generate", "responses"])
def test_what_has_no_known_shape_is_an_error_that_is_named(wire: Wire) -> None:
    with pytest.raises(UpstreamError):
        words_sent(wire, b"[]", is_stream=False)


# What is remembered until then


class Sent(list[Message]):
    """What a client was sent; it leaves before the message `leaves_at`."""

    leaves_at: int | None = None

    async def send(self, message: Message) -> None:
        if len(self) == self.leaves_at:
            raise OSError("the connection is closed")
        self.append(message)


def heard_exchange(sent: Sent) -> HeardExchange:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    return HeardExchange(Exchange({"method": "POST", "path": "/", "headers": []}, receive, sent.send))


async def stream(exchange: Exchange, *pieces: bytes) -> None:
    await exchange.begin([])
    for piece in pieces[:-1]:
        await exchange.write(piece)
    await exchange.end(pieces[-1])


def test_an_answer_is_heard_once_it_has_gone_out_to_its_end() -> None:
    sent, whole = Sent(), heard_exchange(Sent())
    streamed = heard_exchange(sent)
    assert (streamed.heard, whole.heard) == (None, None)
    asyncio.run(stream(streamed, b"a", b"b", b"c"))
    asyncio.run(whole.answer(200, b"all", []))
    assert (streamed.heard, whole.heard) == (b"abc", b"all")
    assert [message.get("body") for message in sent] == [None, b"a", b"b", b"c"]


def test_what_was_heard_is_remembered_once() -> None:
    asyncio.run(stream(exchange := heard_exchange(Sent()), b"a", b"b"))
    assert exchange.heard == b"ab"
    assert exchange._pieces == []


def test_errors_and_what_did_not_go_out_or_is_too_long_are_not_heard() -> None:
    failed, broken, left, long, longer = (heard_exchange(Sent()) for _ in range(5))
    asyncio.run(failed.answer(402, b"no", []))
    asyncio.run(broken.fail(b"an error"))
    gone = Sent()
    gone.leaves_at = 2
    left = heard_exchange(gone)
    with pytest.raises(ClientLeft):
        asyncio.run(stream(left, b"a", b"b"))
    asyncio.run(stream(long, b"x" * MAX_HEARD_BYTES, b"y"))
    asyncio.run(longer.answer(200, b"x" * (MAX_HEARD_BYTES + 1), []))
    assert [each.heard for each in (failed, broken, left, long, longer)] == [None] * 5


# How many are taken

ORIGIN = Origin(cast(Any, SimpleNamespace(tenant_id=1)), NOBODY, "trace")


@pytest.fixture(autouse=True)
def no_brake_pauses_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spendhub.gateway.sampling.is_held_up", lambda principal, attribution: False)


BODY = {"messages": [{"role": "user", "content": "hello"}]}
REQUEST = CallRequest(wire="chat", body=BODY, model="m")


CALL = cast(OpenCall, SimpleNamespace(request_id="r", model=priced("a", 1, 1)))


def take(
    samples: Samples, *, answering: str = "a", scorer: Candidate | FellOut | None = None, tenant_id: int = 1,
    request: CallRequest = REQUEST, demanded: Callable[[], Requirements] | None = None,
) -> Sample | None:  # fmt: skip
    model = priced("scorer", 1, 1)
    scorer = scorer or Candidate(model, Quote(model, model.prices.prices[0], False))
    plan = Plan((), scoring=ScoringPlan(scorer), demanded=demanded)
    origin = replace(ORIGIN, principal=cast(Any, SimpleNamespace(tenant_id=tenant_id)))
    call = cast(OpenCall, SimpleNamespace(model=priced(answering, 1, 1)))
    return samples.begin(origin, request, plan, CHAT_DIALECT, cast(Any, None), call)


def taken(samples: Samples, **facts: Any) -> Sample:
    sample = take(samples, **facts)
    assert sample is not None
    return sample


async def let_others_run() -> None:
    """Until whatever was begun has ended."""
    others = asyncio.all_tasks() - {cast(Any, asyncio.current_task())}
    if others:
        await asyncio.wait(others)


def test_more_than_the_most_are_dropped_until_one_has_ended() -> None:
    samples = Samples(most=2)
    first, _ = taken(samples), taken(samples)
    assert take(samples) is None
    first.listen(heard_exchange(Sent()))
    first.end(cast(Any, None))  # nothing of it has gone out
    taken(samples)
    assert take(samples) is None


def test_one_tenant_takes_no_more_than_its_part_of_them() -> None:
    samples = Samples(most=3, most_per_tenant=2)
    first, _ = taken(samples), taken(samples)
    assert take(samples) is None
    taken(samples, tenant_id=2)
    assert take(samples, tenant_id=2) is None  # all three are under way
    first.listen(heard_exchange(Sent()))
    first.end(cast(Any, None))
    taken(samples)
    assert (take(samples), take(samples, tenant_id=2)) == (None, None)
    assert MOST_SAMPLES // MOST_PER_TENANT == 4


def test_a_score_counts_until_it_has_ended_and_a_process_that_stops_takes_none() -> None:
    samples = Samples(most=1)

    async def score_one() -> None:
        taken(samples).score(CALL, lambda: "")  # there is nothing to score
        assert take(samples) is None
        await samples.stop()
        assert take(samples) is None
        samples.start()
        taken(samples)

    asyncio.run(score_one())


def test_an_answer_that_ends_while_the_process_stops_is_scored_no_more() -> None:
    samples, read = Samples(most=1), list[str]()

    def words() -> str:
        read.append("read")
        return ""

    async def score_one() -> None:
        sample = taken(samples)
        await samples.stop()
        sample.score(CALL, words)
        await let_others_run()
        samples.start()
        taken(samples)  # it counts no more

    asyncio.run(score_one())
    assert read == []


@pytest.mark.parametrize(("drain_seconds", "seconds"), [(1, 0.25), (4, 1.0), (12, 3.0), (30, 3.0), (3600, 3.0)])
def test_what_ending_scores_may_take_is_a_part_of_what_the_process_has_for_stopping(
    settings: Any, drain_seconds: int, seconds: float
) -> None:
    settings.DRAIN_SECONDS = drain_seconds
    assert ending_seconds() == seconds


def test_a_process_that_stops_does_not_wait_for_a_score_that_cannot_be_broken_off() -> None:
    samples, ended = Samples(most=1), list[str]()

    async def stop_beside_one() -> None:
        booked = asyncio.Event()

        async def booking() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await booked.wait()  # a ledger that does not answer
                ended.append("booked")

        taken(samples)
        samples.run(booking(), tenant_id=1)
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await samples.stop(0.01)
        assert ended == []
        booked.set()
        await let_others_run()

    asyncio.run(stop_beside_one())
    assert ended == ["booked"]


@pytest.mark.parametrize(("is_complete", "times_read"), [(True, 1), (False, 0)])
def test_a_stream_that_was_ended_before_its_vendor_had_ended_is_not_scored(is_complete: bool, times_read: int) -> None:
    samples, read = Samples(most=1), list[bytes]()
    answer = events(chunk({}, finish="stop"), "[DONE]")  # without words, so that nobody is asked
    reader = SimpleNamespace(is_complete=is_complete)
    begun = cast(Begun, SimpleNamespace(call=CALL, execution=SimpleNamespace(reader=reader)))

    def words(wire: Wire, sent: bytes, *, is_stream: bool) -> str:
        read.append(sent)
        return ""

    async def end_one() -> None:
        sample = taken(samples, request=CallRequest(wire="chat", body=BODY, model="m", is_stream=True))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("spendhub.gateway.sampling.words_sent", words)
            await stream(sample.listen(heard_exchange(Sent())), answer)
            sample.end(begun)
            await let_others_run()
        taken(samples)  # it counts no more

    asyncio.run(end_one())
    assert read == [answer] * times_read


def test_answers_are_read_one_after_the_other() -> None:
    samples, meeting, met = Samples(most=2), threading.Barrier(2), list[bool]()

    def words() -> str:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)
            met.append(True)
        return ""

    async def score_two() -> None:
        for _ in range(2):
            taken(samples).score(CALL, words)
        await let_others_run()

    asyncio.run(score_two())
    assert met == []


def test_once_an_answer_has_ended_nothing_is_kept_of_its_request_but_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, is_read = Samples(most=1), threading.Event()

    class Body(dict[str, Any]):
        """One that a weak reference can be had of."""

    def words(wire: Wire, sent: bytes, *, is_stream: bool) -> str:
        assert is_read.wait(20)
        return ""

    async def end_one() -> weakref.ref[Body]:
        request = CallRequest(wire="chat", body=Body(BODY), model="m")
        sample = taken(samples, request=request, demanded=lambda: cast(Requirements, request))
        await sample.listen(heard_exchange(Sent())).answer(200, b"all", [])
        sample.end(
            cast(Begun, SimpleNamespace(call=SimpleNamespace(request_id="r", model=CALL.model, request=request)))
        )
        return weakref.ref(cast(Body, request.body))

    async def score_one() -> None:
        body = await end_one()
        await asyncio.sleep(0)
        gc.collect()
        is_kept = body() is not None
        is_read.set()
        await let_others_run()
        assert not is_kept

    monkeypatch.setattr("spendhub.gateway.sampling.words_sent", words)
    asyncio.run(score_one())


def test_a_request_whose_words_cannot_be_read_is_scored_by_nobody_and_breaks_nothing() -> None:
    samples = Samples(most=1)
    taken(samples, request=CallRequest(wire="chat", body={}, model="m")).score(CALL, lambda: "")
    taken(samples)  # it counts no more


def test_nobody_scores_himself_and_who_may_not_be_shown_the_call_scores_nothing() -> None:
    samples = Samples(most=1)
    assert take(samples, answering="scorer") is None
    assert take(samples, scorer=FellOut("scorer", "it is switched off")) is None
    taken(samples)  # neither of them was under way
