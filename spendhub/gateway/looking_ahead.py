"""Looks at an answer before its client is told of it: whether it is one at all, and whether it only refuses.

Only where another model could be asked, or a refusal is kept that could go out in its place (attempts.py).
docs/decisions/0060.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from routing.refused_answers import Ear, ear_for
from routing.upstreams.base import EMBEDDINGS
from spendhub.errors import code_of
from spendhub.gateway.begun import Begun
from spendhub.gateway.exchange import ClientLeft, while_wanted


def ear_of(begun: Begun) -> Ear | None:
    """An Ear for an answer; None for one that is not listened to."""
    execution, request = begun.execution, begun.request
    if request.wire == EMBEDDINGS:
        return None
    if request.is_stream and request.choices > 1:
        return None  # one of several answers may begin long after another one was refused
    return ear_for(execution.model, None if execution.is_translated else request.wire, execution.another_reader)


def is_refusal(begun: Begun, body: bytes) -> bool:
    """Whether a whole answer says nothing but that its vendor refuses."""
    ear = ear_of(begun)
    if ear is None:
        return False
    ear.hear_whole(body)
    return ear.refuses


async def look_ahead(begun: Begun, ear: Ear | None, client_left: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Whether the answer is a refusal, which is booked then: what its vendor had done is billed, as ever. Without an
    `ear` nobody listens for that.

    Raises UpstreamError where it is no answer although its vendor has said 200, ClientLeft where nobody waits for it
    any more: then, too, it is booked.
    """
    call, execution, is_stream = begun.call, begun.execution, begun.request.is_stream
    try:
        if ear is not None and is_stream:
            # It may take as long as its vendor thinks.
            await while_wanted(execution.look_ahead(is_stream=True, ear=ear), client_left)
        else:
            await execution.look_ahead(is_stream=is_stream, ear=ear)
    except BaseException as error:
        if isinstance(error, (asyncio.CancelledError, ClientLeft)):
            await asyncio.shield(call.settle(execution.reader, status="aborted"))
            await execution.aclose()
        else:
            await call.settle(execution.reader, status="error", error_code=code_of(error))
        raise
    if ear is None or not ear.refuses:
        return False
    await call.settle(execution.reader)
    return True
