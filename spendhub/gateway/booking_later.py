"""Calls that could not be booked when they ended: tried again until the ledger takes them, their money held so long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from budgets.counters.drive import drive_async
from budgets.reservations import HeldCall, release
from spendhub.errors import SpendHubError
from telemetry.drafts import SpanDraft
from telemetry.recording import settle_call

logger = logging.getLogger(__name__)

RETRY_PAUSE_SECONDS = 5.0

_settling: set[asyncio.Task[None]] = set()


def settle_later(held: HeldCall, draft: SpanDraft, more_held: Sequence[HeldCall]) -> None:
    """Books the call, and ends its holds, once the ledger takes it. Should the process end before, the worker finds
    the holds and books them (telemetry.interrupted)."""
    task = asyncio.ensure_future(_settle_when_taken(held, draft, more_held))
    _settling.add(task)  # the loop itself keeps only weak references
    task.add_done_callback(_settling.discard)


async def _settle_when_taken(held: HeldCall, draft: SpanDraft, more_held: Sequence[HeldCall]) -> None:
    while True:
        await asyncio.sleep(RETRY_PAUSE_SECONDS)
        try:
            await drive_async(settle_call(held, draft, datetime.now(UTC), more_held))
        except SpendHubError as error:
            logger.error("call %s is still not booked: %s", draft.request_id, error)
        else:
            break
    for more in more_held:
        await drive_async(release(more, datetime.now(UTC)))
