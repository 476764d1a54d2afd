"""The data plane's door: /v1/* for unchanged SDKs. Plain ASGI, because every layer here is paid per call.

It touches no ORM: keys, models, prices and budgets are read from in-process snapshots.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from routing.upstreams.transport import HttpTransport, Transport
from spendhub.api.errors import Broken, NoSuchRoute, WrongMethod
from spendhub.errors import Forbidden, SpendHubError
from spendhub.gateway.exchange import ClientLeft, Exchange, Receive, Send
from spendhub.gateway.openai.completions import complete_chat
from spendhub.gateway.openai.errors import error_answer, error_event
from spendhub.gateway.openai.models import list_models, one_model
from spendhub.tenants.identification import client_address, identify, presented_key
from spendhub.tenants.snapshot import Principal

logger = logging.getLogger(__name__)

Route = Callable[[Exchange, Principal, Transport], Awaitable[None]]

_encoder = msgspec.json.Encoder()
_MODEL_PREFIX = "/v1/models/"


class Gateway:
    """The ASGI application. `transport` is where calls leave; tests may pass another one."""

    def __init__(self, transport: Transport | None = None) -> None:
        self._transport: Transport = transport or HttpTransport()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            method, route = _route(exchange.path)
            if exchange.method != method:
                raise WrongMethod(f"{exchange.path} takes {method}, not {exchange.method[:20]}", allow=method)
            await route(exchange, _identify(exchange), self._transport)
        except ClientLeft:
            pass
        except SpendHubError as error:
            await _tell(exchange, error)
        except Exception:
            logger.exception("a call failed on our side")
            await _tell(exchange, Broken("something is broken on our side; it has been logged"))

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._transport.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _route(path: str) -> tuple[str, Route]:
    route = _ROUTES.get(path)
    if route is None and path.startswith(_MODEL_PREFIX):
        route = ("GET", _show_model)
    if route is None:
        raise NoSuchRoute(f"nothing answers at {path[:200]}")
    return route


def _identify(exchange: Exchange) -> Principal:
    key = presented_key(exchange.header(b"authorization"), exchange.header(b"x-api-key"))
    address = client_address(exchange.client, exchange.header(b"x-forwarded-for"))
    principal = identify(key, address, datetime.now(UTC))
    if not principal.can_spend:
        raise Forbidden("this API key may not spend; use one with the permission `spend`")
    return principal


async def _tell(exchange: Exchange, error: SpendHubError) -> None:
    if exchange.has_begun:
        # Its status is gone already: the last thing such a stream can carry is the error.
        await exchange.end(error_event(error))
        return
    status, body, headers = error_answer(error)
    if isinstance(error, WrongMethod):
        headers.append((b"allow", str(error.details["allow"]).encode()))
    await exchange.answer(status, body, headers)


async def _show_models(exchange: Exchange, principal: Principal, transport: Transport) -> None:
    await _answer_json(exchange, list_models(principal.tenant_id))


async def _show_model(exchange: Exchange, principal: Principal, transport: Transport) -> None:
    await _answer_json(exchange, one_model(principal.tenant_id, exchange.path.removeprefix(_MODEL_PREFIX)))


async def _answer_json(exchange: Exchange, value: dict[str, Any]) -> None:
    await exchange.answer(200, _encoder.encode(value), [(b"content-type", b"application/json")])


_ROUTES: dict[str, tuple[str, Route]] = {
    "/v1/chat/completions": ("POST", complete_chat),
    "/v1/models": ("GET", _show_models),
}

application = Gateway()
