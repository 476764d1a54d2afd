"""Drives journeys with this process's Redis connections, from a thread or from an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings

from budgets.counters.async_scripts import AsyncRedisScripts
from budgets.counters.scripts import RedisScripts
from spendhub.steps import Journey, run, run_async, run_until_asked

Answer = TypeVar("Answer")

_driven: set[asyncio.Future[Any]] = set()
_lock = threading.Lock()
_scripts: dict[tuple[int, str], RedisScripts] = {}
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedisScripts] = WeakKeyDictionary()


def scripts() -> RedisScripts | None:
    """This process's pooled connections; None where no Redis is configured."""
    url = settings.REDIS_URL
    if not url:
        return None
    key = (os.getpid(), url)
    found = _scripts.get(key)
    if found is None:
        with _lock:
            found = _scripts.setdefault(key, RedisScripts(url))
    return found


def async_scripts() -> AsyncRedisScripts | None:
    """The running event loop's connection; None where no Redis is configured."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    # A setting is not free to read, and this is asked for twice a call.
    if found is None and settings.REDIS_URL:
        found = _by_loop[loop] = AsyncRedisScripts(settings.REDIS_URL)
    return found


def drive(journey: Journey[Answer]) -> Answer:
    """Drives a journey to its end in this thread."""
    return run(journey, scripts())


async def drive_async(journey: Journey[Answer]) -> Answer:
    """Drives a journey to its end on the running event loop."""
    return await run_async(journey, async_scripts())


async def drive_until_asked(journey: Journey[Answer]) -> None:
    """Drives a journey on the running event loop, and returns as soon as its first script is on its way, before all
    that is asked of Redis from here later: for what whoever waits need not hear of. A journey that asks for no script
    is driven to its end."""
    await run_until_asked(journey, async_scripts(), _drive_on)


def _drive_on(rest: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(rest)
    _driven.add(task)  # the loop itself keeps only weak references
    task.add_done_callback(_driven.discard)


def close() -> None:
    """Closes this process's pooled connections. For tests and the end of a process."""
    with _lock:
        while _scripts:
            _, made = _scripts.popitem()
            made.close()
