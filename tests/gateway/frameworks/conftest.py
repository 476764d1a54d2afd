"""One SpendHub for the folder, with two vendors behind it; and no way out for what frameworks like to tell home."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.anthropic_upstream import FakeAnthropic
from tests.fakes.openai_upstream import FakeOpenAI
from tests.gateway.conftest import running_spendhub
from tests.gateway.frameworks.loops import CLAUDE, GPT
from tests.gateway.sdks.vendors import Vendors


@pytest.fixture(scope="session")
def vendors() -> Iterator[Vendors]:
    with FakeOpenAI() as openai, FakeAnthropic() as anthropic:
        prices = {"inputCostPerMillion": 2, "outputCostPerMillion": 10, "apiKeyEnv": "VENDOR_KEY"}
        # Two models of the catalog, at prices that are easy to reckon with.
        models = [
            {"id": GPT, "provider": "openai", "config": {"baseUrl": openai.base_url}, **prices},
            {"id": CLAUDE, "provider": "anthropic", "config": {"baseUrl": anthropic.base_url}, **prices},
        ]
        with running_spendhub(valkey_number=3, ROUTER_CONFIG_MODELS=json.dumps(models)) as served:
            yield Vendors(replace(served, vendor=openai), openai, anthropic)


@pytest.fixture(autouse=True)
def nobody_calls_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Telemetry is off, and a framework that asks for any host but ours fails its test, even if it hides the error."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    asked: list[str] = []
    really_look_up = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", b"127.0.0.1", "localhost"):
            asked.append(str(host))
            raise socket.gaierror(f"no way out of this test: {host}")
        return really_look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    assert asked == []
