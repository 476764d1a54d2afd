"""A stream whose client has left: the vendor is left too, and the call is booked, wherever it was."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from routing.breakers import Breakers, Trial
from routing.execution import Execution
from spendhub.gateway.calls import _answer_as_it_comes
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.openai.chat import CHAT_DIALECT
from tests.budgets.facts import budget, call, decision
from tests.routing.facts import model_facts
from tests.routing.test_trials import DONE, KEY, NOW, WORD, Scripted, begin

Settled = list[str]


def exchange_whose_client_leaves(after_messages: int) -> Exchange:
    """The client's connection takes so many messages and is closed then."""
    taken: list[Any] = []

    async def send(message: Any) -> None:
        if len(taken) >= after_messages:
            raise OSError("closed")
        taken.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    return Exchange({"method": "POST", "path": "/v1/chat/completions", "headers": []}, receive, send)


def begun_with(execution: Execution, settled: Settled) -> Any:
    async def settle(reader: Any, *, status: str = "ok", error_code: str = "") -> None:
        settled.append(status)

    facts = {"model": model_facts("m"), "decision": decision(call("0.5"), (budget("user:ada", "1"), "0", "0"))}
    told = {
        "request_id": "r",
        "notices": [],
        "clamp_to": None,
        "has_limit": False,
        "held_output_tokens": 100,
        "worst_output_tokens": 100,
        "cost_nano_usd": 0,
        "earlier_nano_usd": 0,
        "beside_nano_usd": 0,
        "all_nano_usd": 0,
        "over_hold_nano_usd": 0,
        "is_booked": False,
    }
    request = CallRequest(wire="chat", body={}, model="m")
    opened = SimpleNamespace(**facts, **told, request=request, settle=settle, note_first_token=lambda: None)
    return SimpleNamespace(call=opened, execution=execution, request=request)


@pytest.mark.parametrize("after_messages", [0, 1])
def test_a_client_that_has_left_before_the_first_event_leaves_no_vendor_connection_open(after_messages: int) -> None:
    vendor, settled, breakers = Scripted(WORD, DONE), Settled(), Breakers()

    async def answer() -> None:
        execution = await begin(breakers, vendor)
        for _ in range(5):
            breakers.note_failure(KEY, NOW)
        assert breakers.admit(KEY, NOW + 30)
        execution.trial = Trial(breakers, KEY)
        exchange = exchange_whose_client_leaves(after_messages)
        await _answer_as_it_comes(exchange, CHAT_DIALECT, begun_with(execution, settled))

    asyncio.run(answer())
    assert (vendor.times_closed >= 1, settled) == (True, ["aborted"])
    assert breakers.standing()[KEY].in_flight == 0


def test_a_call_that_is_cancelled_before_its_stream_is_read_leaves_no_vendor_connection_open() -> None:
    vendor, settled = Scripted(WORD, is_silent_then=True), Settled()

    async def answer() -> None:
        begun = begun_with(await begin(Breakers(), vendor), settled)
        task = asyncio.ensure_future(_answer_as_it_comes(exchange_whose_client_leaves(9), CHAT_DIALECT, begun))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(answer())
    assert (vendor.times_closed >= 1, settled) == (True, ["aborted"])
