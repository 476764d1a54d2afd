"""Microsoft's Agent Framework against the gateway, on the Responses API and on chat completions."""

from __future__ import annotations

import asyncio

import openai
import pytest
from agent_framework import Agent
from agent_framework.exceptions import ChatClientException

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

# Which of the page's clients it is.
APIS = ["responses", "chat"]


def run_agent(vendors: Vendors, user: str, api: str, *, model: str = GPT, is_stream: bool = False) -> str:
    """The answer of an agent."""

    async def run() -> str:
        client = set_up("Microsoft Agent Framework", vendors, user, model=model)[api]
        # On the Responses API it leaves the conversation to OpenAI, unless told not to.
        options = {"store": False} if model != GPT else {}
        agent = Agent(client, "be brief", tools=[weather], default_options=options)
        if not is_stream:
            return (await agent.run(QUESTION)).text
        running = agent.run(QUESTION, stream=True)
        streamed = [update.text async for update in running]
        assert any(streamed)
        return (await running.get_final_response()).text

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
    with exactly_no_call(vendors, user), pytest.raises(ChatClientException) as refused:
        run_agent(vendors, user, api, is_stream=is_stream)
    cause = refused.value.__cause__
    assert isinstance(cause, openai.APIStatusError)
    assert (cause.status_code, cause.code) == (402, "budget_exceeded")
