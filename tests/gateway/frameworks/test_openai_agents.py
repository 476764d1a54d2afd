"""OpenAI's Agents SDK against the gateway, on the Responses API and on chat completions."""

from __future__ import annotations

import asyncio

import openai
import pytest
from agents import Agent, Runner, function_tool

from tests.gateway.frameworks.loops import (
    ANSWER,
    GPT,
    MODELS,
    QUESTION,
    exactly_no_call,
    exactly_two_calls,
    set_up,
    weather,
)
from tests.gateway.sdks.vendors import Vendors

pytestmark = [pytest.mark.slow, pytest.mark.once]

# Which of the page's models it is.
APIS = ["responses", "chat"]


def run_agent(vendors: Vendors, user: str, api: str, *, model: str = GPT, is_stream: bool = False) -> str:
    """The answer of an agent."""

    async def run() -> str:
        chosen = set_up("OpenAI Agents SDK", vendors, user, model=model)[api]
        agent = Agent(name="Weather", instructions="be brief", tools=[function_tool(weather)], model=chosen)
        if not is_stream:
            return str((await Runner.run(agent, QUESTION)).final_output)
        running = Runner.run_streamed(agent, QUESTION)
        async for _ in running.stream_events():
            pass
        return str(running.final_output)

    return asyncio.run(run())


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_loop_of_tools_goes_round_and_each_call_is_accounted(
    vendors: Vendors, user: str, api: str, model: str, is_stream: bool
) -> None:
    with exactly_two_calls(vendors, user, model):
        assert run_agent(vendors, user, api, model=model, is_stream=is_stream) == ANSWER


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_budget_without_room_is_a_402(vendors: Vendors, user: str, api: str, is_stream: bool) -> None:
    with exactly_no_call(vendors, user), pytest.raises(openai.APIStatusError) as refused:
        run_agent(vendors, user, api, is_stream=is_stream)
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
