"""Calls against a fake vendor that speaks the full wire format over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from routing import execution
from routing.asking import Asked, check_can_be_said, execute
from routing.conversation import Conversation, Message, NotTranslatable, Text
from routing.errors import (
    AnswerTooLate,
    CredentialMissing,
    DialectNotSpoken,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from routing.execution import Burst, Execution
from routing.key_choice import choose_key
from routing.token_usage import TokenUsage
from routing.upstreams import sse, transport
from routing.upstreams.base import CHAT, GENERATE
from routing.upstreams.odd_answers import guarded
from routing.upstreams.registry import dialect_of
from routing.upstreams.sse import UnreadEvents
from routing.upstreams.transport import HttpTransport
from tests.fakes.openai_upstream import WORDS_OF_ANSWER, FakeOpenAI
from tests.routing.facts import chat, model_facts, say
from tests.routing.test_trials import Scripted

USAGE_OF_HELLO = TokenUsage(input_tokens=8, output_tokens=15)


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running


@pytest.fixture(autouse=True)
def vendor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", "sk-fake")


def ask(
    vendor: FakeOpenAI, text: str = "hello", *, is_stream: bool = False, timeout: int = 5, looks_ahead: bool = False,
    **body: Any,
) -> Answered:  # fmt: skip
    """Makes one call and reads it to its end."""
    return asyncio.run(_ask(vendor, text, is_stream, timeout, body, looks_ahead=looks_ahead))


class Answered:
    """What came of a call."""

    def __init__(self, execution: Execution, body: bytes, events: list[bytes], error: Exception | None) -> None:
        self.execution, self.body, self.events, self.error = execution, body, events, error
        self.reader = execution.reader

    @property
    def text(self) -> str:
        """The answer's text, put together from the stream."""
        deltas = [json.loads(event)["choices"] for event in self.events if event != b"[DONE]"]
        return "".join(choice[0]["delta"].get("content") or "" for choice in deltas if choice)


async def _ask(
    vendor: FakeOpenAI, text: str, is_stream: bool, timeout: int, extra: dict[str, Any], *, looks_ahead: bool
) -> Answered:
    client = HttpTransport()
    model = model_facts("m", base_url=vendor.base_url, api_key_env="FAKE_KEY", timeout_seconds=timeout)
    body = {"model": "alias-of-m", "messages": [{"role": "user", "content": text}], **extra}
    events: list[bytes] = []
    whole, failed = b"", None
    try:
        begun = await execute(model, chat(body, is_stream=is_stream), transport=client)
        try:
            if looks_ahead:
                await begun.look_ahead(is_stream=is_stream)
            if is_stream:
                async for event, _ in begun.events():
                    events.append(event.data)
            else:
                whole = await begun.read()
        except UpstreamError as error:
            failed = error
        return Answered(begun, whole, events, failed)
    finally:
        await client.aclose()


def test_the_vendor_is_asked_for_its_own_name_with_its_own_key_and_nothing_of_ours(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, temperature=0.1, spendhub={"secret": 1}, stream_options={"include_usage": True})
    sent = vendor.served.requests[-1]
    assert sent["body"] == {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.1}
    assert sent["headers"]["authorization"] == "Bearer sk-fake"
    assert json.loads(asked.body)["choices"][0]["message"]["content"] == WORDS_OF_ANSWER
    assert asked.reader.usage == USAGE_OF_HELLO
    assert asked.reader.finish_reason == "stop"
    assert asked.reader.produced_tokens() > 0


@pytest.mark.parametrize("is_translated", [False, True])
def test_what_is_pinned_is_written_into_the_request_however_it_is_said(vendor: FakeOpenAI, is_translated: bool) -> None:
    native = chat({"model": "m", "messages": [{"role": "user", "content": "hello"}], "provider": {"sort": "price"}})
    asked = say(Conversation((Message("user", (Text("hello"),)),))) if is_translated else native
    model = model_facts("m", base_url=vendor.base_url, api_key_env="FAKE_KEY")

    async def ask_pinned() -> None:
        client = HttpTransport()
        try:
            begun = await execute(model, replace(asked, pins={"provider": {"max_price": 1}}), transport=client)
            await begun.read()
        finally:
            await client.aclose()

    asyncio.run(ask_pinned())
    sent = vendor.served.requests[-1]["body"]
    assert sent["provider"] == {"max_price": 1}
    assert json.dumps("hello") in json.dumps(sent["messages"])


