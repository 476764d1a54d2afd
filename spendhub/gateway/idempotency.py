"""The same call twice is one call: whoever repeats an idempotency key is given the first answer again.

    Idempotency-Key: <text>   or   x-spendhub-idempotency-key: <text>

Who comes first has the key and makes the call; the others wait for its answer. The key belongs to one API key, and its
answer is kept in the database, which is there with and without Redis, sealed for its row. A call without the header
pays for two lookups.
docs/gateway.md, "The same call twice"; docs/decisions/0038-an-idempotency-key-is-spent-by-an-answer.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from budgets.counters.drive import drive_async
from spendhub.errors import SpendHubError
from spendhub.gateway.canonical import digest_of, whole_body
from spendhub.gateway.exchange import Exchange, pause_until_left
from spendhub.gateway.idempotency_errors import (
    TOO_LARGE,
    UNREADABLE,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    IdempotencyNotReplayable,
)
from spendhub.gateway.kept_exchange import KeptAnswer, KeptExchange, pack, unpack
from spendhub.gateway.our_headers import IDEMPOTENCY_KEY, InvalidDemand
from spendhub.ids import new_id
from spendhub.money import format_usd
from spendhub.tenants.snapshot import Principal
from telemetry.keyed_calls import Answered, Claim, Mine, claim, extend, free, keep_answer

logger = logging.getLogger(__name__)

HEADER = b"idempotency-key"
MAX_KEY = 255
# How long a repeat waits for the first answer, and when it is told to come again after that.
WAIT_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5
# It looks often at first, for most answers that are waited for come soon.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.05, 1.0


def idempotency_key(exchange: Exchange) -> str | None:
    """The key that the caller gave the call; None for most. Raises InvalidDemand for one that cannot be."""
    headers = exchange.headers
    if HEADER not in headers and IDEMPOTENCY_KEY not in headers:
        return None
    name = IDEMPOTENCY_KEY if IDEMPOTENCY_KEY in headers else HEADER
    key = (exchange.header(name) or "").strip()
    if not 0 < len(key) <= MAX_KEY:
        raise InvalidDemand(f"an idempotency key has 1 to {MAX_KEY} characters, not {len(key)}", field=name.decode())
    return key


async def answer_once(
    exchange: Exchange,
    principal: Principal,
    key: str,
    body: Mapping[str, Any],
    answer: Callable[[Exchange], Awaitable[None]],
) -> None:
    """Answers with the answer that the key stands for already, or else with what `answer` makes of the call.

    Raises IdempotencyKeyReused for another request's key, IdempotencyInProgress when the first call runs longer than a
    repeat waits, IdempotencyNotReplayable for an answer that was not kept or cannot be opened, and whatever `answer`
    raises. After an error, raised or answered, the key is free again before its last byte is sent.
    """
    wanted = _claim_of(exchange, principal, key, body)
    answered = await _take(exchange, wanted)
    if answered is not None:
        await _replay(exchange, wanted, answered)
        return
    kept = KeptExchange(exchange, lambda *facts: _keep(wanted, *facts), lambda: _free(wanted))
    staying = asyncio.ensure_future(_stay(wanted))
    try:
        await answer(kept)
    finally:
        staying.cancel()
        if not kept.is_decided:
            await asyncio.shield(_free(wanted))


def _claim_of(exchange: Exchange, principal: Principal, key: str, body: Mapping[str, Any]) -> Claim:
    return Claim(
        tenant_id=principal.tenant_id,
        key_sha256=digest_of((principal.key_prefix, key)).hex(),
        request_sha256=digest_of((exchange.path, whole_body(body))).hex(),
        api_key=principal.key_prefix,
        id=new_id(),
    )


def _place_of(call: Claim) -> str:
    """What a kept answer is sealed for: the row of this key of this tenant."""
    return f"idempotency key {call.tenant_id} {call.key_sha256}"


async def _take(exchange: Exchange, wanted: Claim) -> Answered | None:
    """Takes the key for this call (then None), or waits until there is an answer to give again."""
    deadline = time.monotonic() + WAIT_SECONDS
    pause = FIRST_LOOK_SECONDS
    leaving: asyncio.Future[None] | None = None
    try:
        while True:
            found = await drive_async(claim(wanted, *_now_and_lease()))
            if isinstance(found, Mine):
                return None
            if found.request_sha256 != wanted.request_sha256:
                raise IdempotencyKeyReused
            if isinstance(found, Answered):
                return found
            if time.monotonic() + pause > deadline:
                raise IdempotencyInProgress(RETRY_AFTER_SECONDS)
            leaving = leaving or asyncio.ensure_future(exchange.client_left())
            # Should the first call fail, nobody would want this one to be made in its place.
            await pause_until_left(pause, leaving)
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)
    finally:
        if leaving is not None:
            leaving.cancel()


async def _replay(exchange: Exchange, asked: Claim, found: Answered) -> None:
    if found.answer is None:
        raise IdempotencyNotReplayable(found.request_id, found.cost_nano_usd, TOO_LARGE)
    kept = await asyncio.to_thread(unpack, found.answer, _place_of(asked))
    if kept is None:
        logger.warning("the kept answer of call %s cannot be opened with today's keys", found.request_id)
        raise IdempotencyNotReplayable(found.request_id, found.cost_nano_usd, UNREADABLE)
    headers = [*kept.headers, (b"x-spendhub-replayed", b"true")]
    told = {name for name, _ in headers}
    if b"x-spendhub-cost" not in told and found.cost_nano_usd is not None:
        headers.append((b"x-spendhub-cost", format_usd(found.cost_nano_usd).encode()))
    if b"x-spendhub-request-id" not in told:
        headers.append((b"x-spendhub-request-id", found.request_id.encode()))
    await exchange.answer(kept.status, kept.body, headers)


async def _keep(held: Claim, answer: KeptAnswer | None, request_id: str, cost_nano_usd: int | None) -> None:
    packed = None if answer is None else await asyncio.to_thread(pack, answer, _place_of(held))
    now = datetime.now(UTC)
    ends_at = now + timedelta(hours=settings.IDEMPOTENCY_HOURS)
    try:
        is_kept = await drive_async(keep_answer(held, now, ends_at, request_id, cost_nano_usd, packed))
    except SpendHubError as error:
        # The client has its answer all the same. The lease runs out, and who then repeats the key asks the vendor anew.
        logger.error("the answer of call %s could not be kept for repeats of its key: %s", request_id, error)
    else:
        if not is_kept:
            logger.warning("call %s outlived its claim; another call has its idempotency key by now", request_id)


async def _stay(held: Claim) -> None:
    """Says again and again that the call is running, for as long as it is."""
    while True:
        await asyncio.sleep(settings.CALL_HOLD_SECONDS / 3)
        try:
            await drive_async(extend(held, *_now_and_lease()))
        except SpendHubError as error:
            logger.warning("the claim of a running call could not be extended: %s", error)


async def _free(held: Claim) -> None:
    try:
        await drive_async(free(held, datetime.now(UTC)))
    except SpendHubError as error:
        logger.warning("an idempotency key stays taken until its lease ends: %s", error)


def _now_and_lease() -> tuple[datetime, datetime]:
    """Now, and how long a claim lasts from now on: as long as the hold of a call whose process is gone."""
    now = datetime.now(UTC)
    return now, now + timedelta(seconds=settings.CALL_HOLD_SECONDS)
