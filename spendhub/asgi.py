"""The door: /v1, /v1beta and /api/router go to the data plane, everything else to Django in a thread pool.

Django stays WSGI on purpose: its own ASGI path costs twice the CPU per request, and only the data
plane streams (docs/decisions/0001-one-door-two-planes.md).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import MutableMapping
from typing import Any

import django
from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application

if multiprocessing.parent_process() is not None:
    # A fork has the handlers of the server that made it, which wake that server alone. Until this process has its own,
    # it would not hear that it is to stop, and whoever stops it would wait until it is killed.
    for _stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(_stop, signal.SIG_DFL)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spendhub.settings")
django.setup(set_prefix=False)

from spendhub.gateway.app import application as gateway  # noqa: E402  # models may be imported only after set-up
from spendhub.gateway.app import is_of_data_plane  # noqa: E402  # as above
from spendhub.health import HEALTH_PATHS, health_answer  # noqa: E402  # as above
from spendhub.processes import (  # noqa: E402  # as above
    die_with_parent,
    start_background_threads,
    stop_background_threads,
)
from spendhub.whole_requests import (  # noqa: E402  # as above
    Application,
    Message,
    Receive,
    Send,
    WholeRequests,
)

# Pieces of an answer that may lie ready for a client who does not read. A file of ours has up to 3.9 MB, in pieces of
# 4 KiB, so that it keeps no thread however slowly it is read.
PIECES_AHEAD = 1024


def _web_plane() -> WholeRequests:
    django_app: Any = get_wsgi_application()  # a2wsgi types WSGI and ASGI by TypedDicts of its own
    wsgi: Any = WSGIMiddleware(django_app, workers=settings.WEB_THREADS, send_queue_size=PIECES_AHEAD)
    return WholeRequests(wsgi)


async def _no_web_plane(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    body = b'{"error": {"code": "missing", "message": "This process serves /v1 only.", "details": {}}}'
    await _send_json(send, 404, body)


async def _send_json(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def open_door(calls: Application, web: Application) -> Application:
    """The ASGI application that sends each request to its plane and looks after the process."""

    async def door(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if is_of_data_plane(path):
                await calls(scope, receive, send)
            elif path in HEALTH_PATHS:
                await _send_json(send, *await asyncio.to_thread(health_answer, path))
            else:
                await web(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    return door


async def _live(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The process's life: our threads first, then the data plane's own start; at the end the other way round."""
    if os.environ.get("SPENDHUB_IS_SUPERVISED"):
        die_with_parent()
    await asyncio.to_thread(start_background_threads)

    async def receive_when_answered() -> Message:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await _web.all_answered()
        return message

    await gateway(scope, receive_when_answered, send)
    await asyncio.to_thread(stop_background_threads)


_web = _web_plane()
application = open_door(gateway, _web)
data_plane = open_door(gateway, _no_web_plane)
# Calls are answered as any address that is not there.
web_plane = open_door(_web, _web)