def test_a_stream_is_asked_for_its_usage_even_when_the_client_did_not(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, is_stream=True)
    assert vendor.served.requests[-1]["body"]["stream_options"] == {"include_usage": True}
    assert asked.text == WORDS_OF_ANSWER
    assert asked.events[-1] == b"[DONE]"
    assert asked.reader.usage == USAGE_OF_HELLO


@pytest.mark.parametrize("fault", ["split-utf8", "crlf", "usage-every-chunk", "slow-stream"])
def test_a_stream_reads_the_same_however_it_is_cut(vendor: FakeOpenAI, fault: str) -> None:
    asked = ask(vendor, f"hello [fault:{fault}]", is_stream=True)
    assert asked.text == WORDS_OF_ANSWER
    assert asked.reader.usage == TokenUsage(input_tokens=9, output_tokens=15)


def test_cached_written_and_reasoning_tokens_are_counted_in_one_place_each(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[in:10] [cached:30] [written:5] [out:7] [reasoning:20]")
    assert asked.reader.usage == TokenUsage(
        input_tokens=10, cache_read_tokens=30, cache_write_tokens=5, output_tokens=27, reasoning_tokens=20
    )


@pytest.mark.parametrize("is_stream", [False, True])
def test_tool_calls_pass_through_whole(vendor: FakeOpenAI, is_stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    asked = ask(vendor, tools=[tool], is_stream=is_stream)
    assert asked.reader.usage == TokenUsage(input_tokens=8, output_tokens=5)
    if is_stream:
        pieces = [json.loads(event)["choices"] for event in asked.events[:-1]]
        calls = [
            choice[0]["delta"]["tool_calls"][0] for choice in pieces if choice and "tool_calls" in choice[0]["delta"]
        ]
        assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Köln"}
    else:
        call = json.loads(asked.body)["choices"][0]["message"]["tool_calls"][0]
        assert json.loads(call["function"]["arguments"]) == {"city": "Köln"}


@pytest.mark.parametrize(("status", "retry_after"), [(500, 1), (401, None), (429, 7), (503, 1)])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_refusal_keeps_the_vendors_status_and_words(
    vendor: FakeOpenAI, status: int, retry_after: int | None, is_stream: bool
) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        ask(vendor, f"[fault:{status}]", is_stream=is_stream)
    assert refused.value.status == status
    assert json.loads(refused.value.body)["error"]["message"] == f"fault {status} on demand"
    assert refused.value.retry_after_seconds == retry_after


def test_a_vendor_that_does_not_answer_in_time_is_a_timeout(vendor: FakeOpenAI) -> None:
    with pytest.raises(UpstreamTimeout) as failed:
        ask(vendor, "[fault:hang]", timeout=1)
    assert failed.value.was_asked


def test_a_vendor_that_hangs_up_is_an_upstream_error(vendor: FakeOpenAI) -> None:
    with pytest.raises(UpstreamError):
        ask(vendor, "[fault:reset-at-once]")


def test_nobody_listening_is_an_upstream_error() -> None:
    stopped = FakeOpenAI(port=1)
    with pytest.raises(UpstreamError):
        ask(stopped)


@pytest.mark.parametrize("seconds", [0.0, 2.0])
@pytest.mark.parametrize("fault", ["slow-stream", "split-utf8", "crlf"])
def test_looking_ahead_at_a_stream_takes_nothing_from_it_whether_its_first_events_come_soon_or_late(
    vendor: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, fault: str, seconds: float
) -> None:
    monkeypatch.setattr(execution, "FIRST_EVENTS_SECONDS", seconds)
    asked = ask(vendor, f"hello [fault:{fault}]", is_stream=True, looks_ahead=True)
    assert (asked.text, asked.events[-1]) == (WORDS_OF_ANSWER, b"[DONE]")
    assert asked.reader.usage == TokenUsage(input_tokens=9, output_tokens=15)


def test_looking_ahead_at_a_whole_answer_reads_it_once(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, looks_ahead=True)
    assert json.loads(asked.body)["choices"][0]["message"]["content"] == WORDS_OF_ANSWER
    assert asked.reader.usage == USAGE_OF_HELLO


def test_looking_ahead_finds_the_error_that_comes_instead_of_an_answer(vendor: FakeOpenAI) -> None:
    for fault, is_stream in (("error-at-once", True), ("broken-body", False), ("not-json", False)):
        asked = ask(vendor, f"[fault:{fault}]", is_stream=is_stream, looks_ahead=True)
        assert isinstance(asked.error, UpstreamError)
        assert asked.events == []


def test_what_comes_after_the_first_events_is_told_where_it_comes(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:error]", is_stream=True, looks_ahead=True)
    assert isinstance(asked.error, UpstreamError)
    assert WORDS_OF_ANSWER.startswith(asked.text) and asked.text


def test_a_stream_that_breaks_hands_on_what_came_and_can_be_estimated(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:reset]", is_stream=True)
    assert isinstance(asked.error, UpstreamError)
    assert WORDS_OF_ANSWER.startswith(asked.text) and asked.text
    assert asked.reader.usage is None
    assert 0 < asked.reader.produced_tokens() < 60


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_a_stream_whose_last_event_has_no_blank_line_is_whole(vendor: FakeOpenAI, looks_ahead: bool) -> None:
    asked = ask(vendor, "hello [fault:no-blank-line]", is_stream=True, looks_ahead=looks_ahead)
    assert (asked.error, asked.text, asked.events[-1]) == (None, WORDS_OF_ANSWER, b"[DONE]")
    assert asked.reader.is_complete and asked.reader.usage == TokenUsage(input_tokens=9, output_tokens=15)


def test_a_stream_that_said_why_it_ends_and_just_ended_is_given_its_end(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:no-end] [say:one two six]", is_stream=True)
    assert (asked.error, asked.text, asked.events[-1]) == (None, "one two six", b"[DONE]")
    assert asked.reader.is_complete and asked.reader.usage is None
    assert asked.reader.produced_tokens() == 3


def test_a_stream_that_stops_short_has_no_usage_but_an_estimate(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:cut]", is_stream=True)
    assert asked.error is None
    assert asked.reader.usage is None
    assert asked.reader.produced_tokens() > 0


@pytest.mark.parametrize("fault", ["no-usage", "impossible-usage"])
def test_an_answer_without_usage_leaves_it_open(vendor: FakeOpenAI, fault: str) -> None:
    assert ask(vendor, f"[fault:{fault}]").reader.usage is None
    assert ask(vendor, f"[fault:{fault}]", is_stream=True).reader.usage is None


@pytest.mark.parametrize("fault", ["not-json", "html"])
def test_an_answer_that_is_none_is_an_upstream_error(vendor: FakeOpenAI, fault: str) -> None:
    assert isinstance(ask(vendor, f"[fault:{fault}]").error, UpstreamError)


def test_a_page_instead_of_a_stream_is_an_upstream_error(vendor: FakeOpenAI) -> None:
    with pytest.raises(UpstreamError, match="not a stream"):
        ask(vendor, "[fault:html]", is_stream=True)


def test_events_that_are_no_json_pass_through_and_do_not_spoil_the_usage(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:malformed-sse]", is_stream=True)
    assert b"{not json" in asked.events
    assert asked.reader.usage == TokenUsage(input_tokens=8, output_tokens=15)
    assert asked.reader.produced_tokens() > 0


def test_a_provider_without_its_key_is_not_called(vendor: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_KEY")
    calls = vendor.served.calls
    with pytest.raises(CredentialMissing, match="FAKE_KEY"):
        ask(vendor)
    assert vendor.served.calls == calls


def test_a_provider_without_an_address_is_not_called() -> None:
    model = model_facts("m", base_url="")
    with pytest.raises(CredentialMissing, match="no address"):
        asyncio.run(execute(model, chat({"messages": []}), transport=HttpTransport()))


def test_an_answer_beyond_all_reason_is_an_upstream_error(vendor: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 100)
    assert "more than 100 bytes" in str(ask(vendor).error)


def test_an_event_beyond_all_reason_is_an_upstream_error(vendor: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    assert "an event of more than 100 bytes" in str(ask(vendor, is_stream=True).error)


def test_a_vendor_that_stops_in_the_middle_is_a_timeout(vendor: FakeOpenAI) -> None:
    asked = ask(vendor, "[fault:stall]", is_stream=True, timeout=1)
    assert isinstance(asked.error, UpstreamTimeout)
    assert WORDS_OF_ANSWER.startswith(asked.text) and asked.text


def test_a_dialect_that_has_no_folder_yet_says_so() -> None:
    model = model_facts("m", dialect="klingon", base_url="http://127.0.0.1:1")
    with pytest.raises(DialectNotSpoken, match="klingon"):
        asyncio.run(execute(model, chat({"messages": []}), transport=HttpTransport()))


def test_what_the_vendor_served_can_be_compared_with_what_was_read(vendor: FakeOpenAI) -> None:
    before = dict(vendor.served.as_json())
    usages = [ask(vendor, "one two three", is_stream=bool(number % 2)).reader.usage for number in range(4)]
    served = vendor.served
    assert served.completed - before["completed"] == 4
    assert served.prompt_tokens - before["prompt_tokens"] == sum(usage.input_tokens for usage in usages if usage)
    assert served.completion_tokens - before["completion_tokens"] == sum(
        usage.output_tokens for usage in usages if usage
    )


def test_what_a_vendor_has_no_word_for_is_named_as_the_client_has_written_it(vendor: FakeOpenAI) -> None:
    model = model_facts("m", dialect="anthropic", base_url=vendor.base_url, api_key_env="FAKE_KEY")
    calls = vendor.served.calls

    def asked(conversation: Callable[[], Conversation]) -> Asked:
        return Asked("telegraph", {}, False, conversation, own_name={"choices": "n", "output": "format"}.__getitem__)  # type: ignore[arg-type]  # on purpose

    def three() -> Conversation:
        return Conversation((Message("user", (Text("hi"),)),), choices=3)

    def only_its_own_vendors() -> Conversation:
        raise NotTranslatable("output", "another dialect")

    with pytest.raises(NotTranslatable) as refused:
        asyncio.run(execute(model, asked(three), transport=HttpTransport()))
    assert (refused.value.field, refused.value.details) == ("n", {"field": "n", "dialect": "Anthropic"})
    with pytest.raises(NotTranslatable) as refused:
        check_can_be_said(model, asked(three), choose_key(model))
    assert refused.value.field == "n"
    # What the client's own reader names is the client's word already, whatever it is.
    with pytest.raises(NotTranslatable) as refused:
        asyncio.run(execute(model, asked(only_its_own_vendors), transport=HttpTransport()))
    assert refused.value.field == "output"
    assert vendor.served.calls == calls


# --- Google's streams end where their body does ------------------------------------------------------------------
class Breaking(Scripted):
    """A vendor's stream whose connection breaks after so many chunks."""

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        async for chunk in super().aiter_bytes():
            yield chunk
        raise UpstreamTimeout("it stopped answering")


def google_says(text: str, *, finish: str | None = None) -> bytes:
    candidate = {"content": {"parts": [{"text": text}]}} | ({"finishReason": finish} if finish else {})
    counted = {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4}
    return b"data: " + json.dumps({"candidates": [candidate], "usageMetadata": counted}).encode() + b"\n\n"


async def all_of(vendor: Scripted, *, is_native: bool, looks_ahead: bool) -> tuple[list[bytes], Execution]:
    model = model_facts("m", dialect="gemini")
    wire = GENERATE if is_native else None
    begun = Execution(model, vendor, dialect_of(model).reader(wire), is_translated=not is_native)
    if looks_ahead:
        await begun.look_ahead(is_stream=True)
    return [event.data async for event, _ in begun.events()], begun


@pytest.mark.parametrize("looks_ahead", [False, True])
@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize(
    "vendor", [Scripted, Breaking, lambda *chunks: Scripted(*chunks, b'data: {"candid')], ids=["ends", "breaks", "cut"]
)
def test_googles_stream_that_has_said_why_it_ends_is_read_to_its_bodys_end_and_whole_however_that_comes(
    vendor: Callable[..., Scripted], is_native: bool, looks_ahead: bool
) -> None:
    chunks = [google_says("a", finish="STOP"), google_says("b", finish="STOP")]
    events, begun = asyncio.run(all_of(vendor(*chunks), is_native=is_native, looks_ahead=looks_ahead))
    assert [b"data: " + event + b"\n\n" for event in events[:-1]] == chunks and events[-1] == b"[DONE]"
    assert begun.reader.is_complete and begun.reader.usage == TokenUsage(input_tokens=3, output_tokens=1)


def test_googles_stream_that_breaks_before_it_has_said_why_it_ends_is_broken() -> None:
    with pytest.raises(UpstreamTimeout):
        asyncio.run(all_of(Breaking(google_says("a")), is_native=True, looks_ahead=False))
    with pytest.raises(UpstreamTimeout):
        counted = b'data: {"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}\n\n'
        asyncio.run(all_of(Breaking(counted), is_native=True, looks_ahead=False))


class Going(Scripted):
    """A vendor's stream that says one thing again and again, a moment apart, and never ends."""

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        while True:
            yield google_says("a", finish="STOP")
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_native", [False, True])
def test_googles_stream_that_goes_on_after_its_word_for_why_it_ends_is_cut_by_the_calls_deadline(
    is_native: bool,
) -> None:
    """Some say STOP with each event: that is no sign that the answer is whole."""

    async def story() -> None:
        model = model_facts("m", dialect="gemini")
        reader = dialect_of(model).reader(GENERATE if is_native else None)
        begun = Execution(model, Going(), reader, is_translated=not is_native, deadline=time.monotonic() + 0.1)
        async for _ in begun.events():
            pass

    with pytest.raises(AnswerTooLate):
        asyncio.run(story())


class Lingering(Scripted):
    """A vendor's stream whose connection stays open after its last word."""

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        async for chunk in super().aiter_bytes():
            yield chunk
        await asyncio.sleep(3600)


def test_googles_stream_whose_connection_lingers_is_whole_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LINGERING_SECONDS", 0.05)
    vendor = Lingering(google_says("a", finish="STOP"))
    events, begun = asyncio.run(all_of(vendor, is_native=True, looks_ahead=False))
    assert (len(events), events[-1], begun.reader.is_complete) == (2, b"[DONE]", True)


def test_googles_stream_that_somebody_ends_before_google_has_not_ended() -> None:
    vendor = Scripted(google_says("a"), b"data: [DONE]\n\n")
    _, begun = asyncio.run(all_of(vendor, is_native=False, looks_ahead=False))
    assert (begun.reader.is_complete, begun.reader.deltas(b"[DONE]")) == (False, [])


def test_an_error_of_googles_after_its_word_for_why_it_ends_is_told() -> None:
    error = b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\n\n'
    with pytest.raises(UpstreamError, match="UNAVAILABLE: overloaded"):
        asyncio.run(all_of(Scripted(google_says("a", finish="STOP"), error), is_native=True, looks_ahead=False))


# --- comments ----------------------------------------------------------------------------------------------------
QUEUED = b": OPENROUTER PROCESSING\n\n"
WORD = b'id: 5\nretry: 100\ndata: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'


async def bursts_of(*chunks: bytes, is_native: bool = True, looks_ahead: bool = False) -> list[Burst]:
    model = model_facts("m")
    reader = dialect_of(model).reader(CHAT if is_native else None)
    begun = Execution(model, Scripted(*chunks), reader, is_translated=not is_native)
    if looks_ahead:
        await begun.look_ahead(is_stream=True)
    return [burst async for burst in begun.bursts()]


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_comments_alone_are_handed_on_at_once_as_no_event(looks_ahead: bool) -> None:
    bursts = asyncio.run(bursts_of(QUEUED, QUEUED, WORD, END + b"data: [DONE]\n\n", looks_ahead=looks_ahead))
    assert [len(burst) for burst in bursts] == [0, 0, 1, 2]
    assert [burst.raw for burst in bursts if isinstance(burst, UnreadEvents)] == [QUEUED, QUEUED, WORD]


def test_comments_beside_events_that_are_read_stay_beside_them() -> None:
    ended = b"data: [DONE]\n\n"
    (burst,) = asyncio.run(bursts_of(QUEUED + WORD + END + QUEUED + ended + QUEUED))
    assert b"".join(event.encode() for event, _ in burst) == QUEUED + WORD + END + QUEUED + ended + QUEUED


def test_comments_of_a_stream_that_is_translated_say_nothing() -> None:
    bursts = asyncio.run(bursts_of(QUEUED, QUEUED + WORD, END, b"data: [DONE]\n\n", is_native=False))
    assert [len(burst) for burst in bursts] == [1, 1, 1]


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("is_native", [False, True])
def test_a_stream_of_nothing_but_what_a_proxy_says_has_not_begun(dialect: str, is_native: bool) -> None:
    model = model_facts("m", dialect=dialect)
    wire = {"openai": "chat", "anthropic": "messages", "gemini": "generate"}[dialect] if is_native else None
    said = b"data: upstream connect error or disconnect\n\n"
    begun = Execution(model, Scripted(said), guarded(dialect_of(model).reader(wire)), is_translated=not is_native)
    with pytest.raises(UpstreamError, match="ended its stream before it had begun"):
        asyncio.run(begun.look_ahead(is_stream=True))


def test_comments_are_no_first_event_and_no_answer() -> None:
    with pytest.raises(UpstreamError, match="ended its stream before it had begun"):
        asyncio.run(bursts_of(QUEUED, looks_ahead=True))
    error = b'data: {"error":{"code":503,"message":"overloaded"}}\n\n'
    with pytest.raises(UpstreamError, match="503: overloaded"):
        asyncio.run(bursts_of(QUEUED, error, looks_ahead=True))
