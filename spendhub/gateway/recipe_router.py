"""The recipe's POST and GET /api/router: a prompt goes in, the best model answers, and the answer says what it cost.

camelCase, and exactly the recipe's status codes: 200; 400 with the issues; 429 over budget; 503 where no model fits
or none answers. Behind the same budgets, routes and fallbacks as every other call. Source: docs/gateway.md, "The
recipe's router".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from budgets.bodies import Text
from budgets.errors import BudgetExceeded
from budgets.recipe import as_number, issue_of, recipe_answer, recipe_error
from routing.conversation import Reply
from routing.conversation import Text as Words
from routing.errors import UpstreamError
from routing.routes import AUTO
from routing.snapshot import KNOWN_CAPABILITIES
from routing.strategies.registry import strategy_called
from routing.tokens import estimate_input_tokens
from routing.upstreams.base import CHAT
from routing.upstreams.transport import Transport
from routing.wanted import MOST_MS
from spendhub.api.bodies import decode
from spendhub.api.errors import headers_of, status_of
from spendhub.errors import Invalid, InvalidMoney, SpendHubError
from spendhub.gateway.answer_headers import refusal_headers
from spendhub.gateway.attempts import Attempts
from spendhub.gateway.attribution import attribute
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.brake import apply_brakes
from spendhub.gateway.call_headers import call_headers
from spendhub.gateway.calls import new_origin, plan_call
from spendhub.gateway.declared import NO_DEMANDS, Demands, demands_of
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Exchange, Headers
from spendhub.gateway.idempotency import answer_once, idempotency_key
from spendhub.gateway.idempotency_errors import IdempotencyInProgress
from spendhub.gateway.open_call import OpenCall
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.models import models_to_show
from spendhub.gateway.request_bodies import object_in
from spendhub.gateway.reviews import Reviewer
from spendhub.gateway.sampling import SAMPLES
from spendhub.gateway.whole_answers import take_whole
from spendhub.gateway.words_sent import words_of_reply
from spendhub.money import parse_usd
from spendhub.tenants.attribution import DIMENSIONS, clean_key
from spendhub.tenants.snapshot import Principal

_JSON = (b"content-type", b"application/json")
_encoder = msgspec.json.Encoder(enc_hook=str)
MOST_ISSUES = 20


class RouterBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What is asked. `budget_id` is the feature that the call counts for; `metadata` may name the other dimensions, and
    as `budgetPerRequest` what the call may cost at most, in USD."""

    prompt: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    required_capabilities: list[str] = []
    budget_id: Text | None = None
    strategy: Text | None = None
    user_tier: Literal["free", "standard", "premium"] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=MOST_MS)] | None = None
    confidence_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    metadata: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(RouterBody)
Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class Routed:
    """A routed call on its way: as a chat request, and what its body demands of the model."""

    request: CallRequest
    demands: Demands


async def route_prompt(exchange: Exchange, principal: Principal, transport: Transport) -> None:
    """Answers one routing request."""
    raw = await exchange.read_body()
    routed = read_routed(raw, demands_of(exchange, {}))
    key = idempotency_key(exchange)
    if key is None:
        await _answer(exchange, principal, transport, routed)
    else:
        body = object_in(raw)
        await answer_once(exchange, principal, key, body, lambda kept: _answer(kept, principal, transport, routed))


