"""The data plane's door: /v1 and /v1beta for unchanged SDKs. Plain ASGI, because every layer here is paid per call.

It touches no ORM: keys, models, prices, routes and budgets are read from in-process snapshots.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from routing.snapshot import CATALOG
from routing.upstreams.transport import HttpTransport, Transport
from spendhub.api.errors import Broken, NoSuchRoute, WrongMethod
from spendhub.api.permissions import require_permission
from spendhub.api.queries import refuse_unknown
from spendhub.errors import SpendHubError
from spendhub.gateway.anthropic.count_tokens import count_tokens_answer
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.anthropic.models import list_models as list_anthropic_models
from spendhub.gateway.anthropic.models import one_model as one_anthropic_model
from spendhub.gateway.calls import answer_call
from spendhub.gateway.dialect import ClientDialect
from spendhub.gateway.exchange import ClientLeft, Exchange, Receive, Send
from spendhub.gateway.gemini.addresses import (
    METHODS,
    UPLOADS,
    Called,
    called_in,
    check_alt,
    expects_array,
    googles_key,
    is_googles,
    method_in,
)
from spendhub.gateway.gemini.addresses import MODELS as GOOGLES_MODELS
from spendhub.gateway.gemini.array_exchange import ArrayExchange
from spendhub.gateway.gemini.count_tokens import count_tokens_answer as count_googles_tokens
from spendhub.gateway.gemini.embed import EmbedDialect, EmbedExchange
from spendhub.gateway.gemini.generate import GENERATE_DIALECT, GenerateDialect
from spendhub.gateway.gemini.models import list_models as list_googles_models
from spendhub.gateway.gemini.models import one_model as one_googles_model
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT
from spendhub.gateway.openai.models import list_models, one_model
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.recipe_router import list_routable, route_prompt, tell_recipe_error
from spendhub.gateway.sampling import SAMPLES
from spendhub.gateway.what_is_left import what_is_left
from spendhub.tenants.identification import client_address, identify, presented_key
from spendhub.tenants.snapshot import Principal

logger = logging.getLogger(__name__)

_Look = Callable[[Exchange, Principal], Awaitable[dict[str, Any]]]

_encoder = msgspec.json.Encoder(enc_hook=str)
_JSON = (b"content-type", b"application/json")
_MODEL_PREFIXES = ("/v1/models/", GOOGLES_MODELS + "/")
# Outside /v1, but a call like the others.
RECIPE_ROUTER = "/api/router"

# What stands below these is answered here, down to what does not exist: SDKs read errors in their own shape only.
_BELOW = ("/v1/", "/v1beta/", UPLOADS)
_ALONE = frozenset(("/v1", "/v1beta", RECIPE_ROUTER))

# Each route that makes a call, and the dialect it is asked and answered in. Google's are not among them: their
# paths name the model.
CALLS: dict[str, ClientDialect] = {
    "/v1/chat/completions": CHAT_DIALECT,
    "/v1/responses": RESPONSES_DIALECT,
    "/v1/embeddings": EMBEDDINGS_DIALECT,
    "/v1/messages": MESSAGES_DIALECT,
}


def is_of_data_plane(path: str) -> bool:
    """Whether the gateway answers there, if only by saying that there is nothing."""
    return path.startswith(_BELOW) or path in _ALONE


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
        if expects_array(exchange):
            exchange = ArrayExchange(exchange)
        try:
            await self._answer(exchange)
        except ClientLeft:
            pass

    async def _answer(self, exchange: Exchange) -> None:
        """One answer, of whatever becomes of the request. Raises ClientLeft where nobody reads it."""
        try:
            dialect = CALLS.get(exchange.path)
            if dialect is not None:
                _expect(exchange, "POST")
                await answer_call(exchange, _identify(exchange), dialect, self._transport)
            elif exchange.path == RECIPE_ROUTER:
                await self._serve_recipe(exchange)
            elif (called := called_in(exchange.path)) is not None:
                await self._serve_googles(exchange, called)
            else:
                await _answer_a_look(exchange)
        except ClientLeft:
            raise
        except SpendHubError as error:
            await _tell(exchange, error)
        except Exception:
            logger.exception("a call failed on our side")
            await _tell(exchange, Broken("something is broken on our side; it has been logged"))

    async def _serve_googles(self, exchange: Exchange, called: Called) -> None:
        _expect(exchange, "POST")
        principal = _identify(exchange)
        match called.method:
            case "countTokens":
                context = CATALOG.current().context_of(principal.tenant_id, called.model)
                await _answer_json(exchange, count_googles_tokens(await exchange.read_body(), context))
            case "embedContent" | "batchEmbedContents":
                is_batch = called.method == "batchEmbedContents"
                told = EmbedExchange(exchange, is_batch=is_batch)
                await answer_call(told, principal, EmbedDialect(called.model, is_batch=is_batch), self._transport)
            case method:
                is_stream = method == "streamGenerateContent"
                if is_stream:
                    check_alt(exchange)
                await answer_call(
                    exchange, principal, GenerateDialect(called.model, is_stream=is_stream), self._transport
                )

    async def _serve_recipe(self, exchange: Exchange) -> None:
        if exchange.method not in ("GET", "POST"):
            raise WrongMethod(f"{RECIPE_ROUTER} takes GET and POST, not {exchange.method[:20]}", allow="GET, POST")
        principal = _identify(exchange)
        refuse_unknown(exchange.query, ())
        if exchange.method == "GET":
            await _answer_json(exchange, list_routable(principal))
        else:
            await route_prompt(exchange, principal, self._transport)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                SAMPLES.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await SAMPLES.stop()
                await self._transport.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _answer_a_look(exchange: Exchange) -> None:
    """What is no call: it asks no vendor and costs nothing."""
    path = exchange.path
    if path == "/v1/messages/count_tokens":
        _expect(exchange, "POST")
        context_of = partial(CATALOG.current().context_of, _identify(exchange).tenant_id)
        await _answer_json(exchange, count_tokens_answer(await exchange.read_body(), context_of))
        return
    look = _LOOKS.get(path)
    if look is None and path.startswith(_MODEL_PREFIXES):
        look = _show_model
    if look is None:
        raise NoSuchRoute(f"nothing answers at {path[:200]}")
    if exchange.method == "POST" and _is_googles(exchange) and (method := method_in(path)):
        raise NoSuchRoute(f"models have no method {method[:80]!r} here; they have {', '.join(METHODS)}")
    _expect(exchange, "GET")
    await _answer_json(exchange, await look(exchange, _identify(exchange)))


def _expect(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise WrongMethod(f"{exchange.path[:200]} takes {method}, not {exchange.method[:20]}", allow=method)


def _identify(exchange: Exchange) -> Principal:
    key = presented_key(exchange.header(b"authorization"), exchange.header(b"x-api-key")) or googles_key(exchange)
    address = client_address(exchange.client, exchange.header(b"x-forwarded-for"))
    principal = identify(key, address, datetime.now(UTC))
    require_permission(principal, "spend")
    return principal


def _is_anthropics(exchange: Exchange) -> bool:
    """Whether the client is an SDK of Anthropic's: those always say which version of the API they speak."""
    return exchange.path.startswith("/v1/messages") or b"anthropic-version" in exchange.headers


