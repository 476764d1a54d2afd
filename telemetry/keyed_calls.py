"""Idempotency keys of gateway calls: one caller at a time has a key, and its answer is there for all who come later.

    claim -> Mine                       the call may be made; `extend` now and then, while it runs
          -> Taken                      somebody else's is running: look again
          -> Answered                   the answer is given again
    Mine  -> keep_answer                the key stands for this answer until it is forgotten
          -> free                       nothing was answered: the next one may try

All writes go through the group commit. The unique key (tenant, key) decides who comes first, in whichever process.
docs/gateway.md, "The same call twice".
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spendhub import group_commit
from spendhub.bulk_insert import insert_rows
from spendhub.steps import AwaitFuture, Journey
from telemetry.models import KeyedCall

_COLUMNS = (
    "tenant_id", "key_sha256", "request_sha256", "api_key", "claim_id", "claimed_at", "ends_at", "answered_at",
    "request_id", "cost_nano_usd", "answer",
)  # fmt: skip
# A row that has come to its end counts for nothing: whoever comes first takes it over as if it were new.
_TAKE_OVER = (
    "(tenant_id, key_sha256) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[2:])
    + f" WHERE {KeyedCall._meta.db_table}.ends_at <= excluded.claimed_at"
)
# Small portions: a long delete would hold the database's one writer on SQLite.
PORTION = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """One call that wants its key. `id` is its own; the digests are SHA-256 in hex."""

    tenant_id: int
    key_sha256: str
    request_sha256: str
    api_key: str
    id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Mine:
    """The key is this call's."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Another call with the key is running."""

    request_sha256: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered; `answer` is as it was given to `keep_answer`, None where it was too large to be kept."""

    request_sha256: str
    request_id: str
    cost_nano_usd: int | None
    answer: bytes | None


Found = Mine | Taken | Answered


@dataclass(frozen=True, slots=True)
class _Asked:
    claim: Claim
    now: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class _Given:
    claim: Claim
    now: datetime
    ends_at: datetime
    request_id: str
    cost_nano_usd: int | None
    answer: bytes | None


def claim(wanted: Claim, now: datetime, ends_at: datetime) -> Journey[Found]:
    """Takes the key until `ends_at`, unless another call has it. Repeating it changes nothing."""
    found: Found = yield AwaitFuture(group_commit.submit(claim_keys, _Asked(wanted, now, ends_at)))
    return found


def extend(held: Claim, now: datetime, ends_at: datetime) -> Journey[None]:
    """Says that the call is still running."""
    yield AwaitFuture(group_commit.submit(extend_claims, _Asked(held, now, ends_at)))


def keep_answer(
    held: Claim, now: datetime, ends_at: datetime, request_id: str, cost_nano_usd: int | None, answer: bytes | None
) -> Journey[bool]:
    """Keeps the answer, which the caller has sealed, until `ends_at`; False where the claim had lapsed and somebody
    else has the key by now."""
    given = _Given(held, now, ends_at, request_id[:200], cost_nano_usd, answer)
    is_kept: bool = yield AwaitFuture(group_commit.submit(keep_answers, given))
    return is_kept


def free(held: Claim, now: datetime) -> Journey[None]:
    """Gives the key back unanswered."""
    yield AwaitFuture(group_commit.submit(free_claims, _Asked(held, now, now)))


def claim_keys(asked: Sequence[_Asked]) -> list[Found]:
    """The applier of `claim`."""
    found: dict[int, Found] = {}
    # In one order in every process, so that two batches never wait for each other's rows.
    for position in sorted(range(len(asked)), key=lambda each: _place_of(asked[each].claim)):
        found[position] = _claim_one(asked[position])
    return [found[position] for position in range(len(asked))]


def extend_claims(asked: Sequence[_Asked]) -> list[None]:
    """The applier of `extend`."""
    for each in sorted(asked, key=lambda each: _place_of(each.claim)):
        _rows_of(each.claim).filter(answered_at=None).update(ends_at=each.ends_at)
    return [None] * len(asked)


def keep_answers(given: Sequence[_Given]) -> list[bool]:
    """The applier of `keep_answer`."""
    kept: dict[int, bool] = {}
    for position in sorted(range(len(given)), key=lambda each: _place_of(given[each].claim)):
        each = given[position]
        kept[position] = bool(
            _rows_of(each.claim).update(
                answered_at=each.now,
                ends_at=each.ends_at,
                request_id=each.request_id,
                cost_nano_usd=each.cost_nano_usd,
                answer=each.answer,
            )
        )
    return [kept[position] for position in range(len(given))]


def free_claims(asked: Sequence[_Asked]) -> list[None]:
    """The applier of `free`."""
    for each in sorted(asked, key=lambda each: _place_of(each.claim)):
        _rows_of(each.claim).filter(answered_at=None).delete()
    return [None] * len(asked)


def prune_keyed_calls(now: datetime) -> int:
    """Deletes one portion of what has come to its end; says how many. A job of the worker."""
    old = KeyedCall.objects.across_tenants().filter(ends_at__lte=now)
    ids = list(old.order_by("ends_at").values_list("id", flat=True)[:PORTION])
    # Looked at again: somebody may have taken one over in between.
    return old.filter(id__in=ids).delete()[0] if ids else 0


def _claim_one(asked: _Asked) -> Found:
    wanted = asked.claim
    row = (
        wanted.tenant_id, wanted.key_sha256, wanted.request_sha256, wanted.api_key, wanted.id, asked.now, asked.ends_at,
        None, "", None, None,
    )  # fmt: skip
    if insert_rows(KeyedCall, _COLUMNS, [row], _TAKE_OVER, ("claim_id",)):
        return Mine()
    known = KeyedCall.objects.for_tenant(wanted.tenant_id).get(key_sha256=wanted.key_sha256)
    if known.claim_id == wanted.id and known.answered_at is None:
        # The commit of our own claim was in doubt, and it is applied a second time.
        return Mine()
    if known.answered_at is None:
        return Taken(known.request_sha256)
    answer = None if known.answer is None else bytes(known.answer)
    return Answered(known.request_sha256, known.request_id, known.cost_nano_usd, answer)


def _rows_of(held: Claim) -> Any:
    rows = KeyedCall.objects.for_tenant(held.tenant_id)
    return rows.filter(key_sha256=held.key_sha256, claim_id=held.id)


def _place_of(held: Claim) -> tuple[int, str]:
    return held.tenant_id, held.key_sha256