async def _answer(exchange: Exchange, principal: Principal, transport: Transport, routed: Routed) -> None:
    began = time.monotonic()
    request = routed.request
    attribution = attribute(exchange, None, request.metadata, principal.attribution)
    notices = await apply_brakes(principal, request, attribution, exchange.client_left)
    input_tokens = estimate_input_tokens(request.body)
    plan = await plan_call(principal, request, CHAT_DIALECT, attribution, routed.demands, input_tokens)
    origin = new_origin(exchange, principal, attribution, routed.demands, notices)
    reviewer = None
    if plan.review is not None:
        reviewer = Reviewer(origin, request, plan, CHAT_DIALECT, transport, input_tokens)
    try:
        begun = await Attempts(origin, request, plan, CHAT_DIALECT, transport, input_tokens).begin_for_client()
    except CallFailed as failed:
        await _answer_error(exchange, failed.call, failed.error)
        return
    try:
        reply = await take_whole(begun, _reply)
    except UpstreamError as error:
        await _answer_error(exchange, begun.call, error)
        return
    reviewed = await reviewer.look_over(begun, reply, _reply) if reviewer is not None else None
    if reviewed is not None:
        begun, reply = reviewed.begun, reviewed.answer
    call = begun.call
    told: dict[str, Any] = {
        "model": call.model.name,
        "provider": call.model.provider.name,
        "strategy": plan.strategy,
        "cost": as_number(call.all_nano_usd),
        "latencyMs": int((time.monotonic() - began) * 1000),
        "content": _words(reply),
        "finishReason": reply.finish,
        "usage": {"inputTokens": call.usage.total_input_tokens, "outputTokens": call.usage.output_tokens},
        "requestId": call.request_id,
        "reason": plan.reason,
        "isFallback": plan.begins_with_fallback or call.model.name != plan.candidates[0].model.name,
    }
    if reviewed is not None:
        told |= {"confidence": reviewed.confidence, "isEscalated": reviewed.is_escalated}
    exchange.note_booked(call.request_id, call.all_nano_usd)
    await exchange.answer(200, _encoder.encode(told), [_JSON, *call_headers(call, begun.execution, reviewed=reviewed)])
    if plan.scoring is not None and reviewer is None:
        sample = SAMPLES.begin(origin, request, plan, CHAT_DIALECT, transport, call)
        if sample is not None:
            sample.score(call, lambda: words_of_reply(reply))


def list_routable(principal: Principal) -> dict[str, Any]:
    """The models that a prompt may be routed to."""
    return {
        "models": [
            {
                "id": model.name,
                "provider": model.provider.name,
                "maxTokens": model.context_tokens,
                "capabilities": sorted(model.capabilities),
                "quality": model.quality,
            }
            for model in models_to_show(principal.tenant_id)
            if model.kind == "chat"
        ]
    }


def read_routed(raw: bytes, by_headers: Demands = NO_DEMANDS) -> Routed:
    """The request in `raw`, over whose demands the headers' win; capabilities of both are demanded.

    Raises InvalidJson; or the first of the body's problems, by its field, with all of them (the first 20) in
    `details.issues`."""
    body, max_cost_nano_usd = _read_body(raw)
    chat: dict[str, Any] = {"model": AUTO, "messages": [{"role": "user", "content": body.prompt}]}
    if body.max_tokens is not None:
        chat["max_completion_tokens"] = body.max_tokens
    request = CallRequest(
        wire=CHAT, body=chat, model=AUTO, max_output_tokens=body.max_tokens, metadata=_attributed(body),
        is_limit_ours=True,
    )  # fmt: skip
    base = by_headers.of_model
    declared = replace(
        base,
        capabilities=base.capabilities | frozenset(body.required_capabilities),
        max_cost_nano_usd=_first(base.max_cost_nano_usd, max_cost_nano_usd),
        timeout_ms=_first(base.timeout_ms, body.timeout_ms),
        strategy=base.strategy or body.strategy or None,
        user_tier=base.user_tier or body.user_tier,
        confidence_threshold=_first(base.confidence_threshold, body.confidence_threshold),
    )
    return Routed(request, replace(by_headers, of_model=declared))


def _first(by_header: Said | None, by_body: Said | None) -> Said | None:
    return by_body if by_header is None else by_header


def _read_body(raw: bytes) -> tuple[RouterBody, int | None]:
    """The body, and what the call may cost at most, which stands in its metadata."""
    problems: list[SpendHubError] = []
    try:
        body = decode(raw, _decoder)
    except Invalid:
        body, problems = _sound_part(object_in(raw))
    problems += _contradictions(body)
    max_cost_nano_usd = _budget_per_request(body, problems)
    if problems:
        first = problems[0]
        first.details["issues"] = [issue_of(problem) for problem in problems[:MOST_ISSUES]]
        raise first
    return body, max_cost_nano_usd


