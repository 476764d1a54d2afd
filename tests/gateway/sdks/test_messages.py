"""The official Anthropic SDK against the gateway: its own vendor's models untouched, all others translated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest

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
from tests.gateway.served import json_of, metadata_of, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]

# Where a call goes: Anthropic's own format passes, OpenAI's is translated, the sandbox is OpenAI's in our process.
MODELS = ["claude", "gpt"]
WEATHER = {
    "name": "weather",
    "description": "of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(text: str, user: str, *, model: str = "claude", **fields: Any) -> dict[str, Any]:
    """What a call is made with."""
    return {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        "metadata": {"user_id": user},
        **fields,
    }


@pytest.mark.parametrize("model", MODELS)
def test_a_call_is_answered_accounted_and_told_its_cost(vendors: Vendors, sdks: Sdks, user: str, model: str) -> None:
    raw = sdks.anthropic().messages.with_raw_response.create(**ask(f"{CALL} [say:good day]", user, model=model))
    told = sdks.parsed(raw)
    assert [(block.type, block.text) for block in told.content] == [("text", "good day")]
    assert (told.stop_reason, told.usage.input_tokens, told.usage.output_tokens) == ("end_turn", 100, 20)
    assert raw.headers["x-spendhub-cost"] == CALL_USD
    assert raw.headers["x-spendhub-model"] == model
    span = vendors.served.the_span(user)
    assert (span["cost_nano_usd"], span["status"], span["model"]) == (CALL_NANO_USD, "ok", model)


@pytest.mark.parametrize("model", [*MODELS, "bedrock-claude"])
def test_the_sdk_shows_the_vendors_own_id_of_whatever_it_answers(vendors: Vendors, user: str, model: str) -> None:
    sdk = vendors.anthropic_sdk()
    assert sdk.messages.create(**ask(CALL, user, model=model))._request_id == "req_fake"
    with sdk.messages.stream(**ask(CALL, user, model=model)) as stream:
        assert stream.request_id == "req_fake"
        stream.until_done()
    with pytest.raises(anthropic.RateLimitError) as raised:
        sdk.messages.create(**ask("[fault:429]", user, model=model))
    assert raised.value.request_id == "req_fake"


@pytest.mark.parametrize("model", MODELS)
def test_an_async_stream_comes_word_by_word_and_ends_with_the_money(vendors: Vendors, user: str, model: str) -> None:
    async def call() -> tuple[list[str], Any, list[Any]]:
        async with vendors.async_anthropic_sdk() as sdk:
            events = []
            async with sdk.messages.stream(**ask(f"{CALL} [say:one two three]", user, model=model)) as stream:
                words = []
                async for event in stream:
                    events.append(event)
                    if event.type == "text":
                        words.append(event.text)
                return words, await stream.get_final_message(), events

    words, message, events = asyncio.run(call())
    assert words == ["one", " two", " three"]
    assert message.content[0].text == "one two three"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 20)
    (last,) = [event for event in events if event.type == "message_delta"]
    assert last.model_extra["spendhub"]["cost"] == CALL_USD
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_a_loop_of_tools_goes_round(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    sdk = sdks.anthropic()

    def create(messages: list[Any]) -> Any:
        fields = ask("", user, model=model, tools=[WEATHER]) | {"messages": messages}
        if not is_stream:
            return sdk.messages.create(**fields)
        with sdk.messages.stream(**fields) as stream:
            return stream.get_final_message()

    messages: list[Any] = [{"role": "user", "content": "[calls:2] weather?"}]
    first = create(messages)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls] == [("weather", {"city": "Köln"})] * 2
    assert len({call.id for call in calls}) == 2
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = create(messages)
    assert second.stop_reason == "end_turn" and second.content[0].text
    assert [span["status"] for span in vendors.served.spans(user)] == ["ok", "ok"]
    if model == "gpt":
        asked = asked_of(vendors.openai)
        assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool", "tool"]
        assert [each["tool_call_id"] for each in asked["messages"][2:]] == [call.id for call in calls]
        assert json.loads(asked["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
        assert asked["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_thoughts_are_told_and_counted(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    text = f"{CALL} [think:let me think] [reasoning:30] [say:yes]"
    fields = ask(text, user, model=model, max_tokens=4_096, thinking={"type": "enabled", "budget_tokens": 2_048})
    sdk = sdks.anthropic()
    if is_stream:
        with sdk.messages.stream(**fields) as stream:
            told = stream.get_final_message()
    else:
        told = sdk.messages.create(**fields)
    thought, said = told.content
    assert (thought.type, thought.thinking, said.text) == ("thinking", "let me think", "yes")
    assert bool(thought.signature) == (model == "claude")
    assert told.usage.output_tokens == 50
    span = vendors.served.the_span(user)
    assert (span["output_tokens"], span["reasoning_tokens"]) == (50, 30)
    if model == "gpt":
        assert asked_of(vendors.openai)["reasoning_effort"] == "low"


def test_its_own_vendor_gets_every_field_untouched(vendors: Vendors, user: str) -> None:
    cached: Any = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    searching: Any = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]
    fields = ask("hi", user, system=cached, tools=searching, tool_choice={"type": "none"})
    unknown = {"top_k": 5, "no_such_field": [1, 2]}
    vendors.anthropic_sdk().messages.create(**fields, extra_body=unknown)
    assert asked_of(vendors.anthropic) == {**fields, **unknown, "model": "claude-sonnet-4-5"}


def test_a_header_that_is_sent_twice_is_passed_on_whole(vendors: Vendors, user: str) -> None:
    headers = [("x-api-key", vendors.served.key), ("anthropic-beta", "one"), ("anthropic-version", "2023-06-01"),
               ("x-spendhub-user", user), ("anthropic-beta", "two,three")]  # fmt: skip
    asked = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answered = httpx.post(f"{vendors.served.server.url}/v1/messages", headers=headers, json=asked, timeout=30)
    assert answered.status_code == 200
    passed = vendors.anthropic.served.requests[-1]["headers"]
    assert (passed["anthropic-beta"], passed["anthropic-version"]) == ("one,two,three", "2023-06-01")


def test_cache_reads_and_writes_are_told_as_anthropic_tells_them(vendors: Vendors, user: str) -> None:
    text = "[in:10] [cached:20] [written:30] [out:5]"
    for model in MODELS:
        with vendors.anthropic_sdk().messages.stream(**ask(text, user, model=model)) as stream:
            usage = stream.get_final_message().usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (10, 20, 30)


def test_what_only_anthropic_understands_is_refused_for_another_vendors_model(vendors: Vendors, user: str) -> None:
    calls = vendors.openai.served.calls
    tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(anthropic.BadRequestError) as refused:
        vendors.anthropic_sdk().messages.create(**ask("hi", user, model="gpt", tools=tools))
    told = refused.value.body["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "not_translatable")
    assert told["field"] == "tools[0].type 'web_search_20250305'"
    assert vendors.openai.served.calls == calls and vendors.served.spans(user) == []


def test_a_budget_without_room_is_a_billing_error(vendors: Vendors, sdks: Sdks, user: str) -> None:
    vendors.served.define_budget(user, "0.00001")
    with pytest.raises(anthropic.APIStatusError) as refused:
        sdks.anthropic().messages.create(**ask("hi", user))
    error = refused.value
    assert error.status_code == 402
    assert error.body["type"] == "error"
    told = error.body["error"]
    assert (told["type"], told["code"], told["remaining"]) == ("billing_error", "budget_exceeded", "0.00001")
    assert error.response.headers["x-spendhub-decision"] == "hard-stop"
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [("429", anthropic.RateLimitError, 429), ("400", anthropic.BadRequestError, 400),
     ("529", anthropic.APIStatusError, 529)],
)  # fmt: skip
def test_a_vendors_error_is_raised_as_what_it_is(
    vendors: Vendors, sdks: Sdks, user: str, model: str, fault: str, kind: type[anthropic.APIStatusError], status: int
) -> None:
    with pytest.raises(kind) as raised:
        sdks.anthropic().messages.create(**ask(f"[fault:{fault}]", user, model=model))
    assert raised.value.status_code == status
    assert raised.value.body["type"] == "error"
    assert f"fault {fault} on demand" in raised.value.body["error"]["message"]
    assert [span["cost_nano_usd"] for span in vendors.served.spans(user)] == [0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["reset", "cut", "error"])
def test_a_stream_that_breaks_is_an_error_in_the_sdk(vendors: Vendors, user: str, model: str, fault: str) -> None:
    sdk = vendors.anthropic_sdk()
    asked = ask(f"[fault:{fault}]", user, model=model)
    with pytest.raises(anthropic.APIStatusError) as raised, sdk.messages.stream(**asked) as stream:
        stream.get_final_message()
    (span,) = vendors.served.wait_for_spans(user, 1)
    assert span["status"] == "error" and span["cost_nano_usd"] > 0
    told = raised.value.body["error"]
    assert told["spendhub"]["cost"] == format_usd(span["cost_nano_usd"])
    if (model, fault) == ("claude", "error"):  # its own words, as it speaks the same
        assert (told["type"], told["message"]) == ("overloaded_error", "overloaded on demand")
        assert raised.value.body["request_id"] == "req_fake"
    else:
        assert (told["type"], told["code"]) == ("api_error", "upstream_failed")


@pytest.mark.parametrize("fault", ["split-utf8", "crlf", "malformed-sse"])
def test_a_stream_that_is_only_odd_is_passed_on(vendors: Vendors, user: str, fault: str) -> None:
    if fault == "malformed-sse":
        answered = post(vendors, "/v1/messages", ask(f"[fault:{fault}]", user, stream=True))
        assert answered.status_code == 200 and "message_stop" in answered.text
    else:
        with vendors.anthropic_sdk().messages.stream(**ask(f"[fault:{fault}] [say:Grüße 東京]", user)) as stream:
            assert stream.get_final_message().content[0].text == "Grüße 東京"
    assert vendors.served.wait_for_spans(user, 1)[0]["status"] == "ok"


def post(vendors: Vendors, path: str, body: Any, **headers: str) -> httpx.Response:
    """Without an SDK."""
    headers = {"x-api-key": vendors.served.key, **headers}
    return httpx.post(vendors.served.server.url + path, headers=headers, json=body, timeout=30)


def test_tokens_are_counted_without_a_vendor_and_without_a_span(vendors: Vendors) -> None:
    calls, spans = vendors.anthropic.served.calls, vendors.served.span_count()
    told = vendors.anthropic_sdk().messages.count_tokens(
        model="claude", messages=[{"role": "user", "content": "abcdef"}], system="abc"
    )
    assert told.input_tokens == 3 + 4 + 2 + 1
    with pytest.raises(anthropic.BadRequestError):
        vendors.anthropic_sdk().messages.count_tokens(model="claude", messages=[])
    assert (vendors.anthropic.served.calls, vendors.served.span_count()) == (calls, spans)


def test_the_sandbox_answers_anthropics_sdk_too(vendors: Vendors, user: str) -> None:
    sdk = vendors.anthropic_sdk()
    told = sdk.messages.create(**ask("hello", user, model="sandbox-small"))
    assert "hello" in told.content[0].text
    with sdk.messages.stream(**ask("use tool", user, model="sandbox-small", tools=[WEATHER])) as stream:
        message = stream.get_final_message()
    assert [(block.type, block.name) for block in message.content] == [("tool_use", "weather")]
    assert message.stop_reason == "tool_use"


def test_the_beta_half_of_the_sdk_is_answered_too(vendors: Vendors, user: str) -> None:
    told = vendors.anthropic_sdk().beta.messages.create(**ask("[say:good day]", user), betas=["some-beta-2025-01-01"])
    assert told.content[0].text == "good day"


@pytest.mark.parametrize("model", ["gemini", "gpt"])
def test_a_loop_of_tools_moves_from_another_vendors_model_to_claude(vendors: Vendors, user: str, model: str) -> None:
    sdk = vendors.anthropic_sdk()
    thinking: Any = {"type": "enabled", "budget_tokens": 2_048}
    fields = ask("", user, tools=[WEATHER], max_tokens=4_096, thinking=thinking)
    messages: list[Any] = [{"role": "user", "content": "[think:let me see] weather?"}]
    first = sdk.messages.create(**{**fields, "model": model, "messages": messages})
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = sdk.messages.create(**{**fields, "model": "claude", "messages": messages})
    assert "sunny" in second.content[0].text
    asked = asked_of(vendors.anthropic)
    said = {"type": "tool_use", "id": call.id, "name": "weather", "input": {"city": "Köln"}}
    assert asked["messages"][1]["content"] == [said] and "thinking" not in asked


def forecast(city: str) -> str:
    """The weather in a city.

    Args:
        city: which.
    """
    return f"sunny in {city}"


@pytest.mark.parametrize("model", [*MODELS, "gemini", "bedrock-claude"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_the_sdks_own_loop_of_tools_goes_round(vendors: Vendors, user: str, model: str, is_stream: bool) -> None:
    """It asks its vendor to keep the conversation as a thread, and does without where that cannot be."""
    fields = ask("weather?", user, model=model, tools=[anthropic.beta_tool(forecast)])
    runner = vendors.anthropic_sdk().beta.messages.tool_runner(**fields, stream=is_stream)
    said = runner.until_done()
    assert "sunny in Köln" in said.content[0].text
    spans = vendors.served.spans(user)
    assert [(span["model"], span["status"]) for span in spans] == [(model, "ok")] * 2


def test_bad_requests_are_told_in_anthropics_shape(vendors: Vendors) -> None:
    for body in ({}, {"model": "claude"}, {"model": "claude", "messages": [{"role": "user", "content": "x"}]}):
        answered = post(vendors, "/v1/messages", body)
        assert answered.status_code == 400
        assert answered.json()["error"]["type"] == "invalid_request_error"
    unknown = post(vendors, "/v1/messages", ask("hi", "ada", model="no-such"))
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    wrong_key = post(vendors, "/v1/messages", ask("hi", "ada"), **{"x-api-key": "sh_wrong"})
    assert (wrong_key.status_code, wrong_key.json()["error"]["type"]) == (401, "authentication_error")


def test_a_strict_budget_is_not_exceeded_by_a_context_that_a_passed_header_makes_longer(
    vendors: Vendors, user: str
) -> None:
    served, name = vendors.served, f"claude-{user}"
    address = ("--base-url", vendors.anthropic.base_url)
    served.server.manage("provider", "set", user, "--dialect", "anthropic", *address, "--api-key-env", "VENDOR_KEY")
    sizes = {"context_tokens": 200_000, "max_output_tokens": 1_000}
    served.native("POST", "models", json={"provider": user, "name": name, **sizes})
    served.native("POST", "prices", json={"model": name, "input": "3", "output": "15"})
    long_rates = {"input": "6", "output": "22.5", "min_context_tokens": 200_000}
    served.native("POST", "prices", json={"model": name, **long_rates})
    pause_for_snapshots()
    # A short context at most: 0.6 USD. A long one: 6.
    budget = served.define_budget(user, "1", strict=True)
    document = {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}}
    said = [{"role": "user", "content": [{"type": "text", "text": "[in:900000] [out:10]"}, document]}]
    wanted = {**ask("", user, model=name), "messages": said}
    headers = {"anthropic-beta": "context-1m-2025-08-07"}
    calls = vendors.anthropic.served.calls
    refused = post(vendors, "/v1/messages", wanted, **headers)
    assert (refused.status_code, served.ledger(budget), vendors.anthropic.served.calls) == (402, 0, calls)
    served.native("PATCH", f"budgets/{budget}", json={"limit": "7"})
    pause_for_snapshots()
    assert post(vendors, "/v1/messages", wanted, **headers).status_code == 200
    span = served.the_span(user)
    # 900,000 at 6 USD per million, 10 at 22.50.
    assert span["cost_nano_usd"] == 5_400_225_000 == served.ledger(budget)
    assert span["reserved_nano_usd"] == 6_000_000_000 + 100 * 22_500


@pytest.mark.parametrize("is_stream", [False, True])
def test_searches_that_anthropic_made_are_on_the_bill(vendors: Vendors, user: str, is_stream: bool) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    wanted = ask(f"{CALL} [searches:2]", user, tools=[search])
    if is_stream:
        with vendors.anthropic_sdk().messages.stream(**wanted) as stream:
            stream.until_done()
    else:
        vendors.anthropic_sdk().messages.create(**wanted)
    span = vendors.served.the_span(user)
    # At 10 USD per thousand; held were 3 of them, each with 8,000 tokens to read.
    assert span["cost_nano_usd"] == CALL_NANO_USD + 2 * 10_000_000
    assert json_of(span["breakdown"])["web_search"] == 2 * 10_000_000
    assert span["reserved_nano_usd"] > 3 * 10_000_000 + 3 * 8_000 * 2_000
    assert (metadata_of(span)["web_searches"], bool(span["is_estimated"])) == (2, False)
