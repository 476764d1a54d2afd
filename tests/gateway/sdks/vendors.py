"""A running SpendHub with its vendors, and the official SDKs pointed at it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai
from google import genai

from tests.fakes.bedrock_upstream import FakeBedrock
from tests.fakes.gemini_upstream import FakeGemini
from tests.fakes.vendor import FakeVendor
from tests.gateway.served import Served

CALL = "[in:100] [out:20]"
CALL_NANO_USD, CALL_USD = 400_000, "0.0004"
# Kept until the session ends: a client that is collected with a connection open warns in whichever test runs then.
_clients: list[Any] = []
_END = object()


@dataclass(frozen=True)
class Vendors:
    """SpendHub, and what stands behind it."""

    served: Served
    openai: FakeVendor
    anthropic: FakeVendor
    gemini: FakeVendor = field(default_factory=FakeGemini)
    bedrock: FakeVendor = field(default_factory=FakeBedrock)

    def openai_sdk(self) -> openai.OpenAI:
        """The official client of OpenAI, which asks once."""
        return self.served.sdk()

    def async_openai_sdk(self) -> openai.AsyncOpenAI:
        """The same for event loops."""
        return self.served.async_sdk()

    def anthropic_sdk(self, **options: Any) -> anthropic.Anthropic:
        """The official client of Anthropic, which asks once."""
        client = anthropic.Anthropic(
            base_url=self.served.server.url, api_key=self.served.key, max_retries=0, timeout=30, **options
        )
        _clients.append(client)
        return client

    def async_anthropic_sdk(self) -> anthropic.AsyncAnthropic:
        """The same for event loops."""
        client = anthropic.AsyncAnthropic(
            base_url=self.served.server.url, api_key=self.served.key, max_retries=0, timeout=30
        )
        _clients.append(client)
        return client

    def googles_sdk(self, user: str, **options: Any) -> genai.Client:
        """The official client of Google, for calls of `user`."""
        headers = {"x-spendhub-user": user}
        http_options: Any = {"base_url": self.served.server.url, "headers": headers, "timeout": 30_000, **options}
        client = genai.Client(api_key=self.served.key, http_options=http_options)
        _clients.append(client)
        return client


@dataclass(frozen=True)
class Sdks:
    """The official clients: the usual ones, or those for event loops, used in the same words. What cannot be said so,
    e.g. a stream that is left, has tests of its own."""

    vendors: Vendors
    loop: asyncio.Runner | None
    made: list[Any] = field(default_factory=list)  # for event loops, to be closed in theirs

    def openai(self) -> Any:
        """Of OpenAI."""
        return self.vendors.openai_sdk() if self.loop is None else self._awaited(self.vendors.async_openai_sdk())

    def anthropic(self) -> Any:
        """Of Anthropic."""
        return self.vendors.anthropic_sdk() if self.loop is None else self._awaited(self.vendors.async_anthropic_sdk())

    def google(self, user: str) -> Any:
        """Of Google, for calls of `user`."""
        sdk = self.vendors.googles_sdk(user)
        return sdk if self.loop is None else self._awaited(sdk.aio)

    def parsed(self, raw: Any) -> Any:
        """What a raw response of theirs says."""
        return raw.parse() if self.loop is None else Awaited(raw, self.loop).parse()

    def _awaited(self, client: Any) -> Awaited:
        assert self.loop is not None
        self.made.append(client)
        return Awaited(client, self.loop)


class Awaited:
    """A client for event loops, or a stream of one, whose calls are awaited for whoever makes them."""

    def __init__(self, client: Any, loop: asyncio.Runner) -> None:
        self._client, self._loop = client, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return found if name.startswith("_") else Awaited(found, self._loop)

    def __call__(self, *arguments: Any, **fields: Any) -> Any:
        made = self._client(*arguments, **fields)
        if inspect.isawaitable(made):
            made = self._loop.run(_result_of(made))
        is_stream = hasattr(made, "__aenter__") or hasattr(made, "__anext__")
        return Awaited(made, self._loop) if is_stream else made

    def __enter__(self) -> Awaited:
        return Awaited(self._loop.run(self._client.__aenter__()), self._loop)

    def __exit__(self, *raised: Any) -> None:
        self._loop.run(self._client.__aexit__(*raised))

    def __iter__(self) -> Iterator[Any]:
        while (found := self._loop.run(_result_of(anext(self._client, _END)))) is not _END:
            yield found


async def _result_of(made: Awaitable[Any]) -> Any:
    return await made


@contextmanager
def sdks_for(vendors: Vendors, way: str) -> Iterator[Sdks]:
    """The clients of one way: `sync` or `async`."""
    if way == "sync":
        yield Sdks(vendors, None)
        return
    with asyncio.Runner() as loop:
        sdks = Sdks(vendors, loop)
        yield sdks
        for client in sdks.made:
            closed = client.aclose() if hasattr(client, "aclose") else client.close()
            loop.run(_result_of(closed))


# For tests of whole answers and of streams.
BOTH_WAYS_WHOLE_OR_STREAMED = list(itertools.product(("sync", "async"), (False, True)))


# Which model's vendor speaks the format of a route.
OWN_MODELS = {"chat": "gpt", "responses": "gpt", "messages": "claude", "generate": "gemini"}
_PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


def post(
    vendors: Vendors, route: str, model: str, body: Mapping[str, Any], *, user: str, is_stream: bool
) -> httpx.Response:
    """What a client without an SDK is answered by one of OWN_MODELS' routes: an SDK gives up at what is no JSON."""
    if route == "generate":
        path = f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if is_stream else 'generateContent'}"
    else:
        path, body = _PATHS[route], {**body, "model": model, "stream": is_stream}
    headers = {"authorization": f"Bearer {vendors.served.key}", "x-spendhub-user": user}
    return httpx.post(vendors.served.server.url + path, headers=headers, json=body, timeout=30)


def asked_of(vendor: FakeVendor) -> dict[str, Any]:
    """The body of the last request that a vendor was sent."""
    found: dict[str, Any] = vendor.served.requests[-1]["body"]
    return found
