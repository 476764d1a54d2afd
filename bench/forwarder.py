"""What the gateway is measured against: the same stack (granian, Starlette, httpx over aiohttp), passing
requests on and nothing else. BENCH_UPSTREAM names the vendor's address."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import httpx
from httpx_aiohttp import AiohttpTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "")
_client: httpx.AsyncClient | None = None


def client() -> httpx.AsyncClient:
    global _client
    if _client is None:
        _client = httpx.AsyncClient(transport=AiohttpTransport(), timeout=60)
    return _client


async def forward(request: Request) -> Response:
    body = await request.body()
    headers = {"content-type": "application/json", "authorization": "Bearer bench"}
    if b'"stream":true' in body.replace(b" ", b""):
        upstream = await client().send(
            client().build_request("POST", f"{UPSTREAM}/chat/completions", content=body, headers=headers), stream=True
        )

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in upstream.aiter_raw():
                    yield chunk
            finally:
                await upstream.aclose()

        return StreamingResponse(chunks(), media_type="text/event-stream")
    answer = await client().post(f"{UPSTREAM}/chat/completions", content=body, headers=headers)
    return Response(answer.content, answer.status_code, media_type="application/json")


application = Starlette(routes=[Route("/v1/chat/completions", forward, methods=["POST"])])
