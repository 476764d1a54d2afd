"""What a client is told of an address that does not answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from routing.errors import UpstreamError, UpstreamTimeout
from routing.retries import may_repeat
from routing.upstreams.base import UpstreamRequest
from routing.upstreams.transport import HttpTransport, was_unsent

# Nobody listens there.
NOBODY = "http://127.0.0.1:9/v1"


async def send(url: str) -> None:
    transport = HttpTransport()
    try:
        await transport.send(UpstreamRequest("POST", url, {}, b"{}", 5))
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/model/arn:aws:bedrock:eu:1:profile/x/converse",
        "/openai/deployments/secret?api-version=1",
    ],
)
def test_it_is_told_the_host_alone(path: str) -> None:
    with pytest.raises(UpstreamError) as failed:
        asyncio.run(send(f"http://ada:hidden@127.0.0.1:9{path}"))
    assert failed.value.message.startswith("127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize(
    ("trouble", "was_asked"), [(httpx.ReadTimeout, True), (httpx.ConnectTimeout, False), (httpx.PoolTimeout, False)]
)
def test_of_a_vendor_that_is_too_slow_it_is_told_whether_it_may_be_at_work(
    monkeypatch: pytest.MonkeyPatch, trouble: type[httpx.TimeoutException], was_asked: bool
) -> None:
    async def give_up(*_: object) -> None:
        raise trouble("too slow")

    monkeypatch.setattr("routing.upstreams.transport.AiohttpTransport.handle_async_request", give_up)
    with pytest.raises(UpstreamTimeout) as failed:
        asyncio.run(send(NOBODY))
    assert failed.value.was_asked is was_asked


@pytest.mark.parametrize(("at_work_seconds", "was_asked"), [(0.0, True), (60.0, False)])
def test_of_a_vendor_that_closes_without_a_word_it_is_told_whether_it_had_time_to_work(
    monkeypatch: pytest.MonkeyPatch, at_work_seconds: float, was_asked: bool
) -> None:
    monkeypatch.setattr("routing.upstreams.transport.AT_WORK_SECONDS", at_work_seconds)
    with pytest.raises(UpstreamError) as failed:
        asyncio.run(answer_with([], then_closes=True))
    assert failed.value.was_asked is was_asked
    assert may_repeat(failed.value) is not was_asked


def test_a_vendor_that_cannot_be_reached_was_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.upstreams.transport.AT_WORK_SECONDS", 0.0)
    with pytest.raises(UpstreamError) as failed:
        asyncio.run(send(NOBODY))
    assert not failed.value.was_asked
    assert may_repeat(failed.value)


@pytest.mark.parametrize("is_connected", [False, True])
def test_a_call_that_is_given_up_says_whether_it_was_still_waiting_for_its_connection(
    monkeypatch: pytest.MonkeyPatch, is_connected: bool
) -> None:
    has_come, has_left = asyncio.Event(), asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        has_come.set()
        await asyncio.Event().wait()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        has_come.set()
        await reader.read()  # until its client has left
        writer.close()
        await writer.wait_closed()
        has_left.set()

    async def give_up() -> BaseException | None:
        transport = HttpTransport()
        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TimeoutError) as late:
                async with asyncio.timeout(None) as limit:
                    asked = UpstreamRequest("POST", f"http://127.0.0.1:{port}/v1", {}, b"{}", 60)
                    sending = asyncio.create_task(has_come.wait())
                    sending.add_done_callback(lambda _: limit.reschedule(0))
                    await transport.send(asked)
            await transport.aclose()
            if is_connected:
                await has_left.wait()
        return late.value.__cause__

    if not is_connected:
        monkeypatch.setattr("aiohttp.TCPConnector.connect", never)
    assert was_unsent(asyncio.run(give_up())) is not is_connected


async def answer_with(pieces: list[bytes], *, then_closes: bool = False) -> bytes:
    """What is read of an answer that a vendor writes in these pieces, byte for byte."""
    has_left = asyncio.Event()

    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        if not then_closes:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        has_left.set()

    server = await asyncio.start_server(vendor, "127.0.0.1", 0)
    transport = HttpTransport()
    try:
        async with asyncio.timeout(10):
            port = server.sockets[0].getsockname()[1]
            response = await transport.send(UpstreamRequest("POST", f"http://127.0.0.1:{port}/v1", {}, b"{}", 20))
            try:
                return await response.aread()
            finally:
                await response.aclose()
    finally:
        await transport.aclose()
        await has_left.wait()
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 OK yes\r\n\r\n"],
        [HEAD + b"x-long: " + b"x" * 70_000 + b"\r\ncontent-length: 2\r\n\r\n{}"],
        [CHUNKED + b"zz\r\n{}\r\n"],
        [CHUNKED + b"2\r\n{}\r\n", b"zz\r\n"],
        [HEAD + b"content-length: 2\r\n\r\n{}{}{}"],
    ],
    ids=["status line", "header", "chunk with the head", "later chunk", "more than its length"],
)
def test_an_answer_that_breaks_the_rules_of_http_is_a_failure_at_once(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamError, match=r"^127\.0\.0\.1:") as failed:
        asyncio.run(answer_with(pieces))
    assert not isinstance(failed.value, UpstreamTimeout)


def test_a_long_header_is_no_trouble() -> None:
    pieces = [HEAD + b"x-long: " + b"x" * 60_000 + b"\r\ncontent-length: 2\r\n\r\n{}"]
    assert asyncio.run(answer_with(pieces)) == b"{}"


def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    pieces = [HEAD + b"connection: close\r\n\r\n{}"]
    assert asyncio.run(answer_with(pieces, then_closes=True)) == b"{}"
