"""A whole answer is booked exactly once, however reading it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from routing.errors import UpstreamError, UpstreamTimeout
from routing.token_usage import TokenUsage
from routing.upstreams.registry import DIALECTS
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.holding import MoneyHeld, Need
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.gateway.whole_answers import body_for, take_whole
from spendhub.tenants.attribution import Attribution
from tests.budgets.facts import budget, decision
from tests.budgets.facts import call as call_facts
from tests.routing.facts import model_facts

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


class Counted:
    """A reader that tells how often it was made to count."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.counts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def produced_tokens(self) -> int:
        self.counts += 1
        return int(self._reader.produced_tokens())


class Unstored(OpenCall):
    """A call whose span goes nowhere."""

    async def _book(self, *facts: Any) -> None:
        pass


def test_usage_that_the_vendor_leaves_out_is_counted_once_and_told_as_it_is_booked() -> None:
    model = model_facts("m")
    held: Any = SimpleNamespace(
        decision=decision(call_facts("0.5"), (budget("user:ada", "1"), "0", "0")),
        hold=SimpleNamespace(hold_id="h"), call=call_facts("0.5"),
    )  # fmt: skip
    price = model.prices.prices[0]
    candidate: Any = SimpleNamespace(model=model, quote=SimpleNamespace(is_estimated=False, price=price))
    request = CallRequest(wire="messages", body={"messages": [{"role": "user", "content": "count"}]}, model="m")
    origin = Origin(SimpleNamespace(tenant_id=1), Attribution(), "")  # type: ignore[arg-type]  # all it needs
    call = Unstored(origin, request, candidate, MoneyHeld(held), {}, need=Need(1, 1, 1, True), price=price)
    reader = Counted(DIALECTS["openai"].reader(None))
    vendors = (
        b'{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"one two six"},"finish_reason":"stop"}]}'
    )

    async def read() -> bytes:
        reader.read_body(vendors)
        return vendors

    found: Any = SimpleNamespace(
        call=call, request=request, execution=SimpleNamespace(read=read, reader=reader, is_translated=True)
    )
    told = json.loads(asyncio.run(take_whole(found, body_for(MESSAGES_DIALECT))))["usage"]
    assert reader.counts == 1
    # "count" is 2 tokens, with 4 for its message and 3 for the request; "one two six" 3.
    assert (call.usage, call.is_estimated) == (TokenUsage(input_tokens=9, output_tokens=3), True)
    assert (told["input_tokens"], told["output_tokens"]) == (9, 3)
