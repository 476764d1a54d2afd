"""Answers sandbox requests in OpenAI's full wire format, as one body or as a stream."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from routing.upstreams.base import UpstreamRequest
from routing.upstreams.sandbox.answers import CannedAnswer, SandboxRefusal, answer
from routing.upstreams.sandbox.embeddings import embeddings
from spendhub.ids import new_id

SLOW_SECONDS = 2.0
SLOW_CHUNK_SECONDS = 0.05
WORD = re.compile(r"\s*\S+")


class SandboxResponse:
    """An UpstreamResponse made of pieces that are there already, with pauses between them."""

    def __init__(
        self, status: int, content_type: str, pieces: list[bytes], pauses: tuple[float, float] = (0, 0)
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": content_type, "x-request-id": f"req_sandbox_{new_id().hex}"}
        self._pieces = pieces
        self._first_pause, self._pause = pauses

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The answer, piece by piece."""
        for index, piece in enumerate(self._pieces):
            pause = self._pause if index else self._first_pause
            if pause:
                await asyncio.sleep(pause)
            yield piece

    async def aread(self) -> bytes:
        """The whole answer."""
        return b"".join([piece async for piece in self.aiter_bytes()])

    async def aclose(self) -> None:
        """Nothing is open."""


async def respond(request: UpstreamRequest) -> SandboxResponse:
    """The sandbox's answer to a chat or embeddings request."""
    body = json.loads(request.body)
    try:
        if request.url.endswith("/embeddings"):
            return SandboxResponse(200, "application/json", [_json(embeddings(body))])
        canned = answer(body)
    except SandboxRefusal as refusal:
        response = SandboxResponse(refusal.status, "application/json", [_json(refusal.body())])
        if refusal.status == 429:
            response.headers = {**response.headers, "retry-after": "2"}
        return response
    is_slow = body.get("model") == "sandbox-slow"
    pauses = (SLOW_SECONDS, SLOW_CHUNK_SECONDS) if is_slow else (0, 0)
    if body.get("stream"):
        return SandboxResponse(200, "text/event-stream", list(_events(body, canned)), pauses)
    return SandboxResponse(200, "application/json", [_json(_completion(body, canned))], pauses)


def _completion(body: Mapping[str, Any], canned: CannedAnswer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": canned.text or None, "refusal": None}
    if canned.tool_calls:
        message["tool_calls"] = list(canned.tool_calls)
    return {
        **_head(body, "chat.completion"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": canned.finish_reason}
            for index in range(canned.choices)
        ],
        "usage": canned.usage(),
    }


def _events(body: Mapping[str, Any], canned: CannedAnswer) -> Iterator[bytes]:
    options = body.get("stream_options")
    includes_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    head: dict[str, Any] = {**_head(body, "chat.completion.chunk"), **({"usage": None} if includes_usage else {})}

    def chunk(index: int, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: " + _json({**head, "choices": [choice]}) + b"\n\n"

    for index in range(canned.choices):
        yield chunk(index, {"role": "assistant", "content": None if canned.tool_calls else "", "refusal": None})
        for word in WORD.findall(canned.text):
            yield chunk(index, {"content": word})
        for position, call in enumerate(canned.tool_calls):
            function = call["function"]
            yield chunk(index, {"tool_calls": [{**call, "index": position, "function": {**function, "arguments": ""}}]})
            piece = {"index": position, "function": {"arguments": function["arguments"]}}
            yield chunk(index, {"tool_calls": [piece]})
        yield chunk(index, {}, canned.finish_reason)
    if includes_usage:
        yield b"data: " + _json({**head, "choices": [], "usage": canned.usage()}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sandbox-{new_id().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model"),
        "service_tier": "default",
        "system_fingerprint": "spendhub-sandbox",
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
