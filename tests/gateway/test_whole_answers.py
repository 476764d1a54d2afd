"""A whole answer is booked exactly once, however reading it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from routing.errors import UpstreamError, UpstreamTimeout
from spendhub.gateway.whole_answers import take_whole

Settled = list[tuple[str, str]]


def begun(read: Callable[[], Awaitable[bytes]]) -> tuple[Any, Settled]:
    """An answer that has begun, and how it was booked."""
    settled: Settled = []

    async def settle(reader: Any, *, status: str = "ok", error_code: str = "") -> None:
        await asyncio.sleep(0)
        settled.append((status, error_code))

    call = SimpleNamespace(settle=settle, model=SimpleNamespace(provider=SimpleNamespace(name="vendor")))
    return SimpleNamespace(call=call, execution=SimpleNamespace(read=read, reader=None)), settled


def words(begun: Any, body: bytes) -> str:
    return body.decode()


async def answer() -> bytes:
    return b"hello"


async def never() -> bytes:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def test_an_answer_is_said_and_booked() -> None:
    found, settled = begun(answer)
    assert asyncio.run(take_whole(found, words)) == "hello"
    assert settled == [("ok", "")]


def test_an_answer_that_makes_no_sense_is_booked_as_an_error() -> None:
    async def broken() -> bytes:
        raise UpstreamError("it broke off")

    def senseless(begun: Any, body: bytes) -> str:
        raise UpstreamError("no choices")

    for read, say in ((broken, words), (answer, senseless)):
        found, settled = begun(read)
        with pytest.raises(UpstreamError):
            asyncio.run(take_whole(found, say))
        assert settled == [("error", "upstream_failed")]


def test_an_answer_that_takes_too_long_is_booked_as_an_error() -> None:
    for seconds in (0.0, 0.01):
        found, settled = begun(never)
        with pytest.raises(UpstreamTimeout):
            asyncio.run(take_whole(found, words, seconds=seconds))
        assert settled == [("error", "upstream_timeout")]


def test_an_answer_that_is_cancelled_is_booked_for_what_it_said() -> None:
    found, settled = begun(never)

    async def leave() -> None:
        task = asyncio.ensure_future(take_whole(found, words))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert settled == [("aborted", "")]
