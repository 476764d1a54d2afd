"""A dialect of one's own is one class and one registration: providers may speak it, and calls are executed in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from routing.asking import execute
from routing.catalog import set_provider
from routing.conversation import Conversation
from routing.errors import DialectNotSpoken
from routing.model_facts import ModelFacts
from routing.models import Provider
from routing.models.provider import OWN_DIALECTS
from routing.own_dialects import register
from routing.upstreams.base import UpstreamRequest, Wire
from routing.upstreams.openai.dialect import OpenAIDialect
from routing.upstreams.registry import DIALECTS
from routing.upstreams.transport import HttpTransport
from tests import factories
from tests.budgets.api import client_of
from tests.fakes.openai_upstream import FakeOpenAI
from tests.routing.facts import chat, model_facts


class HouseDialect(OpenAIDialect):
    """OpenAI's words, and a header of the house's own gateway."""

    name = "house"

    def native_request(
        self, model: ModelFacts, credential: str, wire: Wire, body: Mapping[str, Any], *, is_stream: bool
    ) -> UpstreamRequest:
        request = super().native_request(model, credential, wire, body, is_stream=is_stream)
        request.headers["x-house"] = "yes"  # type: ignore[index]  # a plain dict in the dialect that is inherited
        return request

    def translated_request(
        self, model: ModelFacts, credential: str, conversation: Conversation, *, is_stream: bool
    ) -> UpstreamRequest:
        raise AssertionError("not in these tests")


@pytest.fixture
def house() -> Iterator[None]:
    register(HouseDialect(), "The house's own")
    yield
    del DIALECTS["house"], OWN_DIALECTS["house"]


def test_a_call_is_executed_in_it(house: None) -> None:
    async def ask(base_url: str) -> bytes:
        client = HttpTransport()
        try:
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
            begun = await execute(model_facts("m", dialect="house", base_url=base_url), chat(body), transport=client)
            return await begun.read()
        finally:
            await client.aclose()

    with FakeOpenAI() as vendor:
        assert b'"content"' in asyncio.run(ask(vendor.base_url))
        assert vendor.served.requests[-1]["headers"]["x-house"] == "yes"


@pytest.mark.django_db
def test_a_provider_may_be_said_to_speak_it_and_without_the_registration_may_not(request: Any) -> None:
    client = client_of(factories.acme())
    wanted = {"name": "ours", "dialect": "house", "base_url": "https://llm.example.com/v1"}
    assert client.post("/api/v1/providers", wanted, format="json").status_code == 400
    request.getfixturevalue("house")
    assert client.post("/api/v1/providers", wanted, format="json").status_code == 201
    assert Provider.objects.across_tenants().get(name="ours").get_dialect_display() == "The house's own"
    set_provider("shared-house", dialect="house", base_url="https://llm.example.com/v1")
    assert Provider.objects.across_tenants().get(name="shared-house").dialect == "house"


def test_what_nobody_speaks_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(DialectNotSpoken):
        asyncio.run(execute(model_facts("m", dialect="house"), chat({}), transport=HttpTransport()))


@pytest.mark.parametrize("name", ["openai", "sandbox", "", "thirteen-char"])
def test_a_name_that_is_taken_or_does_not_fit_is_none(name: str) -> None:
    dialect = HouseDialect()
    dialect.name = name
    with pytest.raises(ValueError, match="built in"):
        register(dialect, "Taken")
