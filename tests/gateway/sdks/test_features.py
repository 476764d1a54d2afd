"""What the official SDKs make of JSON schemas, pictures and tools, sync and async, whoever's model answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tests.fakes.vendor import FakeVendor
from tests.gateway.sdks.vendors import Sdks, Vendors, asked_of

pytestmark = [pytest.mark.slow, pytest.mark.once]

# Each model, and whose format it is asked in.
MODELS = {
    "gpt": "openai",
    "claude": "anthropic",
    "gemini": "gemini",
    "bedrock-claude": "bedrock",
    "compatible": "openai",
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ASK = '[say:{"name":"Oslo","people":3}]'
OSLO = {"name": "Oslo", "people": 3}


class Town(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    people: int


WEATHER: dict[str, Any] = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip


def vendor_of(vendors: Vendors, model: str) -> FakeVendor:
    found: FakeVendor = getattr(vendors, MODELS[model])
    return found


def turn(user_says: Any) -> Any:
    return [{"role": "user", "content": user_says}]


@pytest.mark.parametrize("model", MODELS)
def test_a_class_is_asked_for_and_parsed(vendors: Vendors, sdks: Sdks, model: str) -> None:
    openai, anthropic = sdks.openai(), sdks.anthropic()
    chat = openai.chat.completions.parse(model=model, messages=turn(ASK), response_format=Town)
    asked = json.dumps(asked_of(vendor_of(vendors, model)))
    response = openai.responses.parse(model=model, input=ASK, text_format=Town)
    message = anthropic.messages.parse(model=model, max_tokens=100, messages=turn(ASK), output_format=Town)
    for parsed in (chat.choices[0].message.parsed, response.output_parsed, message.parsed_output):
        assert parsed is not None
        assert parsed.model_dump() == OSLO
    # Not only was the answer of that kind: the vendor was told to hold it to the schema.
    assert "additionalProperties" in asked and "people" in asked


@pytest.mark.parametrize("model", MODELS)
def test_a_picture_is_shown(vendors: Vendors, sdks: Sdks, model: str) -> None:
    openai, anthropic = sdks.openai(), sdks.anthropic()
    url = f"data:image/png;base64,{PIXEL}"
    chats = turn([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}])
    items: Any = turn(
        [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    )
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    shown = turn([{"type": "text", "text": "look"}, {"type": "image", "source": source}])
    openai.chat.completions.create(model=model, messages=chats)
    asked = [asked_of(vendor_of(vendors, model))]
    openai.responses.create(model=model, input=items)
    asked.append(asked_of(vendor_of(vendors, model)))
    anthropic.messages.create(model=model, max_tokens=100, messages=shown)
    asked.append(asked_of(vendor_of(vendors, model)))
    assert [PIXEL in json.dumps(body) for body in asked] == [True, True, True]


@pytest.mark.parametrize("model", MODELS)
def test_async_streams_are_put_together_by_the_sdks_themselves(vendors: Vendors, model: str) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
    anthropics_tool: Any = {"name": "weather", "input_schema": WEATHER}

    async def chat() -> Any:
        async with vendors.async_openai_sdk() as sdk:
            asked = sdk.chat.completions.stream(model=model, messages=turn("[calls:2] weather?"), tools=[tool])
            async with asked as stream:
                told = await stream.get_final_completion()
        return [call.function.parsed_arguments for call in told.choices[0].message.tool_calls or []]

    async def response() -> Any:
        asked = vendors.async_openai_sdk().responses.stream(model=model, input=ASK, text_format=Town)
        async with asked as stream:
            return (await stream.get_final_response()).output_parsed

    async def message() -> Any:
        async with vendors.async_anthropic_sdk() as sdk:
            asked = sdk.messages.stream(
                model=model, max_tokens=100, messages=turn("[calls:2] weather?"), tools=[anthropics_tool]
            )
            async with asked as stream:
                told = await stream.get_final_message()
        return [block.input for block in told.content if block.type == "tool_use"]

    assert asyncio.run(chat()) == [{"city": "Köln"}] * 2
    assert asyncio.run(response()) == Town(name="Oslo", people=3)
    assert asyncio.run(message()) == [{"city": "Köln"}] * 2
