"""The official SDKs, answered by a model on Bedrock: signed requests, and answers in Amazon's binary streams."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.sdks.vendors import CALL, CALL_NANO_USD, CALL_USD, Vendors, asked_of

pytestmark = [pytest.mark.slow, pytest.mark.once]

MODEL = "bedrock-claude"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize("is_stream", [False, True])
def test_openais_sdk_goes_round_a_loop_of_tools_with_its_thoughts(vendors: Vendors, user: str, is_stream: bool) -> None:
    sdk = vendors.openai_sdk()
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]

    def create(*messages: Any) -> Any:
        fields: Any = {"model": MODEL, "messages": messages, "tools": tools, "user": user, "reasoning_effort": "low"}
        fields["max_completion_tokens"] = 4_096
        if not is_stream:
            return sdk.chat.completions.create(**fields)
        with sdk.chat.completions.stream(**fields, stream_options={"include_usage": True}) as stream:
            for _ in stream:
                pass
            return stream.get_final_completion()

    asked = {"role": "user", "content": "[calls:2] [think:let me see] [in:100] [out:17] weather?"}
    first = create(asked)
    assert first.choices[0].finish_reason == "tool_calls"
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (100, 20)
    message = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{CALL} sunny"} for call in message.tool_calls]
    second = create(asked, message.model_dump(exclude_none=True), *results)
    assert second.choices[0].message.content
    turns = asked_of(vendors.bedrock)["messages"]
    # What Claude signed has come back to it, as it demands in a loop of tools.
    signed = turns[1]["content"][0]["reasoningContent"]["reasoningText"]
    assert (signed["text"], bool(signed["signature"])) == ("let me see", True)
    assert [list(block) for block in turns[2]["content"]] == [["toolResult"], ["toolResult"]]
    spans = vendors.served.wait_for_spans(user, 2)
    assert [(span["status"], span["cost_nano_usd"]) for span in spans] == [("ok", CALL_NANO_USD)] * 2


def test_anthropics_sdk_streams_and_is_told_what_it_cost(vendors: Vendors, user: str) -> None:
    said: Any = [{"role": "user", "content": f"{CALL} [say:Grüße 東京 by a stop]"}]
    with vendors.anthropic_sdk().messages.stream(
        model=MODEL, max_tokens=50, messages=said, stop_sequences=["END"], metadata={"user_id": user}
    ) as stream:
        message = stream.get_final_message()
    assert message.content[0].text == "Grüße 東京 by a stop"  # type: ignore[union-attr]  # a text
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 20)
    assert vendors.served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD
    assert asked_of(vendors.bedrock)["inferenceConfig"] == {"maxTokens": 50, "stopSequences": ["END"]}


def test_a_stream_that_breaks_is_told_and_billed_for_what_it_said(vendors: Vendors, user: str) -> None:
    messages: Any = [{"role": "user", "content": "[fault:error] [say:one two three four]"}]
    with pytest.raises(openai.APIError, match="serviceUnavailableException: overloaded on demand"):
        for _ in vendors.openai_sdk().chat.completions.create(model=MODEL, messages=messages, user=user, stream=True):
            pass
    span = vendors.served.the_span(user)
    assert (span["status"], span["error_code"], bool(span["is_estimated"])) == ("error", "upstream_failed", True)
    assert 0 < span["output_tokens"] <= 4


def test_awss_refusal_is_told_in_the_clients_shape(vendors: Vendors, user: str) -> None:
    raw = vendors.openai_sdk().chat.completions.with_raw_response
    with pytest.raises(openai.RateLimitError, match="fault 429 on demand") as refused:
        raw.create(model=MODEL, messages=[{"role": "user", "content": "[fault:429]"}], user=user)
    assert refused.value.response.headers["retry-after"] == "7"
    told = raw.create(model=MODEL, messages=[{"role": "user", "content": CALL}], user=user)
    assert told.headers["x-spendhub-cost"] == CALL_USD


def test_a_key_of_no_known_form_costs_nothing_and_is_not_told(vendors: Vendors, user: str) -> None:
    budget = vendors.served.define_budget(user, "1.00")
    messages: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(openai.InternalServerError) as refused:
        vendors.openai_sdk().chat.completions.create(model="bedrock-unusable", messages=messages, user=user)
    assert (refused.value.status_code, refused.value.code) == (503, "credential_unusable")
    assert "no:key" not in refused.value.response.text
    assert (vendors.served.spans(user), vendors.served.ledger(budget)) == ([], 0)
    assert float(vendors.served.held(user, "bedrock-claude")) == 0
