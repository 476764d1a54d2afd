"""POST /v1/chat/completions: the call as one answer, or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

from routing.errors import UpstreamError
from routing.execution import Execution, execute
from routing.upstreams.transport import Transport
from spendhub.errors import SpendHubError
from spendhub.gateway.answer_headers import money_headers, money_object
from spendhub.gateway.attribution import attribute
from spendhub.gateway.calls import OpenCall, open_call
from spendhub.gateway.exchange import ClientLeft, Exchange, Headers
from spendhub.gateway.openai.chat import parse_chat
from spendhub.gateway.openai.errors import error_answer, error_event
from spendhub.gateway.openai.streaming import Burst, StreamEditor
from spendhub.tenants.snapshot import Principal

_JSON = (b"content-type", b"application/json")
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
MAX_CLIENT_REQUEST_ID = 200
# A vendor closes its stream right after [DONE]; only then can its connection be used again.
CLOSING_SECONDS = 1.0


async def complete_chat(exchange: Exchange, principal: Principal, transport: Transport) -> None:
    """Answers one chat completion. What it raises before the call is open is for the door to tell."""
    request = parse_chat(await exchange.read_body())
    body = request.body
    attribution = attribute(exchange, body.get("user"), body.get("metadata"), principal.attribution)
    client_request_id = exchange.header(b"x-spendhub-request-id")
    call = await open_call(principal, request, attribution, datetime.now(UTC))
    if client_request_id:
        call.client_request_id = client_request_id[:MAX_CLIENT_REQUEST_ID].replace("\x00", "")
    try:
        execution = await execute(call.model, body, is_stream=request.is_stream, transport=transport)
    except BaseException as error:
        await call.settle_unanswered(error)
        if not isinstance(error, SpendHubError):
            raise
        await _answer_error(exchange, call, error)
        return
    if request.is_stream:
        await _answer_as_it_comes(exchange, call, execution)
    else:
        await _answer_at_once(exchange, call, execution)


async def _answer_at_once(exchange: Exchange, call: OpenCall, execution: Execution) -> None:
    try:
        body = await execution.read()
    except asyncio.CancelledError:
        await asyncio.shield(call.settle(execution.reader, status="aborted"))
        raise
    except Exception as error:
        await call.settle(execution.reader, status="error", error_code=getattr(error, "code", "defect"))
        if not isinstance(error, UpstreamError):
            raise
        await _answer_error(exchange, call, error)
        return
    # A client that has left by now gets nothing, but the vendor has done its work: it counts all the same.
    await call.settle(execution.reader)
    await exchange.answer(200, body, [_JSON, *_headers(call, execution)])


async def _answer_as_it_comes(exchange: Exchange, call: OpenCall, execution: Execution) -> None:
    reader = execution.reader
    editor = StreamEditor(wants_usage=call.request.wants_usage)
    try:
        await _pump_until_left(exchange, call, execution, editor)
        if not editor.is_done and reader.usage is None:
            raise UpstreamError(f"{call.model.provider.name} ended its stream in the middle")
    except UpstreamError as error:
        await call.settle(reader, status="error", error_code=error.code)
        await exchange.end(error_event(error))
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
        money = money_object(call.decision, call.model.name, call.cost_nano_usd, is_estimated=call.is_estimated)
        await exchange.end(editor.last_events(call.usage, money, call.model.name, reader.response_id))


async def _pump_until_left(exchange: Exchange, call: OpenCall, execution: Execution, editor: StreamEditor) -> None:
    """Hands the stream on to its end. Raises ClientLeft once nobody reads it any more; the vendor is then
    left at once, not at its next event."""
    pump = asyncio.ensure_future(_pump(exchange, call, execution, editor))
    leaving = asyncio.ensure_future(exchange.client_left())
    try:
        await asyncio.wait((pump, leaving), return_when=asyncio.FIRST_COMPLETED)
        if pump.done():
            return pump.result()
    finally:
        leaving.cancel()
        if not pump.done():
            pump.cancel()
            await asyncio.wait((pump,))
    raise ClientLeft


async def _pump(exchange: Exchange, call: OpenCall, execution: Execution, editor: StreamEditor) -> None:
    async with aclosing(execution.bursts()) as bursts:
        await exchange.begin([*_EVENTS, *_headers(call, execution, is_stream=True)])
        async for burst in bursts:
            call.note_first_token()
            piece = editor.pass_on(burst)
            if piece:
                await exchange.write(piece)
            if editor.is_done:
                await _read_to_the_end(bursts)


async def _read_to_the_end(bursts: AsyncIterator[Burst]) -> None:
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            async for _ in bursts:
                pass
    except (TimeoutError, UpstreamError):
        pass  # everything that counts was there before [DONE]


async def _answer_error(exchange: Exchange, call: OpenCall, error: SpendHubError) -> None:
    status, body, headers = error_answer(error)
    await exchange.answer(status, body, [*headers, *_headers(call, None)])


def _headers(call: OpenCall, execution: Execution | None, *, is_stream: bool = False) -> Headers:
    cost = None if is_stream else call.cost_nano_usd
    headers = money_headers(call.decision, call.model.name, call.request_id, cost)
    vendors_id = execution.response.headers.get("x-request-id") if execution is not None else None
    if vendors_id:
        # OpenAI's SDKs show it as `_request_id`; a vendor's support asks for it.
        headers.append((b"x-request-id", vendors_id.encode("latin-1", "replace")))
    return headers
