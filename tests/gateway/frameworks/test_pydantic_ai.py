"""PydanticAI against the gateway, in OpenAI's words and in Anthropic's, with the models of both vendors."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError

from tests.gateway.frameworks.loops import (
    ANSWER,
    CITY_QUESTION,
    GPT,
    MODELS,
    QUESTION,
    QUESTION_NANO_USD,
    exactly_no_call,
    exactly_two_calls,
    set_up,
    weather,
)
from tests.gateway.sdks.vendors import Vendors

pytestmark = [pytest.mark.slow, pytest.mark.once]

# Which block of the page it is.
WORDS = [pytest.param(0, id="openai"), pytest.param(1, id="anthropic")]


class City(BaseModel):
    """A city."""

    city: str


def run_agent(vendors: Vendors, user: str, words: int, *, model: str = GPT, is_stream: bool = False) -> str:
    """The answer of an agent."""

    async def run() -> str:
        agent = Agent(set_up("PydanticAI", vendors, user, model=model, block=words)["model"], tools=[weather])
        if not is_stream:
            return (await agent.run(QUESTION)).output
        async with agent.run_stream(QUESTION) as running:
            return "".join([bit async for bit in running.stream_text(delta=True)])

    return asyncio.run(run())


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_loop_of_tools_goes_round_and_each_call_is_accounted(
    vendors: Vendors, user: str, words: int, model: str, is_stream: bool
) -> None:
    with exactly_two_calls(vendors, user, model):
        assert run_agent(vendors, user, words, model=model, is_stream=is_stream) == ANSWER


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("model", MODELS)
def test_structured_output_is_parsed(vendors: Vendors, user: str, words: int, model: str) -> None:
    async def run() -> City:
        chosen = set_up("PydanticAI", vendors, user, model=model, block=words)["model"]
        return (await Agent(chosen, output_type=City).run(CITY_QUESTION)).output

    assert asyncio.run(run()) == City(city="Köln")
    assert vendors.served.the_span(user)["cost_nano_usd"] == QUESTION_NANO_USD


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_budget_without_room_is_a_402(vendors: Vendors, user: str, words: int, is_stream: bool) -> None:
    with exactly_no_call(vendors, user), pytest.raises(ModelHTTPError) as refused:
        run_agent(vendors, user, words, is_stream=is_stream)
    assert refused.value.status_code == 402
    assert "budget_exceeded" in str(refused.value.body)
