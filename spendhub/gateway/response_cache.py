"""Answers that are given again: exactly the same request, of the same tenant and feature, costs nothing.

Opt-in: by a rule for the feature, or by the header `x-spendhub-cache: 3600` (seconds; 0 for never). Only whole
answers that are complete and depend on the request alone are kept; sealed, for Redis may write them to a disk. A call
that has not opted in pays one dict lookup.
docs/feedback-and-savings.md, "Answers that are given again".
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from django.conf import settings
from django.core.cache import BaseCache, caches
from django_redis import get_redis_connection
from redis.exceptions import RedisError

from budgets.counters.drive import drive_async
from budgets.decisions import ALLOW, WARN
from routing.plans import Plan
from routing.snapshot import CATALOG
from routing.token_usage import TokenUsage
from routing.upstreams.json_objects import objects_among, readable_object
from routing.wanted import Declared
from spendhub.errors import Unavailable
from spendhub.gateway.answer_headers import standing_headers
from spendhub.gateway.canonical import canonical_body, digest_of
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Exchange, Headers
from spendhub.gateway.open_call import OpenCall
from spendhub.gateway.our_headers import CACHE, InvalidDemand
from spendhub.gateway.what_is_left import look_for
from spendhub.ids import new_call_id
from spendhub.money import format_usd
from spendhub.sealing import SealBroken, open_for, seal_for
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal
from telemetry.cache_rules import MAX_CACHE_SECONDS, ttl_of
from telemetry.drafts import SpanDraft
from telemetry.recording import record

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 256 * 1024
# Redis refuses every write once its memory is full, counters too: answers keep away from that.
MOST_MEMORY = 0.75
MEMORY_SECONDS = 10.0
# In each vendor's own word: the model had said all it wanted. Embeddings have no such word.
_COMPLETE = frozenset({None, "stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "STOP"})
_COMPLETE |= {"completed"}
# Where an answer to one question holds several, OpenAI's and Google's, and where each says why it ended.
_SEVERAL = (("choices", "finish_reason"), ("candidates", "finishReason"))
# With any of these an answer depends on more than the request, or has effects of its own.
_MORE_THAN_THE_REQUEST = (
    "previous_response_id", "conversation", "thread", "prompt", "web_search_options", "container", "mcp_servers",
    "cachedContent",
)  # fmt: skip
# What a client says to the vendor beside the body, and the vendor heeds.
_WEIGHED_HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta")
_CLIENTS_TOOLS = (None, "function", "custom")


class Kept(msgspec.Struct, frozen=True):
    """An answer as it is kept. `cost_nano_usd` is all that it had cost; `kept_at`, and `ends_at`, when it is forgotten,
    are seconds since 1970."""

    body: bytes
    model: str
    provider: str
    usage: dict[str, int]
    cost_nano_usd: int
    kept_at: float
    ends_at: float = 0.0  # of those that an earlier version has kept


_memory_seen = (float("-inf"), True)
_decoder = msgspec.msgpack.Decoder(Kept)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Caching:
    """One call that has opted in: where its answer is kept, how old it may be, and how long it is kept at least."""

    key: str
    seconds: int

    async def find(self, tenant_id: int) -> Kept | None:
        """The answer that was kept, unless it is too old, or its model may not be called any more."""
        raw = await asyncio.to_thread(_store().get, self.key)
        kept = _read(raw, self.key)
        if kept is None or time.time() - kept.kept_at >= self.seconds:
            return None
        model = CATALOG.current().resolve(tenant_id, kept.model)
        return kept if model is not None and model.unavailable_because() is None else None

    async def keep(self, call: OpenCall, plan: Plan, body: bytes, finish_reason: str | None) -> None:
        """Keeps the answer of a settled call, which was made by `plan`, for the next one who asks the same, if it is
        one to keep."""
        # A stand-in's answer would go on being given after the route's own models can be called again.
        if plan.begins_with_fallback or not _is_worth_keeping(call, body, finish_reason):
            return
        model = call.model
        now, usage = time.time(), asdict(call.usage)
        kept = Kept(body, model.name, model.provider.name, usage, call.all_nano_usd, now, now + self.seconds)
        await asyncio.to_thread(_put, self.key, kept)


def caching_of(
    exchange: Exchange, principal: Principal, request: CallRequest, attribution: Attribution, declared: Declared
) -> Caching | None:
    """Whether, and where, the call's answer may come from memory; None for a call that has not opted in.

    Raises InvalidDemand for a header that is no number of seconds.
    """
    seconds = _seconds_asked(exchange)
    if seconds is None:
        seconds = ttl_of(principal.tenant_id, attribution.feature)
    if not seconds or request.is_stream or not is_repeatable(request.body):
        return None
    headers = [exchange.headers.get(name, b"") for name in _WEIGHED_HEADERS]
    return Caching(cache_key(principal.tenant_id, request, attribution.feature, declared, headers), seconds)


def cache_key(
    tenant_id: int, request: CallRequest, feature: str | None, declared: Declared, headers: Iterable[bytes] = ()
) -> str:
    """The same for the same tenant, route, model, feature, demands, vendor's headers and body; whoever asks."""
    demands = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in _demands(declared)}
    parts = (str(tenant_id), request.wire, request.model, feature or "", msgspec.json.encode(demands))
    return digest_of((*parts, *headers, canonical_body(request.body))).hex()


def is_repeatable(body: Mapping[str, Any]) -> bool:
    """Whether an answer depends on the request alone: no vendor's own tools, nothing that is kept at the vendor."""
    if any(body.get(field) not in (None, False) for field in _MORE_THAN_THE_REQUEST):
        return False
    tools = body.get("tools")
    if not isinstance(tools, list):
        return True
    return all(isinstance(tool, Mapping) and _is_clients(tool) for tool in tools)


