"""The official OpenAI SDK's chat completions, answered by Anthropic's models."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.fakes.anthropic_upstream import SIGNATURE
from tests.gateway.sdks.vendors import (
    BOTH_WAYS_WHOLE_OR_STREAMED,
    CALL,
    CALL_NANO_USD,
    CALL_USD,
    Sdks,
    Vendors,
    asked_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.once]

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def ask(*messages: Any, user: str, **fields: Any) -> dict[str, Any]:
    """What a call is made with; a text is the user's."""
    said = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
    return {"model": "claude", "messages": said, "user": user, **fields}


def test_a_call_is_translated_both_ways(vendors: Vendors, sdks: Sdks, user: str) -> None:
    system = {"role": "system", "content": "be brief"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": f"{CALL} [say:good day]"}
    raw = sdks.openai().chat.completions.with_raw_response.create(
        **ask(system, {"role": "user", "content": [image, text]}, user=user, stop="END", max_tokens=50)
    )
    told = raw.parse()
    assert (told.choices[0].message.content, told.choices[0].finish_reason) == ("good day", "stop")
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (100, 20)
    assert raw.headers["x-spendhub-cost"] == CALL_USD
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD
    asked = asked_of(vendors.anthropic)
    assert (asked["model"], asked["max_tokens"], asked["stop_sequences"]) == ("claude-sonnet-4-5", 50, ["END"])
    assert asked["system"] == [{"type": "text", "text": "be brief"}]
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert asked["messages"][0]["content"] == [{"type": "image", "source": source}, text]


@pytest.mark.parametrize("model", ["gpt", "claude", "bedrock-claude"])
def test_the_sdk_shows_the_vendors_own_id_of_whatever_it_answers(vendors: Vendors, user: str, model: str) -> None:
    sdk = vendors.openai_sdk()
    assert sdk.chat.completions.create(**ask(CALL, user=user, model=model))._request_id == "req_fake"
    with sdk.chat.completions.create(**ask(CALL, user=user, model=model, stream=True)) as stream:
        assert stream.response.headers["x-request-id"] == "req_fake"
        assert "request-id" not in stream.response.headers
    with pytest.raises(openai.RateLimitError) as raised:
        sdk.chat.completions.create(**ask("[fault:429]", user=user, model=model))
    assert raised.value.request_id == "req_fake"


LIMITS = {"gpt": ("x-ratelimit-remaining-tokens", "59"), "claude": ("anthropic-ratelimit-requests-remaining", "49")}


@pytest.mark.parametrize("model", LIMITS)
def test_how_often_the_vendor_may_still_be_asked_is_told(vendors: Vendors, user: str, model: str) -> None:
    told = [
        vendors.served.ask(CALL, model=model, user=user),
        vendors.served.ask(CALL, model=model, user=user, stream=True),
        vendors.served.ask("[fault:429]", model=model, user=user),
    ]
    assert [answered.status_code for answered in told] == [200, 200, 429]
    name, value = LIMITS[model]
    for answered in told:
        assert {each: said for each, said in answered.headers.items() if "ratelimit" in each} == {name: value}


def test_an_answer_from_memory_tells_no_limit_of_any_vendor(vendors: Vendors, user: str) -> None:
    asked: Any = {"model": "gpt", "user": user, "headers": {"x-spendhub-cache": "3600"}, "temperature": 0}
    first, again = (vendors.served.ask(f"{CALL} {user}", **asked) for _ in range(2))
    assert (first.headers["x-ratelimit-remaining-tokens"], again.headers["x-spendhub-cache"]) == ("59", "hit")
    assert "x-ratelimit-remaining-tokens" not in again.headers


def test_an_async_stream_ends_with_usage_and_money(vendors: Vendors, user: str) -> None:
    async def call() -> list[Any]:
        async with vendors.async_openai_sdk() as sdk:
            fields = ask(f"{CALL} [say:one two]", user=user, stream=True, stream_options={"include_usage": True})
            return [chunk async for chunk in await sdk.chat.completions.create(**fields)]

    chunks = asyncio.run(call())
    assert [chunk.choices[0].delta.content for chunk in chunks[:-1]] == ["", "one", " two", None]
    assert chunks[-1].usage.total_tokens == 120
    assert chunks[-1].model_extra["spendhub"]["cost"] == CALL_USD


@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_a_loop_of_tools_goes_round_with_its_thoughts(vendors: Vendors, sdks: Sdks, user: str, is_stream: bool) -> None:
    sdk = sdks.openai()

    def create(*messages: Any) -> Any:
        fields = ask(*messages, user=user, tools=[WEATHER], reasoning_effort="low", max_completion_tokens=4_096)
        if not is_stream:
            return sdk.chat.completions.create(**fields).choices[0]
        with sdk.chat.completions.stream(**fields) as stream:
            for _ in stream:
                pass
            return stream.get_final_completion().choices[0]

    first = create("[calls:2] [think:let me see] weather?")
    assert first.finish_reason == "tool_calls"
    calls = first.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Köln"}] * 2
    assert first.message.model_extra["reasoning_content"] == "let me see"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    second = create("[calls:2] weather?", first.message.model_dump(exclude_none=True), *results)
    assert second.message.content
    asked = asked_of(vendors.anthropic)
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
    # What the vendor signed has come back to it, as it demands in a loop of tools.
    thought = asked["messages"][1]["content"][0]
    assert thought == {"type": "thinking", "thinking": "let me see", "signature": SIGNATURE}


@pytest.mark.parametrize("model", ["claude", "gemini"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_conversation_moves_to_a_vendor_that_is_told_no_others_thoughts(
    vendors: Vendors, user: str, model: str, is_stream: bool
) -> None:
    sdk = vendors.openai_sdk()
    fields = ask("[think:let me see] weather?", user=user, tools=[WEATHER], reasoning_effort="low")
    fields |= {"model": model, "max_completion_tokens": 4_096}
    if is_stream:
        with sdk.chat.completions.stream(**fields) as stream:
            stream.until_done()
            first = stream.get_final_completion().choices[0].message
    else:
        first = sdk.chat.completions.create(**fields).choices[0].message
    said = first.model_dump(exclude_none=True)
    (call,) = first.tool_calls
    assert said["reasoning_content"] == "let me see"
    assert ("extra_content" in said["tool_calls"][0]) == (model == "gemini")
    assert ("thinking_blocks" in said) == (model == "claude")
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = sdk.chat.completions.create(**ask("weather?", said, result, user=user, model="compatible"))
    assert "sunny" in second.choices[0].message.content
    asked = asked_of(vendors.openai)["messages"][1]
    assert set(asked) & {"reasoning_content", "thinking_blocks"} == set()
    assert "extra_content" not in asked["tool_calls"][0]


@pytest.mark.parametrize("model", ["claude", "bedrock-claude"])
def test_a_loop_of_tools_goes_round_for_a_client_that_keeps_no_thoughts(
    vendors: Vendors, user: str, model: str
) -> None:
    sdk = vendors.openai_sdk()

    def create(*messages: Any) -> Any:
        fields = ask(*messages, user=user, tools=[WEATHER], reasoning_effort="low", max_completion_tokens=4_096)
        return sdk.chat.completions.create(**{**fields, "model": model}).choices[0].message

    first = create("[think:let me see] weather?")
    (call,) = first.tool_calls
    said = {"role": "assistant", "content": first.content, "tool_calls": [call.model_dump()]}
    second = create("weather?", said, {"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    assert "sunny" in second.content
    asked = asked_of(vendors.anthropic if model == "claude" else vendors.bedrock)
    assert "thinking" not in asked and "additionalModelRequestFields" not in asked


@pytest.mark.parametrize("model", ["claude", "gpt"])
def test_a_budget_without_room_is_a_402(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    vendors.served.define_budget(user, "0.00001")
    with pytest.raises(openai.APIStatusError) as refused:
        sdks.openai().chat.completions.create(**ask("hi", user=user, model=model))
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize("field", ["logit_bias", "service_tier", "no_such_field"])
def test_what_only_openai_understands_is_refused(vendors: Vendors, user: str, field: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        vendors.openai_sdk().chat.completions.create(**ask("hi", user=user), extra_body={field: {"1": 1}})
    assert (refused.value.code, refused.value.param) == ("not_translatable", field)
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize(
    ("fault", "kind"), [("429", openai.RateLimitError), ("401", openai.AuthenticationError), ("529", openai.APIError)]
)
def test_anthropics_errors_are_told_in_openais_shape(sdks: Sdks, user: str, fault: str, kind: Any) -> None:
    with pytest.raises(kind) as raised:
        sdks.openai().chat.completions.create(**ask(f"[fault:{fault}]", user=user))
    assert raised.value.status_code == int(fault)
    assert f"fault {fault} on demand" in raised.value.message and raised.value.body["code"]
