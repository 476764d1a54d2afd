"""A gateway call's journey: plan -> hold -> vendor -> span on disk -> settle -> answer.

The same for every client dialect: `answer_call` reads the request, makes the plan, lets attempts.py find a
candidate whose answer begins, and hands that on, whole or piece by piece. Whatever happens on the
way, a call whose money was held is settled exactly once (open_call.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from routing import hooks
from routing.conversation import NotTranslatable
from routing.errors import NoModelFits, UpstreamError
from routing.execution import CLOSING_SECONDS, Execution, seconds_until, too_late
from routing.model_facts import ModelFacts
from routing.plans import Plan, make_plan, weighs_budgets
from routing.snapshot import CATALOG
from routing.tokens import PackedTokens, estimate_input_tokens
from routing.upstreams.base import RESPONSES
from routing.upstreams.transport import Transport
from routing.wanted import Wanted
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.answer_headers import ended_early, money_object
from spendhub.gateway.attempts import Attempts
from spendhub.gateway.attribution import attribute
from spendhub.gateway.begun import Begun, CallFailed
from spendhub.gateway.brake import apply_brakes
from spendhub.gateway.call_headers import call_headers
from spendhub.gateway.declared import Demands, demands_of
from spendhub.gateway.delivery import Delivery, deliver_last
from spendhub.gateway.dialect import Burst, CallRequest, ClientDialect, StreamOut
from spendhub.gateway.exchange import ClientLeft, Exchange, Headers, while_wanted
from spendhub.gateway.extras_asked import extras_of
from spendhub.gateway.growth import OUT_OF_MONEY, Growth, OutOfMoney
from spendhub.gateway.holding import need_of
from spendhub.gateway.idempotency import answer_once, idempotency_key
from spendhub.gateway.open_call import OpenCall, Origin
from spendhub.gateway.our_headers import REQUEST_ID
from spendhub.gateway.response_cache import Caching, answer_from_cache, caching_of
from spendhub.gateway.reviews import Reviewer
from spendhub.gateway.sampling import SAMPLES
from spendhub.gateway.unusual_asked import unusual_in
from spendhub.gateway.what_is_left import share_left
from spendhub.gateway.whole_answers import body_for, take_whole
from spendhub.ids import new_id
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import Principal, TenantFacts
from telemetry.expected_outputs import known_lengths

_JSON = (b"content-type", b"application/json")
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
MAX_CLIENT_REQUEST_ID = 200
# Who reads from the vendor heeds the call's deadline first; who writes to a client that reads nothing, so much later.
A_MOMENT_SECONDS = 0.25
# What a client says to a vendor in headers, passed on with a body that passes untouched.
PASSED_HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta")


async def answer_call(exchange: Exchange, principal: Principal, dialect: ClientDialect, transport: Transport) -> None:
    """Answers one call. What it raises before a vendor was asked is for the door to tell."""
    request = dialect.parse(await exchange.read_body())
    key = idempotency_key(exchange)
    if key is None:
        await _answer(exchange, principal, dialect, transport, request)
    else:
        await answer_once(
            exchange, principal, key, request.body, lambda kept: _answer(kept, principal, dialect, transport, request)
        )


async def _answer(
    exchange: Exchange, principal: Principal, dialect: ClientDialect, transport: Transport, request: CallRequest
) -> None:
    attribution = attribute(
        exchange, request.user, request.metadata, principal.attribution,
        wire=request.wire, metadata_field=request.metadata_field,
    )  # fmt: skip
    demands = demands_of(exchange, request.body)
    caching = caching_of(exchange, principal, request, attribution, demands.of_model)
    if caching is not None and (kept := await caching.find(principal.tenant_id)) is not None:
        await answer_from_cache(exchange, principal, request, attribution, kept)
        return
    notices = await apply_brakes(principal, request, attribution, exchange.client_left)
    input_tokens = estimate_input_tokens(request.body)
    origin = new_origin(exchange, principal, attribution, demands, notices)

    async def planned(untranslatable: str = "") -> Plan:
        return await plan_call(principal, request, dialect, attribution, demands, input_tokens, untranslatable)

    async def begin(plan: Plan) -> tuple[Begun, Reviewer | None]:
        reviewer = None
        if plan.review is not None and not request.is_stream:
            reviewer = Reviewer(origin, request, plan, dialect, transport, input_tokens)
        return await Attempts(origin, request, plan, dialect, transport, input_tokens).begin_for_client(), reviewer

    plan = await planned()
    try:
        try:
            begun, reviewer = await begin(plan)
        except NotTranslatable as error:
            plan = await _plan_without_translation(plan, planned, error)
            begun, reviewer = await begin(plan)
    except CallFailed as failed:
        await _answer_error(exchange, dialect, failed.call, failed.error)
        return
    sample = None
    # What reviewers look over before it goes out is not scored once more.
    if plan.scoring is not None and reviewer is None:
        sample = SAMPLES.begin(origin, request, plan, dialect, transport, begun.call)
    if sample is not None:
        exchange = sample.listen(exchange)
    try:
        if request.is_stream:
            await _answer_as_it_comes(exchange, dialect, begun)
        else:
            await _answer_at_once(exchange, dialect, begun, plan, caching, reviewer)
    finally:
        if sample is not None:
            sample.end(begun)


async def _plan_without_translation(
    plan: Plan, planned: Callable[[str], Awaitable[Plan]], error: NotTranslatable
) -> Plan:
    """Another plan for what could be said to no model of the first one: among those to which it passes as it is.

    Raises `error` where the client named the model, or there is none (docs/decisions/0058)."""
    if not plan.route:
        raise error
    try:
        return await planned(error.field)
    except NoModelFits:
        raise error from None


def new_origin(
    exchange: Exchange, principal: Principal, attribution: Attribution, demands: Demands, notices: Headers
) -> Origin:
    """What all attempts at one request share."""
    return Origin(
        principal, attribution, str(new_id()), demands.wait_seconds, _client_request_id(exchange),
        _passed_headers(exchange), notices, exchange.client_left,
    )  # fmt: skip


async def plan_call(
    principal: Principal,
    request: CallRequest,
    dialect: ClientDialect,
    attribution: Attribution,
    demands: Demands,
    input_tokens: int,
    untranslatable: str = "",
) -> Plan:
    """Which models are tried for the request; with a field that is `untranslatable`, of those alone to which the
    request passes as it is. Raises what `make_plan` raises."""
    wanted = wanted_of(principal.tenant, request, dialect, attribution, demands, input_tokens)
    if untranslatable:
        wanted = replace(wanted, untranslatable=untranslatable)
    catalog = CATALOG.current()
    # A hook may choose a strategy that weighs them.
    if hooks.BEFORE_ROUTING or weighs_budgets(catalog, wanted):
        wanted = replace(wanted, budget_share_left=await share_left(principal, attribution))
    return make_plan(catalog, wanted)


def wanted_of(
    tenant: TenantFacts,
    request: CallRequest,
    dialect: ClientDialect,
    attribution: Attribution,
    demands: Demands,
    input_tokens: int,
) -> Wanted:
    """What the request wants of a model, as routing is asked for it; see `plan_call`."""

    def output_of(model: ModelFacts) -> int:
        return need_of(request, model, 0, tenant.id, attribution.feature).output_tokens

    return Wanted(
        tenant_id=tenant.id,
        name=request.model,
        now=datetime.now(UTC),
        unpriced_models=tenant.unpriced_models,
        kind=request.kind,
        wire=request.wire,
        input_tokens=input_tokens,
        packed_tokens=PackedTokens(request.body),
        max_output_tokens=request.max_output_tokens,
        attribution=attribution,
        declared=demands.of_model,
        needs=lambda: dialect.needs(request),
        unusual=lambda: unusual_in(request),
        text=lambda: dialect.text(request),
        choices=request.choices,
        expected_output_of=output_of,
        known_lengths=known_lengths(tenant.id, attribution.feature),
        extras=extras_of(request),
    )


async def _answer_at_once(
    exchange: Exchange,
    dialect: ClientDialect,
    begun: Begun,
    plan: Plan,
    caching: Caching | None,
    reviewer: Reviewer | None,
) -> None:
    say = body_for(dialect)
    try:
        body = await take_whole(begun, say)
    except UpstreamError as error:
        await _answer_error(exchange, dialect, begun.call, error)
        return
    reviewed = await reviewer.look_over(begun, body, say) if reviewer is not None else None
    if reviewed is not None:
        begun, body = reviewed.begun, reviewed.answer
    call, execution = begun.call, begun.execution
    is_makeshift = begun.is_handed_on or (reviewed is not None and reviewed.is_doubtful)
    if caching is not None and not is_makeshift:
        await caching.keep(call, plan, body, execution.reader.finish_reason)
    exchange.note_booked(call.request_id, call.all_nano_usd)
    await exchange.answer(200, body, [_JSON, *call_headers(call, execution, reviewed=reviewed)])


async def _answer_as_it_comes(exchange: Exchange, dialect: ClientDialect, begun: Begun) -> None:
    call, execution = begun.call, begun.execution
    reader = execution.reader
    try:
        # However it ends, also where the client has left before the first event was asked for.
        async with aclosing(execution):
            if execution.is_translated:
                out = dialect.writing(begun.request, reader, call.model.name)
            else:
                out = dialect.passing(begun.request)
            await _pump_until_left(exchange, call, execution, out)
        if not out.is_done and reader.usage is None:
            raise UpstreamError(f"{call.model.provider.name} ended its stream in the middle")
    except OutOfMoney:
        call.note_ended(OUT_OF_MONEY)
        await call.settle(reader)
        money = ended_early(_money_of(call), OUT_OF_MONEY, call.strictest_budget)
        exchange.note_booked(call.request_id, call.all_nano_usd)
        await deliver_last(exchange.end(out.end_early(call.usage, money, call.model.name, reader.response_id)))
    except UpstreamError as error:
        await call.settle(reader, status="error", error_code=error.code)
        await deliver_last(exchange.fail(out.error_event(error, _money_of(call))))
    except ClientLeft:
        # What was produced until then is billed, delivered or not.
        await call.settle(reader, status="aborted")
    except asyncio.CancelledError:
        await asyncio.shield(call.settle(reader, status="aborted"))
        raise
    except Exception:
        await call.settle(reader, status="error", error_code="defect")
        raise
    else:
        await call.settle(reader)
        exchange.note_booked(call.request_id, call.all_nano_usd)
        await deliver_last(
            exchange.end(out.last_events(call.usage, _money_of(call), call.model.name, reader.response_id))
        )


async def _pump_until_left(exchange: Exchange, call: OpenCall, execution: Execution, out: StreamOut) -> None:
    """Hands the stream on to its end. Raises ClientLeft once nobody reads it any more; the vendor is then
    left at once, not at its next event. Raises AnswerTooLate where the call's time is over while its client reads
    nothing."""
    delivery, deadline = Delivery(), execution.deadline
    left = None if deadline is None else seconds_until(deadline) + A_MOMENT_SECONDS
    gone = exchange.client_left if exchange.outlives_its_client else lambda: delivery.given_up(exchange.client_left)
    try:
        async with asyncio.timeout(left) as limit:
            await while_wanted(_pump(exchange, call, execution, out, delivery), gone)
    except TimeoutError:
        if not limit.expired():
            raise
        raise too_late(call.model) from None


async def _pump(exchange: Exchange, call: OpenCall, execution: Execution, out: StreamOut, delivery: Delivery) -> None:
    growth, reader = Growth(call), execution.reader
    async with aclosing(execution.bursts()) as bursts:
        await exchange.begin([*_EVENTS, *call_headers(call, execution, is_stream=True)])
        async for burst in bursts:
            events = len(burst)
            if events:  # comments alone are no answer yet
                call.note_first_token()
            piece = out.pass_on(burst)
            if piece:
                delivery.begins()
                await exchange.write(piece)
                delivery.ends()
                if growth.may_end_it:
                    out.follow(piece)
            if out.is_done:
                await _read_to_the_end(bursts)
            elif growth.is_due(events, _size_of_words(call.request, execution, burst, piece), reader.usage_so_far):
                await growth.hold_more()


def _size_of_words(request: CallRequest, execution: Execution, burst: Burst, piece: bytes) -> int:
    """By how many bytes a burst's words are judged; 0 where it is by its events alone."""
    modalities = request.body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        return 0  # most of it is sound
    if request.wire != RESPONSES:
        return len(piece)
    # Events of that format repeat the request, and the whole answer. Such vendors have a token to each of the others.
    return sum(len(event.data) for event, _ in burst) if execution.is_translated else 0


