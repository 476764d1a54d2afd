"""Tools with names that the answering vendor would refuse: clients have them called by those names all the same."""

from __future__ import annotations

import json
import re
from typing import Any

import anthropic
import openai
import pytest

from tests.fakes.vendor import FakeVendor
from tests.gateway.sdks.vendors import Vendors, asked_of

pytestmark = [pytest.mark.slow, pytest.mark.once]

LONG = "mcp__a_server_with_quite_a_long_name__and_a_tool_of_it_with_a_long_one_too"
DOTTED = "weather.in:city"
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
# Each model, and whose format it is asked in.
MODELS = {"gpt": "openai", "claude": "anthropic", "gemini": "gemini", "bedrock-claude": "bedrock"}


def told_to(vendors: Vendors, model: str) -> str:
    """All that the model's vendor was told last."""
    vendor: FakeVendor = getattr(vendors, MODELS[model])
    return json.dumps(asked_of(vendor))


@pytest.mark.parametrize("model", ["gpt", "gemini", "bedrock-claude"])
def test_a_long_name_of_mcps_is_called_by_claudes_clients_whoever_answers(vendors: Vendors, model: str) -> None:
    sdk = vendors.anthropic_sdk()
    asked: list[Any] = [{"role": "user", "content": "weather?"}]
    tools: list[Any] = [{"name": LONG, "input_schema": CITY}]
    fields: dict[str, Any] = {"model": model, "max_tokens": 100, "tools": tools}
    whole = sdk.messages.create(messages=asked, **fields)
    with sdk.messages.stream(messages=asked, **fields) as stream:
        streamed = stream.get_final_message()
    (call,) = [block for block in whole.content if block.type == "tool_use"]
    (called,) = [block for block in streamed.content if block.type == "tool_use"]
    assert (call.name, called.name) == (LONG, LONG)
    assert LONG not in told_to(vendors, model)
    told = re.findall(r"mcp__\w+", told_to(vendors, model))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "22"}
    turns: list[Any] = [*asked, {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    answered = sdk.messages.create(messages=turns, **fields)
    assert answered.stop_reason == "end_turn"
    # In the tool and in the call, and the same as in the turn before: it lies in the vendor's prompt cache.
    again = re.findall(r"mcp__\w+", told_to(vendors, model))
    assert set(again) == set(told) and len(again) > len(told)


def test_its_own_vendor_gets_a_name_as_it_is(vendors: Vendors) -> None:
    vendors.anthropic_sdk().messages.create(
        model="claude", max_tokens=100, messages=[{"role": "user", "content": "weather?"}],
        tools=[{"name": LONG, "input_schema": CITY}],
    )  # fmt: skip
    assert LONG in told_to(vendors, "claude")


@pytest.mark.parametrize("model", ["gpt", "claude", "bedrock-claude"])
def test_a_dotted_name_is_called_by_googles_clients_whoever_answers(vendors: Vendors, user: str, model: str) -> None:
    models = vendors.googles_sdk(user).models
    tools: Any = [{"function_declarations": [{"name": DOTTED, "parameters_json_schema": CITY}]}]
    config: Any = {"tools": tools, "automatic_function_calling": {"disable": True}}
    whole = models.generate_content(model=model, contents="weather?", config=config)
    calls = [call.name for call in whole.function_calls or []]
    for chunk in models.generate_content_stream(model=model, contents="weather?", config=config):
        calls += [call.name for call in chunk.function_calls or []]
    assert calls == [DOTTED, DOTTED]
    assert DOTTED not in told_to(vendors, model)


@pytest.mark.parametrize("model", ["claude", "bedrock-claude", "gemini"])
def test_a_name_that_is_demanded_is_called_by_openais_clients_whoever_answers(vendors: Vendors, model: str) -> None:
    sdk, name = vendors.openai_sdk(), "wo zu?"
    tool: Any = {"type": "function", "function": {"name": name, "parameters": CITY}}
    choice: Any = {"type": "function", "function": {"name": name}}
    told = sdk.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "weather?"}], tools=[tool], tool_choice=choice
    )
    response = sdk.responses.create(
        model=model, input="weather?", tools=[{"type": "function", "name": name, "parameters": CITY, "strict": False}],
    )  # fmt: skip
    (call,) = told.choices[0].message.tool_calls or []
    assert call.type == "function" and call.function.name == name
    assert [item.name for item in response.output if item.type == "function_call"] == [name]


def test_too_many_stops_and_blank_ones_are_refused_by_their_own_names(vendors: Vendors) -> None:
    with pytest.raises(openai.BadRequestError) as of_chats:
        vendors.openai_sdk().chat.completions.create(
            model="claude", messages=[{"role": "user", "content": "hi"}], stop=["END", "\n"]
        )
    assert (of_chats.value.code, of_chats.value.param) == ("not_translatable", "stop")
    with pytest.raises(anthropic.BadRequestError) as of_messages:
        vendors.anthropic_sdk().messages.create(
            model="gemini", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stop_sequences=list("abcdef")
        )
    body: Any = of_messages.value.body
    assert body["error"]["code"] == "not_translatable"
    assert body["error"]["message"].startswith("stop_sequences cannot be said")
