"""The official SDKs read a stream that a strict budget has ended to its end: it says that it was cut at a limit, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from google.genai import types

from tests.gateway.sdks.vendors import Vendors
from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD, metadata_of

pytestmark = [pytest.mark.slow, pytest.mark.once]

# The vendors here do not keep to limits: asked for 20 tokens, they go on until the stream is ended.
LIMIT, WORDS = 20, 200
SAY = f"[say:{' '.join(['word'] * WORDS)}]"


def by_chat(vendors: Vendors, user: str, model: str) -> tuple[str, Any, Any]:
    """The text, why it ended, and our object."""
    stream = vendors.openai_sdk().chat.completions.create(
        model=model, messages=[{"role": "user", "content": SAY}], max_completion_tokens=LIMIT, user=user, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    *chunks, last = list(stream)
    assert last.usage is not None and last.usage.completion_tokens < WORDS
    told = [chunk.choices[0] for chunk in chunks]
    return (
        "".join(each.delta.content or "" for each in told),
        told[-1].finish_reason,
        (last.model_extra or {})["spendhub"],
    )


def by_responses(vendors: Vendors, user: str, model: str) -> tuple[str, Any, Any]:
    stream: Any = vendors.openai_sdk().responses.create(
        model=model, input=SAY, max_output_tokens=LIMIT, user=user, stream=True
    )
    events = list(stream)
    response = events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[-1].type, response.status) == ("response.incomplete", "incomplete")
    return response.output_text, response.incomplete_details.reason, response.model_extra["spendhub"]


def by_messages(vendors: Vendors, user: str, model: str) -> tuple[str, Any, Any]:
    asked: Any = [{"role": "user", "content": SAY}]
    with vendors.anthropic_sdk().messages.stream(
        model=model, messages=asked, max_tokens=LIMIT, metadata={"user_id": user}
    ) as stream:
        events = list(stream)
        message: Any = stream.get_final_message()
    (last,) = [event for event in events if event.type == "message_delta"]
    assert message.usage.output_tokens < WORDS
    return message.content[0].text, message.stop_reason, (last.model_extra or {})["spendhub"]


def by_google(vendors: Vendors, user: str, model: str) -> tuple[str, Any, Any]:
    """Of what it does not know the SDK shows nothing."""
    config = types.GenerateContentConfig(max_output_tokens=LIMIT)
    told = list(vendors.googles_sdk(user).models.generate_content_stream(model=model, contents=SAY, config=config))
    assert told[-1].candidates is not None and told[-1].usage_metadata is not None
    return "".join(each.text or "" for each in told), told[-1].candidates[0].finish_reason, None


CLIENTS: dict[str, tuple[Callable[[Vendors, str, str], tuple[str, Any, Any]], str]] = {
    "chat": (by_chat, "length"),
    "responses": (by_responses, "max_output_tokens"),
    "messages": (by_messages, "max_tokens"),
    "google": (by_google, types.FinishReason.MAX_TOKENS),
}


@pytest.mark.parametrize("model", ["gpt", "claude", "gemini"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_that_outgrows_a_strict_budget_is_read_to_its_end(
    vendors: Vendors, user: str, client: str, model: str
) -> None:
    budget = vendors.served.define_budget(user, "1", strict=True)
    read, limit = CLIENTS[client]
    text, reason, money = read(vendors, user, model)
    assert reason == limit
    assert LIMIT <= len(text.split()) < WORDS
    span = vendors.served.the_span(user)
    assert (span["status"], span["error_code"]) == ("ok", "")
    told = metadata_of(span)
    assert (told["ended"], told["ended_by"]) == ("out_of_money", f"{user} per total")
    if money is not None:
        assert (money["ended"], money["budget"]) == ("out_of_money", f"{user} per total")
        assert round(float(money["cost"]) * 10**9) == span["cost_nano_usd"]
    cost = span["input_tokens"] * INPUT_NANO_USD + span["output_tokens"] * OUTPUT_NANO_USD
    assert span["cost_nano_usd"] == vendors.served.ledger(budget) == cost
    assert vendors.served.held(user, model) == "0.00"


@pytest.mark.parametrize("model", ["gemini", "gpt"])
def test_a_stream_of_googles_that_is_an_array_is_closed(vendors: Vendors, user: str, model: str) -> None:
    vendors.served.define_budget(user, "1", strict=True)
    body = {"contents": [{"parts": [{"text": SAY}]}], "generationConfig": {"maxOutputTokens": LIMIT}}
    answered = httpx.post(
        f"{vendors.served.server.url}/v1beta/models/{model}:streamGenerateContent",
        headers={"x-goog-api-key": vendors.served.key, "x-spendhub-user": user}, json=body, timeout=30,
    )  # fmt: skip
    *_, last = answered.json()
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert last["spendhub"]["ended"] == "out_of_money"
