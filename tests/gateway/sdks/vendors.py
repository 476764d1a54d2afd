"""A running SpendHub with its vendors, and the official SDKs pointed at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anthropic
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


def asked_of(vendor: FakeVendor) -> dict[str, Any]:
    """The body of the last request that a vendor was sent."""
    found: dict[str, Any] = vendor.served.requests[-1]["body"]
    return found
