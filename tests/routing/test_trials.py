"""What a call tells its breaker: at the answer's end, once, and whatever becomes of the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from pytest_django import Settings

from routing.asking import execute
from routing.breakers import Breakers, Circuit, Trial
from routing.errors import AnswerTooLarge, AnswerTooLate, UpstreamError
from routing.execution import Execution
from routing.retries import is_failure
from routing.upstreams import transport
from routing.upstreams.base import UpstreamRequest, UpstreamResponse
from routing.upstreams.transport import HttpTransport, Transport
from tests.fakes.openai_upstream import FakeOpenAI
from tests.routing.facts import chat, model_facts

NOW = 1_800_000_000.0
KEY = "vendor/m"
WORD = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture(autouse=True)
def rules(settings: Settings) -> None:
    settings.BREAKER_FAILURES, settings.BREAKER_OPEN_SECONDS = 5, 30


@pytest.fixture
def breakers() -> Breakers:
    """One failure is known: a success makes it none, another failure two, and what tells nothing leaves it at one."""
    found = Breakers()
    found.note_failure(KEY, NOW)
    return found


@pytest.fixture
def probed() -> Breakers:
    """Half open, one probe under way."""
    found = Breakers()
    for _ in range(5):
        found.note_failure(KEY, NOW)
    assert found.admit(KEY, NOW + 30)
    return found


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running


class Scripted:
    """A vendor's stream in this process: so many chunks, and then silence or its end. Its own transport."""

    status, headers = 200, {"content-type": "text/event-stream"}

    def __init__(self, *chunks: bytes, is_silent_then: bool = False) -> None:
        self.chunks, self.is_silent_then = chunks, is_silent_then
        self.times_closed = 0
        self.fell_silent = asyncio.Event()  # all it has said was taken

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        return self

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.is_silent_then:
            self.fell_silent.set()
            await asyncio.Event().wait()

    async def aread(self) -> bytes:
        return b"".join([chunk async for chunk in self.aiter_bytes()])

    async def aclose(self) -> None:
        self.times_closed += 1


async def begin(
    breakers: Breakers, vendor: Transport, text: str = "hello", *, is_stream: bool = True, url: str = "http://v/v1",
    timeout_seconds: int = 60,
) -> Execution:  # fmt: skip
    model = model_facts("m", base_url=url, timeout_seconds=timeout_seconds)
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    begun = await execute(model, chat(body, is_stream=is_stream), transport=vendor)
    begun.trial = Trial(breakers, KEY)
    return begun


async def read_to_the_end(begun: Execution, *, is_stream: bool = True, looks_ahead: bool = False) -> None:
    try:
        if looks_ahead:
            await begun.look_ahead(is_stream=is_stream)
        if is_stream:
            async for _ in begun.bursts():
                pass
        else:
            await begun.read()
    except UpstreamError:
        pass


@pytest.mark.parametrize("looks_ahead", [False, True])
@pytest.mark.parametrize(
    ("fault", "is_stream", "failures"),
    [
        ("", False, 0),
        ("", True, 0),
        ("no-usage", True, 0),
        ("impossible-usage", False, 0),
        ("impossible-usage", True, 0),
        # The connection breaks, or falls silent.
        ("broken-body", False, 2),
        ("reset", True, 2),
        ("cut", True, 2),
        ("stall", True, 2),
        # The vendor says itself what is wrong, and it may be with what this client has asked.
        ("error", True, 1),
        ("error-at-once", True, 1),
        ("not-json", False, 1),
    ],
)
def test_an_answer_counts_when_it_ends_and_not_when_it_begins(
    vendor: FakeOpenAI, breakers: Breakers, fault: str, is_stream: bool, failures: int, looks_ahead: bool
) -> None:
    async def ask() -> None:
        client = HttpTransport()
        seconds = 1 if fault == "stall" else 60  # who falls silent is waited for so long, and nobody else is
        begun = await begin(
            breakers, client, f"[fault:{fault}]", is_stream=is_stream, url=vendor.base_url, timeout_seconds=seconds
        )
        assert breakers.standing()[KEY].failures == 1
        await read_to_the_end(begun, is_stream=is_stream, looks_ahead=looks_ahead)
        await client.aclose()

    asyncio.run(ask())
    assert breakers.standing()[KEY] == Circuit(failures=failures)


def test_a_stream_whose_connection_ends_inside_an_event_has_failed(breakers: Breakers) -> None:
    asyncio.run(async_read(breakers, Scripted(WORD, WORD[:20])))
    assert breakers.standing()[KEY].failures == 2


async def async_read(breakers: Breakers, vendor: Scripted, *, looks_ahead: bool = False) -> None:
    await read_to_the_end(await begin(breakers, vendor), looks_ahead=looks_ahead)


def test_a_stream_without_a_word_has_failed(breakers: Breakers) -> None:
    asyncio.run(async_read(breakers, Scripted(), looks_ahead=True))
    assert breakers.standing()[KEY].failures == 2


