"""Work that is only wanted while its client is there, and what becomes of it when nobody waits for it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from spendhub.gateway.exchange import ClientLeft, while_wanted
from spendhub.gateway.holding import never


async def left() -> None:
    """Returns at once: the client has left."""


def test_work_that_fails_while_it_is_left_is_no_error_that_nobody_has_seen() -> None:
    unseen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("from the vendor's connection")

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unseen.append(told["message"]))
        with pytest.raises(ClientLeft):
            await while_wanted(work(), left)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(story())
    assert unseen == []


def test_a_caller_that_is_cancelled_twice_leaves_no_work_running() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ending")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                told.append("ended")

    async def until(there: int, task: asyncio.Task[Any]) -> None:
        while len(told) < there and not task.done():
            await asyncio.sleep(0)

    async def story() -> None:
        caller = asyncio.ensure_future(while_wanted(work(), never))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        await until(1, caller)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        told.append("gone")

    asyncio.run(story())
    assert told == ["ending", "ended", "gone"]
