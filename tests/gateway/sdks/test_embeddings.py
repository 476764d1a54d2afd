"""The official OpenAI SDK's embeddings against the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.gateway.sdks.vendors import Vendors, asked_of

pytestmark = [pytest.mark.slow, pytest.mark.once]


def ask(given: Any, user: str, **fields: Any) -> dict[str, Any]:
    """What a call is made with."""
    return {"model": "embed", "input": given, "user": user, **fields}


def test_a_call_is_answered_accounted_and_told_its_cost(vendors: Vendors, user: str) -> None:
    raw = vendors.openai_sdk().embeddings.with_raw_response.create(
        **ask(["[in:100] ab", "c"], user, encoding_format="float", dimensions=3)
    )
    told = raw.parse()
    assert [each.index for each in told.data] == [0, 1] and told.usage.prompt_tokens == 100
    assert raw.headers["x-spendhub-cost"] == "0.0002"
    span = vendors.served.the_span(user)
    assert (span["cost_nano_usd"], span["input_tokens"], span["output_tokens"]) == (200_000, 100, 0)
    assert asked_of(vendors.openai)["dimensions"] == 3


def test_tokens_are_taken_as_they_are(vendors: Vendors, user: str) -> None:
    async def call() -> Any:
        async with vendors.async_openai_sdk() as sdk:
            return await sdk.embeddings.create(**ask([[1, 2], [3]], user, encoding_format="float"))

    assert len(asyncio.run(call()).data) == 2
    assert asked_of(vendors.openai)["input"] == [[1, 2], [3]]


def test_a_budget_without_room_refuses_it(vendors: Vendors, user: str) -> None:
    vendors.served.define_budget(user, "0.000001")
    with pytest.raises(openai.APIStatusError) as refused:
        vendors.openai_sdk().embeddings.create(**ask("a text of some words", user))
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert vendors.served.spans(user) == []


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_model_that_does_not_embed_is_refused(vendors: Vendors, user: str, model: str) -> None:
    calls = vendors.openai.served.calls
    with pytest.raises(openai.APIStatusError) as refused:
        vendors.openai_sdk().embeddings.create(**ask("hi", user) | {"model": model})
    assert 400 <= refused.value.status_code < 500
    assert vendors.openai.served.calls == calls


def test_a_model_that_only_embeds_does_not_chat(vendors: Vendors, user: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        vendors.openai_sdk().chat.completions.create(model="embed", messages=[{"role": "user", "content": "x"}])
    assert 400 <= refused.value.status_code < 500


@pytest.mark.parametrize("given", ["", [], [""], [1, "a"]])
def test_bad_input_is_refused_by_its_name(vendors: Vendors, user: str, given: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        vendors.openai_sdk().embeddings.create(**ask(given, user))
    assert refused.value.param == "input"