def _money_of(call: OpenCall) -> dict[str, Any]:
    is_estimated = call.is_estimated or call.is_earlier_estimated
    return money_object(
        call.decision, call.model.name, call.cost_nano_usd + call.beside_nano_usd, is_estimated=is_estimated,
        earlier_nano_usd=call.earlier_nano_usd, over_hold_nano_usd=call.over_hold_nano_usd,
    )  # fmt: skip


async def _read_to_the_end(bursts: AsyncIterator[Burst]) -> None:
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            async for _ in bursts:
                pass
    except (TimeoutError, UpstreamError):
        pass  # everything that counts was there before the stream's own end


async def _answer_error(exchange: Exchange, dialect: ClientDialect, call: OpenCall, error: SpendHubError) -> None:
    status, body, headers = dialect.error_answer(error)
    await exchange.answer(status, body, [*headers, *call_headers(call)])


def _passed_headers(exchange: Exchange) -> dict[str, str]:
    passed = {name.decode(): exchange.header(name) or "" for name in PASSED_HEADERS if name in exchange.headers}
    for name, value in passed.items():
        if not value.isascii():
            raise Invalid(f"header {name} has characters that no vendor knows", field=name)
    return passed


def _client_request_id(exchange: Exchange) -> str | None:
    given = exchange.header(REQUEST_ID)
    return given[:MAX_CLIENT_REQUEST_ID].replace("\x00", "") if given else None
