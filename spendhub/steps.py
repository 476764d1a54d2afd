"""Work that needs Redis or another thread, written once for sync and async callers.

A journey (reserve, settle, ...) is a generator that yields steps and is sent their results; it does
no I/O itself. `run` drives it from a Django view or the worker, `run_async` from the data plane.
An exception that a step meets is thrown into the generator at its `yield`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from django.db import connections

from spendhub.bounded_postgres import bounded_waits

Answer = TypeVar("Answer")


class RunScript(msgspec.Struct, frozen=True):
    """One Lua script in one round trip. The result is what the script returned."""

    name: str
    keys: Sequence[str]
    args: Sequence[str | int | bytes]


class AwaitFuture(msgspec.Struct, frozen=True):
    """Waits for another thread, e.g. the group commit. The result is the future's."""

    future: concurrent.futures.Future[Any]


class AwaitWrite(msgspec.Struct, frozen=True):
    """Waits for a write that both kinds of drivers can make: `in_thread` hands it to the group commit, `on_loop` lets
    the running event loop make it without a thread. The result is the write's."""

    in_thread: Callable[[], concurrent.futures.Future[Any]]
    on_loop: Callable[[], Awaitable[Any]]


class Pause(msgspec.Struct, frozen=True):
    """Waits `seconds`. The result is None."""

    seconds: float


class CallInThread(msgspec.Struct, frozen=True):
    """Runs a blocking function (a database read on a cold path); its value is the result."""

    function: Any
    args: tuple[Any, ...] = ()


Step = RunScript | AwaitFuture | AwaitWrite | Pause | CallInThread
Journey = Generator[Step, Any, Answer]


class ScriptRunner(Protocol):
    """Runs a named Lua script; raises spendhub's CounterStoreDown when Redis does not answer."""

    def run_script(self, step: RunScript) -> Any: ...


class AsyncScriptRunner(Protocol):
    async def run_script(self, step: RunScript) -> Any: ...

    def send_script(self, step: RunScript) -> Awaitable[Any]:
        """As `run_script`; where a connection is open, whatever is run on it later comes behind this script, and it is
        on the wire at the end of the loop's tick."""
        ...


def run(journey: Journey[Answer], scripts: ScriptRunner | None) -> Answer:
    """Drives a journey to its end in this thread and returns its answer."""
    try:
        step = next(journey)
        while True:
            try:
                result = _take(step, scripts)
            except Exception as error:  # whatever the step met belongs to the journey, which knows what it means
                step = journey.throw(error)
            else:
                step = journey.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration.value is Any in typeshed


def _take(step: Step, scripts: ScriptRunner | None) -> Any:
    if isinstance(step, RunScript):
        if scripts is None:
            raise RuntimeError(f"no Redis is configured, yet script {step.name} was asked for")
        return scripts.run_script(step)
    if isinstance(step, AwaitFuture):
        return step.future.result()
    if isinstance(step, AwaitWrite):
        return step.in_thread().result()
    if isinstance(step, CallInThread):
        return _call(step)
    time.sleep(step.seconds)
    return None


async def run_async(journey: Journey[Answer], scripts: AsyncScriptRunner | None) -> Answer:
    """Drives a journey to its end on the event loop and returns its answer."""
    try:
        step = next(journey)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration.value is Any in typeshed
    return await _follow(journey, scripts, _take_async(step, scripts))


async def run_until_asked(
    journey: Journey[Answer], scripts: AsyncScriptRunner | None, rest: Callable[[Coroutine[Any, Any, Answer]], object]
) -> None:
    """Drives a journey until its first script is on its way, and hands what remains of it to `rest`; one that asks
    for no script is driven to its end."""
    try:
        step = next(journey)
        while scripts is None or not isinstance(step, RunScript):
            try:
                result = await _take_async(step, scripts)
            except (Exception, asyncio.CancelledError) as error:  # as in `run`
                step = journey.throw(error)
            else:
                step = journey.send(result)
    except StopIteration:
        return
    rest(_follow(journey, scripts, scripts.send_script(step)))


async def _follow(journey: Journey[Answer], scripts: AsyncScriptRunner | None, taken: Awaitable[Any]) -> Answer:
    try:
        while True:
            try:
                result = await taken
            except (Exception, asyncio.CancelledError) as error:  # as in `run`
                step = journey.throw(error)
            else:
                step = journey.send(result)
            taken = _take_async(step, scripts)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration.value is Any in typeshed


async def _take_async(step: Step, scripts: AsyncScriptRunner | None) -> Any:
    if isinstance(step, RunScript):
        if scripts is None:
            raise RuntimeError(f"no Redis is configured, yet script {step.name} was asked for")
        return await scripts.run_script(step)
    if isinstance(step, AwaitFuture):
        return await await_future(step.future)
    if isinstance(step, AwaitWrite):
        return await step.on_loop()
    if isinstance(step, CallInThread):
        return await asyncio.to_thread(_in_borrowed_thread, step)
    await asyncio.sleep(step.seconds)
    return None


async def await_future(future: concurrent.futures.Future[Any]) -> Any:
    """What another thread's future comes to, on the running event loop."""
    # Unlike asyncio.wrap_future, at twice the CPU, this does not cancel the future when its waiter is cancelled:
    # what was handed to another thread is done, for it shares its commit with others, whoever still waits.
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: concurrent.futures.Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_end_wait, waiter)

    future.add_done_callback(wake)
    await waiter
    return future.result()


def _end_wait(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _call(step: CallInThread) -> Any:
    with bounded_waits():
        return step.function(*step.args)


def _in_borrowed_thread(step: CallInThread) -> Any:
    try:
        return _call(step)
    finally:
        # These threads outlive the call: a connection left open here is one the pool never gets back.
        connections.close_all()
