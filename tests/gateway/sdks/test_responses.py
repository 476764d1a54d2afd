"""The official OpenAI SDK's responses against the gateway: OpenAI's models untouched, all others translated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from spendhub.money import format_usd
from tests.gateway.sdks.vendors import (
    BOTH_WAYS_WHOLE_OR_STREAMED,
    CALL,
    CALL_NANO_USD,
    CALL_USD,
    Sdks,
    Vendors,
    asked_of,
)
from tests.gateway.served import events_of, metadata_of, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]

# OpenAI's own format passes; a compatible vendor gets it as a chat completion, Anthropic as a message.
MODELS = ["gpt", "compatible", "claude"]
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def ask(given: Any, user: str, *, model: str = "gpt", **fields: Any) -> dict[str, Any]:
    """What a call is made with."""
    return {"model": model, "input": given, "user": user, **fields}


@pytest.mark.parametrize("model", MODELS)
def test_a_call_is_answered_accounted_and_told_its_cost(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    raw = sdks.openai().responses.with_raw_response.create(**ask(f"{CALL} [say:good day]", user, model=model))
    told = raw.parse()
    assert (told.output_text, told.status, told.usage.total_tokens) == ("good day", "completed", 120)
    assert raw.headers["x-spendhub-cost"] == CALL_USD
    span = vendors.served.the_span(user)
    assert (span["cost_nano_usd"], span["status"], span["model"]) == (CALL_NANO_USD, "ok", model)


@pytest.mark.parametrize("model", MODELS)
def test_an_async_stream_comes_word_by_word_and_ends_with_the_money(vendors: Vendors, user: str, model: str) -> None:
    async def call() -> list[Any]:
        async with vendors.async_openai_sdk() as sdk:
            fields = ask(f"{CALL} [say:one two three]", user, model=model, stream=True)
            return [event async for event in await sdk.responses.create(**fields)]

    events = asyncio.run(call())
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["one", " two", " three"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert (last.type, last.response.output_text) == ("response.completed", "one two three")
    assert last.response.model_extra["spendhub"]["cost"] == CALL_USD
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


@pytest.mark.parametrize("model", MODELS)
def test_the_sdks_own_accumulation_sees_the_same(vendors: Vendors, user: str, model: str) -> None:
    class City(BaseModel):
        name: str

    text = '[think:hm hm] [say:{"name": "Oslo"}]'
    fields = ask(text, user, model=model, reasoning={"effort": "low", "summary": "auto"}, text_format=City)
    with vendors.openai_sdk().responses.stream(**fields) as stream:
        for _ in stream:
            pass
        told = stream.get_final_response()
    assert told.output_parsed == City(name="Oslo")
    assert [item.type for item in told.output] == ["reasoning", "message"]
    assert told.output[0].summary[0].text == "hm hm"
    if model == "compatible":
        asked = asked_of(vendors.openai)
        assert asked["response_format"]["json_schema"]["name"] == "City"
        assert asked["reasoning_effort"] == "low"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_a_loop_of_tools_goes_round(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    sdk = sdks.openai()

    def create(given: Any) -> Any:
        fields = ask(given, user, model=model, tools=[WEATHER], instructions="be brief")
        if not is_stream:
            return sdk.responses.create(**fields)
        with sdk.responses.stream(**fields) as stream:
            for _ in stream:
                pass
            return stream.get_final_response()

    given: list[Any] = [{"role": "user", "content": "[calls:2] weather?"}]
    first = create(given)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("weather", {"city": "Köln"})] * 2
    given += [item.model_dump(exclude_none=True) for item in first.output]
    given += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    second = create(given)
    assert second.output_text
    assert [span["status"] for span in vendors.served.spans(user)] == ["ok", "ok"]
    if model == "claude":
        asked = asked_of(vendors.anthropic)
        assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
        assert [block["type"] for block in asked["messages"][2]["content"]] == ["tool_result"] * 2
        assert asked["system"][0]["text"] == "be brief"


@pytest.mark.parametrize("model", MODELS)
def test_thoughts_are_told_and_counted(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    text = f"{CALL} [think:let me think] [reasoning:30] [say:yes]"
    fields = ask(text, user, model=model, reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=4_096)
    told = sdks.openai().responses.create(**fields)
    thought, said = told.output
    assert (thought.type, thought.summary[0].text, said.content[0].text) == ("reasoning", "let me think", "yes")
    assert (told.usage.output_tokens, told.usage.output_tokens_details.reasoning_tokens) == (50, 30)
    span = vendors.served.the_span(user)
    assert (span["output_tokens"], span["reasoning_tokens"]) == (50, 30)


@pytest.mark.parametrize("model", ["claude", "gemini", "compatible"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_conversation_moves_to_openai_that_is_told_no_others_thoughts(
    vendors: Vendors, user: str, model: str, is_stream: bool
) -> None:
    sdk = vendors.openai_sdk()
    fields = ask("[think:let me see] weather?", user, model=model, tools=[WEATHER], reasoning={"effort": "low"})
    fields["max_output_tokens"] = 4_096
    if is_stream:
        with sdk.responses.stream(**fields) as stream:
            stream.until_done()
            first = stream.get_final_response()
    else:
        first = sdk.responses.create(**fields)
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    said = [item.model_dump(exclude_none=True) for item in first.output]
    assert ("signature" in said[1]) == (model == "gemini")
    result = {"type": "function_call_output", "call_id": said[1]["call_id"], "output": "sunny"}
    sdk.responses.create(**ask([{"role": "user", "content": "weather?"}, *said, result], user))
    asked = asked_of(vendors.openai)["input"]
    assert [item.get("type") for item in asked] == [None, "function_call", "function_call_output"]
    assert "signature" not in asked[1]


def test_its_own_vendor_gets_every_field_untouched(vendors: Vendors, user: str) -> None:
    fields = ask("hi", user, store=True, previous_response_id="resp_1", tools=[WEATHER, {"type": "web_search"}])
    vendors.openai_sdk().responses.create(**fields, extra_body={"no_such_field": [1, 2]})
    assert asked_of(vendors.openai) == {**fields, "no_such_field": [1, 2]}


@pytest.mark.parametrize(
    ("field", "value"),
    [("previous_response_id", "resp_1"), ("store", True), ("truncation", "auto")],
)
def test_what_only_openai_has_kept_is_refused_for_another_vendors_model(
    vendors: Vendors, user: str, field: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        vendors.openai_sdk().responses.create(**ask("hi", user, model="claude", **{field: value}))
    assert (refused.value.code, refused.value.param) == ("not_translatable", field)
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_in_the_background_is_refused_before_anything_is_asked(
    vendors: Vendors, user: str, model: str, is_stream: bool
) -> None:
    calls = vendors.openai.served.calls, vendors.anthropic.served.calls
    with pytest.raises(openai.BadRequestError) as refused:
        vendors.openai_sdk().responses.create(**ask("hi", user, model=model, background=True, stream=is_stream))
    assert refused.value.param == "background"
    assert (vendors.openai.served.calls, vendors.anthropic.served.calls) == calls
    assert vendors.served.spans(user) == []


def test_an_answer_that_is_cut_off_is_incomplete(vendors: Vendors, user: str) -> None:
    told = vendors.openai_sdk().responses.create(**ask("hello", user, model="sandbox-small", max_output_tokens=3))
    assert (told.status, told.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with vendors.openai_sdk().responses.stream(**ask("[fault:incomplete]", user)) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.incomplete"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["reset", "cut", "error"])
def test_a_stream_that_breaks_is_an_error_in_the_sdk(vendors: Vendors, user: str, model: str, fault: str) -> None:
    with pytest.raises(openai.APIError):
        list(vendors.openai_sdk().responses.create(**ask(f"[fault:{fault}]", user, model=model, stream=True)))
    (span,) = vendors.served.wait_for_spans(user, 1)
    assert span["status"] == "error" and span["cost_nano_usd"] > 0


@pytest.mark.parametrize("model", MODELS)
def test_an_error_in_mid_stream_goes_on_counting_and_keeps_the_words_of_who_speaks_the_same(
    vendors: Vendors, user: str, model: str
) -> None:
    url, headers = f"{vendors.served.url}/responses", {"authorization": f"Bearer {vendors.served.key}"}
    body = ask("[fault:error] [say:one two three four five]", user, model=model, stream=True)
    events = events_of(httpx.post(url, headers=headers, json=body, timeout=30).text)
    assert len(events) > 3 and [each["sequence_number"] for each in events] == list(range(len(events)))
    last = events[-1]
    (span,) = vendors.served.wait_for_spans(user, 1)
    assert (last["type"], last["error"]["message"]) == ("error", last["message"])
    assert last["error"]["spendhub"]["cost"] == format_usd(span["cost_nano_usd"])
    if model == "gpt":
        assert (last["message"], last["code"]) == ("overloaded on demand", "server_error")
    else:
        assert last["message"].startswith("the vendor broke off in mid-stream: ")
        assert (last["message"].endswith("overloaded on demand"), last["code"]) == (True, "upstream_failed")


@pytest.mark.parametrize("model", MODELS)
def test_a_vendors_error_is_raised_as_what_it_is(sdks: Sdks, user: str, model: str) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        sdks.openai().responses.create(**ask("[fault:429]", user, model=model))
    assert "fault 429 on demand" in raised.value.message
    assert raised.value.response.headers["retry-after"] == "7"


def test_a_budget_without_room_is_a_402(vendors: Vendors, sdks: Sdks, user: str) -> None:
    vendors.served.define_budget(user, "0.00001")
    with pytest.raises(openai.APIStatusError) as refused:
        sdks.openai().responses.create(**ask("hi", user))
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")


def test_bad_requests_are_told_in_openais_shape(vendors: Vendors) -> None:
    for body in ({}, {"model": "gpt"}, {"model": "gpt", "input": []}, {"model": "claude", "input": [{}]}):
        headers = {"authorization": f"Bearer {vendors.served.key}"}
        answered = httpx.post(f"{vendors.served.url}/responses", headers=headers, json=body, timeout=30)
        assert answered.status_code == 400, answered.text
        assert answered.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("is_stream", [False, True])
def test_searches_that_openai_made_are_on_the_bill(vendors: Vendors, user: str, is_stream: bool) -> None:
    answered = vendors.openai_sdk().responses.create(
        model="gpt", input=f"{CALL} [searches:2]", user=user, tools=[{"type": "web_search"}], stream=is_stream
    )
    if is_stream:
        assert list(answered)[-1].type == "response.completed"
    span = vendors.served.the_span(user)
    assert span["cost_nano_usd"] == CALL_NANO_USD + 2 * 10_000_000
    assert (metadata_of(span)["web_searches"], bool(span["is_estimated"])) == (2, False)


def test_under_a_strict_budget_openais_project_does_not_choose_a_dearer_tier(vendors: Vendors, user: str) -> None:
    price = {"model": "gpt", "service_tier": "priority", "input": "4", "output": "20"}
    vendors.served.native("POST", "prices", json=price)
    pause_for_snapshots()
    vendors.served.define_budget(user, "1", strict=True)
    vendors.openai_sdk().responses.create(model="gpt", input=CALL, user=user, max_output_tokens=50)
    assert asked_of(vendors.openai)["service_tier"] == "default"
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_the_vendor_says_that_a_response_has_cost_is_booked(vendors: Vendors, user: str, is_stream: bool) -> None:
    answered = vendors.openai_sdk().responses.create(
        model="gpt", input=f"{CALL} [ticks:5000]", user=user, stream=is_stream
    )
    if is_stream:
        assert list(answered)[-1].type == "response.completed"
    assert vendors.served.the_span(user)["cost_nano_usd"] == 500
