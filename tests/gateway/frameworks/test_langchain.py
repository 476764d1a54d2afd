"""LangChain against the gateway: a loop of tools, a stream of it, structured output, and a budget without room."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.gateway.frameworks.loops import (
    ANSWER,
    CITY_QUESTION,
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

TOOL = tool(weather)


class City(BaseModel):
    """A city."""

    city: str


def run_loop(chat: Any, *, is_stream: bool) -> str:
    """Asks, runs the tools that are called, and asks again until there is an answer."""
    with_tools = chat.bind_tools([TOOL])
    messages: list[Any] = [HumanMessage(QUESTION)]
    while True:
        if is_stream:
            first, *others = with_tools.stream(messages)
            said = sum(others, first)
        else:
            said = with_tools.invoke(messages)
        messages.append(said)
        if not said.tool_calls:
            return str(said.text)
        messages += [TOOL.invoke(call) for call in said.tool_calls]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_loop_of_tools_goes_round_and_each_call_is_accounted(
    vendors: Vendors, user: str, model: str, is_stream: bool
) -> None:
    chat = set_up("LangChain", vendors, user, model=model)["chat"]
    with exactly_two_calls(vendors, user, model):
        assert run_loop(chat, is_stream=is_stream) == ANSWER


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_parsed(vendors: Vendors, user: str, model: str, method: str) -> None:
    chat = set_up("LangChain", vendors, user, model=model)["chat"]
    said = chat.with_structured_output(City, method=method).invoke(CITY_QUESTION)
    assert said == City(city="Köln")
    assert vendors.served.the_span(user)["cost_nano_usd"] == QUESTION_NANO_USD


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_budget_without_room_is_a_402(vendors: Vendors, user: str, is_stream: bool) -> None:
    chat = set_up("LangChain", vendors, user)["chat"]
    with exactly_no_call(vendors, user), pytest.raises(openai.APIStatusError) as refused:
        run_loop(chat, is_stream=is_stream)
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
