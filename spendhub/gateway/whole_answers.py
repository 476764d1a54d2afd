"""A whole answer: read to its end, said in its client's words, and booked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from routing.errors import UpstreamTimeout
from spendhub.errors import code_of
from spendhub.gateway.begun import Begun
from spendhub.gateway.dialect import ClientDialect

Answer = TypeVar("Answer")


async def take_whole(begun: Begun, say: Callable[[Begun, bytes], Answer], *, seconds: float | None = None) -> Answer:
    """What `say` makes of the vendor's body; the call is on disk when this returns, and when it raises.

    Raises UpstreamError for an answer that breaks off, has no known shape, or takes longer than `seconds`.
    """
    call, reader = begun.call, begun.execution.reader
    try:
        async with asyncio.timeout(seconds):
            body = await begun.execution.read()
        answer = say(begun, body)
    except asyncio.CancelledError:
        await asyncio.shield(call.settle(reader, status="aborted"))
        raise
    except TimeoutError:
        error = UpstreamTimeout(f"{call.model.provider.name} did not finish within the time that the call may take")
        await call.settle(reader, status="error", error_code=error.code)
        raise error from None
    except Exception as error:
        await call.settle(reader, status="error", error_code=code_of(error))
        raise
    # A client that has left by now gets nothing, but the vendor has done its work: it counts all the same.
    await call.settle(reader)
    return answer


def body_for(dialect: ClientDialect) -> Callable[[Begun, bytes], bytes]:
    """Says an answer as `dialect` says it: the vendor's own body where it speaks the same. Where the vendor has not
    told its usage, our count is told, as at the end of a stream."""

    def say(begun: Begun, body: bytes) -> bytes:
        if not begun.execution.is_translated:
            return body
        reader = begun.execution.reader
        reply = replace(reader.reply(), usage=begun.call.usage_of(reader))
        return dialect.whole(reply, begun.request, begun.call.model.name)

    return say
