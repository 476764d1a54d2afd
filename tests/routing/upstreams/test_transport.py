"""What a client is told of an address that does not answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from routing.errors import UpstreamError, UpstreamTimeout
from routing.upstreams.base import UpstreamRequest
from routing.upstreams.transport import HttpTransport, was_unsent


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/model/arn:aws:bedrock:eu:1:profile/x/converse",
        "/openai/deployments/secret?api-version=1",
    ],
)
def test_it_is_told_the_host_alone(path: str) -> None:
    async def send() -> None:
        transport = HttpTransport()
        try:
            await transport.send(UpstreamRequest("POST", f"http://ada:hidden@127.0.0.1:9{path}", {}, b"{}", 5))
        finally:
            await transport.aclose()

    with pytest.raises(UpstreamError) as failed:
        asyncio.run(send())
    assert failed.value.message.startswith("127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize(
    ("trouble", "was_asked"), [(httpx.ReadTimeout, True), (httpx.ConnectTimeout, False), (httpx.PoolTimeout, False)]
)
def test_of_a_vendor_that_is_too_slow_it_is_told_whether_it_may_be_at_work(
    monkeypatch: pytest.MonkeyPatch, trouble: type[httpx.TimeoutException], was_asked: bool
) -> None:
    async def give_up(*_: object) -> None:
        raise trouble("too slow")

    async def send() -> None:
        transport = HttpTransport()
        try:
            await transport.send(UpstreamRequest("POST", "http://127.0.0.1:9/v1", {}, b"{}", 5))
        finally:
            await transport.aclose()

    monkeypatch.setattr("routing.upstreams.transport.AiohttpTransport.handle_async_request", give_up)
    with pytest.raises(UpstreamTimeout) as failed:
        asyncio.run(send())
    assert failed.value.was_asked is was_asked


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