def _is_clients(tool: Mapping[str, Any]) -> bool:
    """Google's own tools have no type: what is neither a function nor has a name is one of them."""
    if "functionDeclarations" in tool:
        return len(tool) == 1
    return tool.get("type") in _CLIENTS_TOOLS and ("type" in tool or "name" in tool)


async def answer_from_cache(
    exchange: Exchange, principal: Principal, request: CallRequest, attribution: Attribution, kept: Kept
) -> None:
    """Gives a kept answer again. It is recorded like any call, at cost 0, with what it has saved."""
    now = datetime.now(UTC)
    draft = SpanDraft(
        request_id=str(new_call_id()),
        occurred_at=now,
        source="gateway",
        cost_nano_usd=0,
        attribution=attribution,
        api_key=principal.key_prefix,
        provider=kept.provider,
        model=kept.model,
        requested_model=request.model[:120],
        usage=TokenUsage(**kept.usage),
        # No duration: how fast memory answers says nothing about the model.
        metadata={"cache": "hit", "saved_nano_usd": kept.cost_nano_usd},
    )
    await drive_async(record(principal.tenant_id, [draft], now))
    standing = await _standing(principal, attribution, kept)
    exchange.note_booked(draft.request_id, 0)
    headers = [(b"content-type", b"application/json"), *_headers(kept, draft.request_id), *standing]
    await exchange.answer(200, kept.body, headers)


async def _standing(principal: Principal, attribution: Attribution, kept: Kept) -> Headers:
    try:
        return standing_headers(await look_for(principal, attribution, provider=kept.provider, model=kept.model))
    except Unavailable as error:
        # The answer is there, and costs nothing: it does not wait for the counters.
        logger.warning("an answer from memory says nothing of its budgets: %s", error)
        return []


def _headers(kept: Kept, request_id: str) -> Headers:
    model = "".join(character if " " <= character <= "~" else "?" for character in kept.model)
    return [
        (CACHE, b"hit"),
        (b"x-spendhub-cost", format_usd(0).encode()),
        (b"x-spendhub-saved", format_usd(kept.cost_nano_usd).encode()),
        (b"x-spendhub-model", model.encode()),
        (b"x-spendhub-decision", ALLOW.encode()),
        (b"x-spendhub-request-id", request_id.encode()),
    ]


def _seconds_asked(exchange: Exchange) -> int | None:
    if CACHE not in exchange.headers:
        return None
    given = exchange.header(CACHE) or ""
    if not (given.isascii() and given.isdigit() and len(given) < 9 and int(given) <= MAX_CACHE_SECONDS):
        raise InvalidDemand(
            f"x-spendhub-cache must be a number of seconds from 0 to {MAX_CACHE_SECONDS}", field="x-spendhub-cache"
        )
    return int(given)


def _demands(declared: Declared) -> list[tuple[str, Any]]:
    return list(asdict(declared).items())


def _is_worth_keeping(call: OpenCall, body: bytes, finish_reason: str | None) -> bool:
    """A complete answer of the model that a call of this kind is meant for, at its real cost."""
    is_as_asked = call.decision.action in (ALLOW, WARN) and call.clamp_to is None
    is_whole = finish_reason in _COMPLETE and not call.is_estimated
    return is_as_asked and is_whole and len(body) <= MAX_ANSWER_BYTES and _have_all_ended(body)


def _have_all_ended(body: bytes) -> bool:
    """Whether each of several answers is complete; `finish_reason` is of one of them alone."""
    told = readable_object(body) or {}
    return all(answer.get(why) in _COMPLETE for several, why in _SEVERAL for answer in objects_among(told.get(several)))


@cache
def _store() -> BaseCache:
    return caches["answers"]


def _put(key: str, kept: Kept) -> None:
    """Keeps it in the place of an older one, and for as long as that would have been there: others may take it at an
    age that is too high for this caller."""
    if not _has_memory(time.monotonic()):
        return
    # Of two that are kept at the same moment neither may see the other: one is asked for anew a little sooner then.
    before = _read(_store().get(key), key)
    if before is not None and before.ends_at > kept.ends_at:
        kept = msgspec.structs.replace(kept, ends_at=before.ends_at)
    sealed = seal_for(_place_of(key), _encoder.encode(kept))
    _store().set(key, sealed, math.ceil(kept.ends_at - kept.kept_at))


def _has_memory(now: float) -> bool:
    """Whether Redis can take answers without counters being refused for lack of memory; looked up now and then."""
    global _memory_seen
    if not settings.REDIS_URL:
        return True  # the process's own store holds so many answers and no more
    seen_at, has_memory = _memory_seen
    if now - seen_at >= MEMORY_SECONDS:
        try:
            memory = get_redis_connection("answers").info("memory")
        except RedisError:
            has_memory = False
        else:
            most = int(memory.get("maxmemory") or 0)
            has_memory = not most or int(memory["used_memory"]) < most * MOST_MEMORY
        _memory_seen = (now, has_memory)
    return has_memory


def _place_of(key: str) -> str:
    # The key is a digest of the tenant and all that the answer depends on.
    return f"response cache {key}"


def _read(raw: Any, key: str) -> Kept | None:
    if not isinstance(raw, bytes):
        return None
    try:
        return _decoder.decode(open_for(_place_of(key), raw))
    except (SealBroken, msgspec.DecodeError):
        logger.warning("a kept answer cannot be read; it is asked for anew")
        return None