def _is_googles(exchange: Exchange) -> bool:
    """Whether the client is an SDK of Google's: those send their key in a header of their own."""
    return is_googles(exchange.path) or b"x-goog-api-key" in exchange.headers


def _dialect_of(exchange: Exchange) -> ClientDialect:
    """The dialect in which an error is told."""
    dialect = CALLS.get(exchange.path)
    if dialect is not None:
        return dialect
    if _is_anthropics(exchange) and not is_googles(exchange.path):
        return MESSAGES_DIALECT
    return GENERATE_DIALECT if _is_googles(exchange) else CHAT_DIALECT


async def _tell(exchange: Exchange, error: SpendHubError) -> None:
    dialect = _dialect_of(exchange)
    if exchange.has_begun:
        # Its status is gone already: the last thing such a stream can carry is the error.
        await exchange.end(dialect.error_event(error))
        return
    tell = tell_recipe_error if exchange.path == RECIPE_ROUTER else dialect.error_answer
    status, body, headers = tell(error)
    if isinstance(error, WrongMethod):
        headers.append((b"allow", str(error.details["allow"]).encode()))
    await exchange.answer(status, body, headers)


async def _show_models(exchange: Exchange, principal: Principal) -> dict[str, Any]:
    if _is_anthropics(exchange):
        return list_anthropic_models(principal.tenant_id, exchange.query)
    if _is_googles(exchange):
        return list_googles_models(principal.tenant_id, exchange.query)
    return list_models(principal.tenant_id)


async def _show_model(exchange: Exchange, principal: Principal) -> dict[str, Any]:
    name = exchange.path.partition("/models/")[2]
    if _is_anthropics(exchange):
        return one_anthropic_model(principal.tenant_id, name)
    show = one_googles_model if _is_googles(exchange) else one_model
    return show(principal.tenant_id, name)


async def _answer_json(exchange: Exchange, value: dict[str, Any]) -> None:
    await exchange.answer(200, _encoder.encode(value), [_JSON])


_LOOKS: dict[str, _Look] = {"/v1/models": _show_models, GOOGLES_MODELS: _show_models, "/v1/budget": what_is_left}

application = Gateway()
