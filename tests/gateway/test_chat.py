"""The official OpenAI SDK against the gateway: executed, accounted, and told what it cost."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import httpx
import openai
import pytest

from tests.fakes.openai_upstream import WORDS_OF_ANSWER
from tests.gateway.served import (
    INPUT_NANO_USD,
    OUTPUT_NANO_USD,
    Served,
    events_of,
    json_of,
    metadata_of,
    pause_for_snapshots,
)

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "[in:100] [out:20] [say:good morning]"}]
HELLO_NANO_USD = 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD
HELLO_USD = "0.0004"
WEATHER = [
    {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}}
]


def test_a_call_of_the_sync_sdk_is_answered_accounted_and_told_its_cost(served: Served, user: str) -> None:
    raw = served.sdk().chat.completions.with_raw_response.create(
        model="vendor-chat", messages=HELLO, extra_headers={"x-spendhub-user": user}
    )
    assert raw.parse().choices[0].message.content == "good morning"
    assert raw.headers["x-spendhub-cost"] == HELLO_USD
    assert raw.headers["x-spendhub-model"] == "vendor-chat"
    assert raw.headers["x-spendhub-decision"] == "allow"
    span = served.the_span(user)
    assert span["cost_nano_usd"] == HELLO_NANO_USD
    assert (span["input_tokens"], span["output_tokens"]) == (100, 20)
    assert (span["status"], bool(span["is_estimated"]), span["source"]) == ("ok", False, "gateway")
    assert (span["provider"], span["model"], span["requested_model"]) == ("vendor", "vendor-chat", "vendor-chat")
    assert span["request_id"] == raw.headers["x-spendhub-request-id"]


def test_the_span_of_an_accounts_own_model_says_which_it_was_for_its_name_may_change(served: Served, user: str) -> None:
    served.define_model(user)
    (own,) = served.native("GET", f"models?name={user}")["results"]
    pause_for_snapshots()
    assert [served.ask(model=model, user=user).status_code for model in (user, "vendor-chat")] == [200, 200]
    of_own, of_shared = map(metadata_of, served.spans(user))
    assert of_own["own_model_id"] == own["id"]
    assert "own_model_id" not in of_shared


def test_a_call_of_the_async_sdk_is_answered_and_accounted(served: Served, user: str) -> None:
    async def call() -> str | None:
        async with served.async_sdk() as sdk:
            reply = await sdk.chat.completions.create(model="vendor-chat", messages=HELLO, user=user)
            return reply.choices[0].message.content

    assert asyncio.run(call()) == "good morning"
    assert served.the_span(user)["cost_nano_usd"] == HELLO_NANO_USD


def test_a_stream_comes_chunk_by_chunk_and_its_span_is_there_when_it_ends(served: Served, user: str) -> None:
    with served.sdk().chat.completions.create(
        model="vendor-chat", messages=[{"role": "user", "content": "hi"}], user=user, stream=True
    ) as stream:
        chunks = list(stream)
        spans = served.spans(user)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == WORDS_OF_ANSWER
    assert len(chunks) == len(WORDS_OF_ANSWER.split()) + 2
    # The client did not ask for usage, so it gets none; the vendor was asked all the same.
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert [(span["output_tokens"], bool(span["is_estimated"])) for span in spans] == [(15, False)]
    assert spans[0]["first_token_ms"] is not None


def test_a_stream_whose_client_asked_for_usage_ends_with_the_money_in_it(served: Served, user: str) -> None:
    served.define_budget(user, "1")
    with served.sdk().chat.completions.create(
        model="vendor-chat", messages=HELLO, user=user, stream=True, stream_options={"include_usage": True}
    ) as stream:
        last = list(stream)[-1]
    assert last.usage is not None and last.usage.total_tokens == 120
    assert last.model_extra["spendhub"] == {
        "cost": HELLO_USD,
        "model": "vendor-chat",
        "remaining": "0.9996",
        "decision": "allow",
    }


def test_an_async_stream_is_accounted(served: Served, user: str) -> None:
    async def call() -> str:
        async with served.async_sdk() as sdk:
            stream = await sdk.chat.completions.create(model="vendor-chat", messages=HELLO, user=user, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert asyncio.run(call()) == "good morning"
    assert served.the_span(user)["cost_nano_usd"] == HELLO_NANO_USD


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_tool_call_comes_through(served: Served, user: str, is_stream: bool) -> None:
    asked = {
        "model": "vendor-chat",
        "messages": [{"role": "user", "content": "[out:9]"}],
        "tools": WEATHER,
        "user": user,
    }
    if is_stream:
        with served.sdk().chat.completions.stream(**asked) as stream:
            stream.until_done()
            message = stream.get_final_completion().choices[0].message
    else:
        message = served.sdk().chat.completions.create(**asked).choices[0].message
    assert message.tool_calls[0].function.name == "weather"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Köln"}
    assert served.the_span(user)["output_tokens"] == 9


def test_fields_we_do_not_know_reach_the_vendor_untouched_and_its_answer_comes_back_untouched(
    served: Served, user: str
) -> None:
    given = {"logit_bias": {"50256": -100}, "a_field_of_tomorrow": {"deep": [1, 2.5, None, "ü"]}, "temperature": 0.1}
    answered = served.ask("[say:as it was]", user=user, seed=12345678901234567890, **given)
    assert answered.json()["system_fingerprint"] == "fp_fake"
    asked = served.asked_of_vendor(user)
    assert {name: asked["body"][name] for name in given} == given
    assert asked["body"]["seed"] == 12345678901234567890
    assert asked["headers"]["authorization"] == "Bearer sk-vendor"
    assert not [name for name in asked["headers"] if name.startswith("x-spendhub")]
    assert served.key not in json.dumps(asked)


def test_cached_and_reasoning_tokens_are_each_counted_once(served: Served, user: str) -> None:
    served.ask("[in:100] [cached:50] [out:20] [reasoning:5]", user=user)
    span = served.the_span(user)
    assert (span["input_tokens"], span["cache_read_tokens"]) == (100, 50)
    assert (span["output_tokens"], span["reasoning_tokens"]) == (25, 5)
    assert span["cost_nano_usd"] == 150 * INPUT_NANO_USD + 25 * OUTPUT_NANO_USD


def test_an_alias_is_resolved_and_both_names_are_kept(served: Served, user: str) -> None:
    answered = served.ask(model="VENDOR-alias", user=user)
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    span = served.the_span(user)
    assert (span["model"], span["requested_model"]) == ("vendor-chat", "VENDOR-alias")


def test_the_sandbox_answers_without_any_vendor(served: Served, user: str) -> None:
    reply = served.sdk().chat.completions.create(model="sandbox-small", messages=HELLO, user=user)
    assert "sandbox" in (reply.choices[0].message.content or "")
    span = served.the_span(user)
    assert span["provider"] == "sandbox"
    assert (span["input_tokens"], span["output_tokens"]) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)


def test_the_models_are_listed_in_openais_shape_and_can_be_looked_up(served: Served) -> None:
    listed = {model.id: model for model in served.sdk().models.list()}
    assert {"sandbox-small", "vendor-chat", "gpt-5-mini"} <= set(listed)
    assert listed["vendor-chat"].owned_by == "vendor"
    assert "vendor-off" not in listed
    assert served.sdk().models.retrieve("vendor-alias").id == "vendor-chat"
    with pytest.raises(openai.NotFoundError) as missing:
        served.sdk().models.retrieve("no-such-model")
    assert missing.value.code == "model_not_found"


def test_a_client_may_name_its_request_but_every_call_counts(served: Served, user: str) -> None:
    for _ in range(2):
        served.ask("[in:10] [out:1]", user=user, headers={"x-spendhub-request-id": "my-1"})
    spans = served.spans(user)
    assert [metadata_of(span)["client_request_id"] for span in spans] == ["my-1", "my-1"]
    assert len({span["request_id"] for span in spans}) == 2


@pytest.mark.parametrize("is_strict", [False, True])
def test_nobody_makes_a_stream_free_by_reporting_it_before_it_ends(served: Served, user: str, is_strict: bool) -> None:
    budget = served.define_budget(user, "1", strict=is_strict)
    key = served.native("POST", "keys", json={"name": user, "permissions": ["spend"]})["key"]
    pause_for_snapshots()
    headers = {"authorization": f"Bearer {key}"}
    text = f"[fault:slow-stream] [in:100] [out:20] [say:{'word ' * 50}]"
    messages = [{"role": "user", "content": text}]
    body = {"model": "vendor-chat", "stream": True, "user": user, "max_tokens": 2000, "messages": messages}
    with httpx.stream("POST", f"{served.url}/chat/completions", headers=headers, json=body, timeout=30) as stream:
        span = {"request_id": stream.headers["x-spendhub-request-id"], "cost": "0", "attribution": {"user": user}}
        told = httpx.post(f"{served.server.url}/api/v1/spans", headers=headers, json=span, timeout=30)
        assert served.spans(user) == []  # it has not ended
        stream.read()
    assert (told.status_code, told.json()["error"]["code"]) == (409, "call_not_booked")
    assert served.the_span(user)["cost_nano_usd"] == served.ledger(budget) == HELLO_NANO_USD


def test_the_last_usage_event_carries_the_money_even_when_the_vendor_reports_with_every_chunk(
    served: Served, user: str
) -> None:
    answered = served.ask(
        "[fault:usage-every-chunk] [say:a b]", user=user, stream=True, stream_options={"include_usage": True}
    )
    *events, done = events_of(answered.text)
    assert done == "[DONE]"
    assert [event for event in events if "spendhub" in event] == [events[-1]]
    assert Decimal(events[-1]["spendhub"]["cost"]) * 10**9 == served.the_span(user)["cost_nano_usd"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_vendors_own_bill_counts_before_our_prices(served: Served, user: str, is_stream: bool) -> None:
    budget = served.define_budget(user, "1")
    options = {"stream_options": {"include_usage": True}} if is_stream else {}
    answered = served.ask("[in:100] [out:20] [ticks:1234567]", user=user, stream=is_stream, **options)
    assert answered.status_code == 200
    told = events_of(answered.text)[-2]["spendhub"]["cost"] if is_stream else answered.headers["x-spendhub-cost"]
    assert told == "0.000123457"
    span = served.the_span(user)
    assert (span["cost_nano_usd"], served.ledger(budget)) == (123_457, 123_457)
    assert (json_of(span["breakdown"]), bool(span["is_estimated"])) == ({"billed": 123_457}, False)
    # 100 tokens in at 2 USD per million, 20 out at 10.
    assert metadata_of(span)["list_price_cost"] == "0.0004"


def test_a_bill_that_agrees_with_our_prices_changes_nothing(served: Served, user: str) -> None:
    served.ask("[in:100] [out:20] [ticks:4000000]", user=user)
    span = served.the_span(user)
    assert (span["cost_nano_usd"], json_of(span["breakdown"])) == (400_000, {"input": 200_000, "output": 200_000})
    assert "list_price_cost" not in metadata_of(span)
