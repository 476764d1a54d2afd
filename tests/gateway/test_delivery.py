"""A client that takes nothing of its answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from spendhub.gateway import delivery
from spendhub.gateway.delivery import Delivery, deliver_last
from spendhub.gateway.exchange import ClientLeft
from spendhub.gateway.holding import never
from tests.gateway.served import Served
from tests.servers import wait_until

# More than all buffers between the vendor and the client can take, and less than a body may have.
MANY_WORDS = " ".join(["x" * 40_000] * 180)


def test_who_takes_nothing_for_too_long_has_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "STALLED_SECONDS", 0.04)

    async def story() -> None:
        of_one = Delivery()
        of_one.begins()
        await asyncio.wait_for(of_one.given_up(never), 10)

    asyncio.run(story())


def test_who_takes_each_piece_in_time_has_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "STALLED_SECONDS", 0.04)

    async def story() -> None:
        of_one = Delivery()
        of_one.begins()
        of_one.ends()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(of_one.given_up(never), 0.2)

    asyncio.run(story())


def test_a_last_piece_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "STALLED_SECONDS", 0.04)
    with pytest.raises(ClientLeft):
        asyncio.run(deliver_last(never()))


@contextmanager
def client_who_reads_nothing(served: Served, user: str, headers: dict[str, str]) -> Iterator[None]:
    """A stream that was asked for, and of which nothing is read until the block ends."""
    body = {"model": "vendor-chat", "user": user, "stream": True, "messages": [
        {"role": "user", "content": f"[say:{MANY_WORDS}]"}
    ]}  # fmt: skip
    said = json.dumps(body).encode()
    asked = {"host": "x", "authorization": f"Bearer {served.key}", "content-length": str(len(said))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", urlsplit(served.url).port))
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + said)
        yield


@pytest.mark.slow
def test_a_call_s_time_is_over_also_where_its_client_reads_nothing(served: Served, user: str) -> None:
    served.define_budget(user, "100000")
    with client_who_reads_nothing(served, user, {"x-spendhub-timeout-ms": "6000"}):
        wait_until(lambda: served.spans(user) != [], 30, "the call to be booked")
        span = served.the_span(user)
        assert (span["status"], span["error_code"]) == ("error", "upstream_timeout")
        assert span["output_tokens"] > 0
        wait_until(lambda: served.held(user) == "0.00", 10, "its hold to end")
