"""One call in each dialect that clients speak, without their SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.gateway.served import Served

# The vendor is told to say ten words, and to use ten tokens for them.
TEXT = "[out:10] [say:1 2 3 4 5 6 7 8 9 10]"
LIMIT = 10


@dataclass(frozen=True)
class Asked:
    """What is posted where, and the status with which it is refused when a budget has no room for it."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    refused_with: int = 402


def chat(user: str, model: str, *, text: str = TEXT, stream: bool = False, limit: int = LIMIT) -> Asked:
    """OpenAI's chat completions."""
    body = {"model": model, "max_tokens": limit, "user": user, "messages": [{"role": "user", "content": text}]}
    return Asked("v1/chat/completions", {**body, "stream": stream})


def messages(user: str, model: str, *, text: str = TEXT, stream: bool = False, limit: int = LIMIT) -> Asked:
    """Anthropic's messages."""
    body = {"model": model, "max_tokens": limit, "metadata": {"user_id": user}, "stream": stream}
    return Asked("v1/messages", {**body, "messages": [{"role": "user", "content": text}]})


def responses(user: str, model: str, *, text: str = TEXT, stream: bool = False, limit: int = LIMIT) -> Asked:
    """OpenAI's responses."""
    said = [{"role": "user", "content": text}]
    body = {"model": model, "max_output_tokens": limit, "user": user, "input": said}
    return Asked("v1/responses", {**body, "stream": stream})


def generate(user: str, model: str, *, text: str = TEXT, stream: bool = False, limit: int = LIMIT) -> Asked:
    """Google's generateContent."""
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": text}]}]
    body = {"contents": contents, "generationConfig": {"maxOutputTokens": limit}, "labels": {"user": user}}
    return Asked(f"v1beta/models/{model}:{method}", body)


def embed(user: str, model: str, text: str) -> Asked:
    """OpenAI's embeddings."""
    return Asked("v1/embeddings", {"model": model, "input": text, "user": user})


def route(user: str, *models: str, text: str = TEXT, limit: int = LIMIT) -> Asked:
    """The recipe's router, which may choose among `models`. It refuses with a 429."""
    body = {"prompt": text, "maxTokens": limit, "metadata": {"user": user}}
    return Asked("api/router", body, {"x-spendhub-allow": ",".join(models)}, refused_with=429)


# Those whose answers are words, whole or streamed.
DIALECTS: tuple[Callable[..., Asked], ...] = (chat, messages, responses, generate)


def client_of(served: Served) -> httpx.AsyncClient:
    """A client that knows where, and by which key."""
    headers = {"authorization": f"Bearer {served.key}"}
    return httpx.AsyncClient(base_url=served.server.url, limits=httpx.Limits(), timeout=120, headers=headers)


async def ask_all(served: Served, wanted: Sequence[Asked], at_once: int = 100) -> list[int]:
    """The statuses of the answers, in the order of `wanted`."""
    # A queue of the client's own is gone through again with each answer: a minute of CPU for four thousand calls.
    turns = asyncio.Semaphore(at_once)
    async with client_of(served) as client:

        async def ask(each: Asked) -> int:
            async with turns:
                return (await client.post(each.path, json=each.body, headers=each.headers)).status_code

        return await asyncio.gather(*map(ask, wanted))
