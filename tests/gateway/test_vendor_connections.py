"""Connections to a vendor are kept and used again: opening one costs more than the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.fakes.openai_upstream import FakeOpenAI
from tests.gateway.served import Served, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]

CALLS = 50


@pytest.fixture
def another_vendor(served: Served, user: str) -> Iterator[Served]:
    """The same server with a vendor behind it that it has never called, whose model is called like the user."""
    with FakeOpenAI() as vendor:
        own = replace(served, vendor=vendor)
        own.define_model(user, max_output_tokens=10)
        pause_for_snapshots()
        yield own


@pytest.mark.parametrize("is_stream", [False, True])
def test_calls_one_after_another_share_one_connection(another_vendor: Served, user: str, is_stream: bool) -> None:
    answered = [another_vendor.ask("[say:yes]", model=user, user=user, stream=is_stream) for _ in range(CALLS)]
    assert [each.status_code for each in answered] == [200] * CALLS
    vendor = another_vendor.vendor.served
    assert (vendor.completed, vendor.connections) == (CALLS, 1)


async def ask_at_once(own: Served, model: str) -> list[int]:
    """The statuses of calls that are all at the vendor before it answers the first."""
    body = {"model": model, "user": model, "messages": [{"role": "user", "content": "[fault:held]"}]}
    calls = own.vendor.served.calls
    headers = {"authorization": f"Bearer {own.key}"}
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CALLS), timeout=60, headers=headers) as client:
        with own.vendor.holding_back():
            asked = [asyncio.ensure_future(client.post(f"{own.url}/chat/completions", json=body)) for _ in range(CALLS)]
            while own.vendor.served.calls < calls + CALLS:
                await asyncio.sleep(0.01)
        return [each.status_code for each in await asyncio.gather(*asked)]


def test_calls_at_once_have_a_connection_each_and_the_next_ones_take_them_over(
    another_vendor: Served, user: str
) -> None:
    for _ in range(2):
        assert asyncio.run(ask_at_once(another_vendor, user)) == [200] * CALLS
        assert another_vendor.vendor.served.connections == CALLS