@pytest.mark.parametrize("is_stream", [True, False])
def test_an_answer_that_its_caller_has_no_more_time_for_tells_nothing(breakers: Breakers, is_stream: bool) -> None:
    async def ask() -> None:
        begun = await begin(breakers, Scripted(WORD, is_silent_then=True), is_stream=is_stream)
        begun.deadline = time.monotonic() + 0.01
        await read_to_the_end(begun, is_stream=is_stream)

    asyncio.run(ask())
    assert breakers.standing()[KEY].failures == 1


def test_an_answer_that_is_too_large_for_us_tells_nothing(
    vendor: FakeOpenAI, breakers: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 100)

    async def ask() -> None:
        client = HttpTransport()
        await read_to_the_end(await begin(breakers, client, is_stream=False, url=vendor.base_url), is_stream=False)
        await client.aclose()

    asyncio.run(ask())
    assert breakers.standing()[KEY].failures == 1
    assert not is_failure(AnswerTooLarge("")) and not is_failure(AnswerTooLate(""))


def test_a_stream_that_has_said_its_last_word_is_whole_although_its_connection_stays_open(breakers: Breakers) -> None:
    async def ask() -> None:
        answer = Scripted(WORD, DONE, is_silent_then=True)
        reading = asyncio.ensure_future(read_to_the_end(await begin(breakers, answer)))
        async with asyncio.timeout(10):
            await answer.fell_silent.wait()
        reading.cancel()
        await asyncio.wait((reading,))

    asyncio.run(ask())
    assert breakers.standing()[KEY].failures == 0


# --- a probe is never claimed for ever ---------------------------------------------------------------------------
async def never_started(begun: Execution) -> None:
    await begun.aclose()


async def left_by_the_client(begun: Execution) -> None:
    bursts = begun.bursts()
    await anext(bursts)
    await bursts.aclose()


async def cancelled(begun: Execution) -> None:
    task = asyncio.ensure_future(read_to_the_end(begun))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait((task,))


async def cancelled_while_it_is_looked_at(begun: Execution) -> None:
    task = asyncio.ensure_future(begun.look_ahead(is_stream=True))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))


async def left_after_it_was_looked_at(begun: Execution) -> None:
    await begun.look_ahead(is_stream=True)
    await begun.aclose()


async def met_a_defect_of_ours(begun: Execution) -> None:
    def defect(chunk: bytes) -> bytes:
        raise ZeroDivisionError

    begun._decoder.take = defect  # type: ignore[method-assign]  # as if ours had one
    with pytest.raises(ZeroDivisionError):
        await read_to_the_end(begun)


@pytest.mark.parametrize(
    "leave",
    [
        never_started, left_by_the_client, cancelled, cancelled_while_it_is_looked_at, left_after_it_was_looked_at,
        met_a_defect_of_ours,
    ],
)  # fmt: skip
def test_a_probe_is_given_back_however_its_answer_is_left(
    probed: Breakers, leave: Callable[[Execution], Awaitable[None]]
) -> None:
    answer = Scripted(WORD, is_silent_then=True)

    async def ask() -> None:
        begun = await begin(probed, answer)
        assert probed.standing()[KEY].in_flight == 1
        await leave(begun)

    asyncio.run(ask())
    circuit = probed.standing()[KEY]
    assert (circuit.state, circuit.in_flight, circuit.successes) == ("half-open", 0, 0)
    assert answer.times_closed >= 1


def test_a_probe_that_breaks_off_opens_the_breaker_again(vendor: FakeOpenAI, probed: Breakers) -> None:
    async def ask() -> None:
        client = HttpTransport()
        await read_to_the_end(await begin(probed, client, "[fault:reset]", url=vendor.base_url))
        await client.aclose()

    asyncio.run(ask())
    assert probed.standing()[KEY].state == "open"


def test_a_call_tells_once(breakers: Breakers) -> None:
    trial = Trial(breakers, KEY)
    trial.failed(NOW)
    trial.failed(NOW)
    trial.succeeded(NOW)
    trial.tells_nothing()
    assert breakers.standing()[KEY].failures == 2


def test_of_a_breaker_that_is_half_open_only_its_probes_are_heard() -> None:
    """Calls that were begun before it opened may end minutes later; three of them must not close it."""
    breakers = Breakers()
    before = [Trial(breakers, KEY) for _ in range(4)]
    for _ in range(5):
        breakers.note_failure(KEY, NOW)
    assert breakers.admit(KEY, NOW + 30)
    probe = Trial(breakers, KEY)
    for trial, tell in zip(before, ("succeeded", "succeeded", "succeeded", "failed"), strict=True):
        getattr(trial, tell)(NOW + 31)
    assert breakers.standing()[KEY] == Circuit("half-open", in_flight=1, changed_at=NOW + 30)
    probe.succeeded(NOW + 32)
    assert breakers.standing()[KEY] == Circuit("half-open", successes=1, changed_at=NOW + 30)