def _sound_part(given: Mapping[str, Any]) -> tuple[RouterBody, list[SpendHubError]]:
    """What can be read of a body that does not fit, and what is wrong with each of its other fields."""
    problems: list[SpendHubError] = []
    sound: dict[str, Any] = {"prompt": "-"}
    if "prompt" not in given:
        problems += _misfit({})
    for name, value in given.items():
        if len(problems) == MOST_ISSUES:
            break
        misfit = _misfit({"prompt": "-", name: value})
        problems += misfit
        if not misfit:
            sound[name] = value
    return decode(_encoder.encode(sound), _decoder), problems


def _misfit(fields: Mapping[str, Any]) -> list[SpendHubError]:
    try:
        decode(_encoder.encode(fields), _decoder)
    except Invalid as error:
        return [error]
    return []


def _contradictions(body: RouterBody) -> list[SpendHubError]:
    """What is wrong with fields that are of the right kind."""
    problems: list[SpendHubError] = []
    if not body.prompt.strip():
        problems.append(Invalid("prompt must not be empty", field="prompt"))
    unknown = [word for word in body.required_capabilities if word not in KNOWN_CAPABILITIES]
    if unknown:
        told = f"there is no capability {unknown[0][:40]!r}; there are {', '.join(KNOWN_CAPABILITIES)}"
        problems.append(Invalid(told, field="requiredCapabilities"))
    metadata = body.metadata or {}
    named = {f"metadata.{name}": metadata[name] for name in DIMENSIONS if metadata.get(name) not in (None, "")}
    for field, value in ({"budgetId": body.budget_id} | named).items():
        if value is not None:
            problems += _refusal_of(clean_key, field, value)
    if body.strategy:
        problems += _refusal_of(strategy_called, body.strategy)
    return problems


def _budget_per_request(body: RouterBody, problems: list[SpendHubError]) -> int | None:
    """What the call may cost at most, in nano_usd; None where nothing is said, or what is said joins the problems."""
    given = (body.metadata or {}).get("budgetPerRequest")
    try:
        return None if given is None else parse_usd(given)
    except InvalidMoney as error:
        error.details["field"] = "metadata.budgetPerRequest"
        problems.append(error)
        return None


def _refusal_of(read: Callable[..., object], *given: Any) -> list[SpendHubError]:
    try:
        read(*given)
    except SpendHubError as error:
        return [error]
    return []


def tell_recipe_error(error: SpendHubError) -> tuple[int, bytes, Headers]:
    """Status, body and headers in the recipe's shape: its router knows 400, 429 and 503, and our 401, 403 and 413."""
    status = status_of(error)
    told: Mapping[str, Any] = recipe_error(error)
    if isinstance(error, BudgetExceeded):
        status, told = 429, {**recipe_answer(error.decision, None), **told}
    elif isinstance(error, IdempotencyInProgress):
        status = 503
    elif status in (402, 404, 409, 415):
        status = 400
    headers = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    if isinstance(error, BudgetExceeded):
        headers += refusal_headers(error.decision)
    return status, _encoder.encode(told), [_JSON, *headers]


async def _answer_error(exchange: Exchange, call: OpenCall, error: SpendHubError) -> None:
    status, body, headers = tell_recipe_error(error)
    await exchange.answer(status, body, [*headers, *call_headers(call)])


def _attributed(body: RouterBody) -> dict[str, Any]:
    given = body.metadata or {}
    named = {dimension: given[dimension] for dimension in DIMENSIONS if dimension in given}
    return named | ({} if body.budget_id is None else {"feature": body.budget_id})


def _reply(begun: Begun, body: bytes) -> Reply:
    return begun.execution.reader.reply()


def _words(reply: Reply) -> str:
    return "".join(block.text for block in reply.blocks if isinstance(block, Words))
