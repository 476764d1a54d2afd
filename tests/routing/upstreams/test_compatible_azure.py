"""Azure OpenAI by configuration alone: its v1 address, an address for each deployment, its key, and what it adds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from routing.asking import Asked, execute
from routing.conversation import Conversation, Message, Text
from routing.errors import UpstreamRefused
from routing.execution import Execution
from routing.model_facts import ModelFacts
from routing.models.rows import validate_base_url
from routing.retries import is_content_refusal, may_fall_back
from routing.upstreams.base import CHAT, EMBEDDINGS, RESPONSES, Wire
from routing.upstreams.openai.addresses import address
from routing.upstreams.transport import HttpTransport
from tests.fakes.azure_upstream import FakeAzure
from tests.fakes.vendor import WORDS_OF_ANSWER
from tests.routing.facts import chat, model_facts, say
from tests.routing.upstreams.vendors import joined

ASKED = {"model": "smart", "messages": [{"role": "user", "content": "hello [in:10] [out:7] [reasoning:3]"}]}


@pytest.fixture(scope="module")
def azure() -> Iterator[FakeAzure]:
    with FakeAzure() as fake:
        yield fake


@pytest.fixture(params=["v1", "deployments"])
def model(request: pytest.FixtureRequest, azure: FakeAzure) -> ModelFacts:
    """A model of Azure's in each form of its address."""
    is_v1 = request.param == "v1"
    return azures(azure, azure.base_url if is_v1 else azure.deployments_url, has_responses=is_v1)


def azures(azure: FakeAzure, base_url: str, *, name: str = "gpt-5 of team a", **facts: Any) -> ModelFacts:
    return model_facts(name, base_url=base_url, auth_header="api-key", api_key_env="FAKE_KEY", **facts)


def call(model: ModelFacts, asked: Asked) -> tuple[Execution, list[Any], list[Any]]:
    """The execution, its events (or the one body) parsed, and the deltas of a translated stream."""

    async def run() -> tuple[Execution, list[Any], list[Any]]:
        client = HttpTransport()
        try:
            execution = await execute(model, asked, transport=client)
            if not asked.is_stream:
                return execution, [json.loads(await execution.read())], []
            events, deltas = [], []
            async for event, _ in execution.events():
                events.append(event.data)
                deltas += execution.reader.deltas(event.data) if execution.is_translated else []
            return execution, [json.loads(data) for data in events if data != b"[DONE]"], deltas
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_a_chat_passes_with_the_key_in_azures_header(azure: FakeAzure, model: ModelFacts) -> None:
    execution, [told], _ = call(model, chat(ASKED))
    sent = azure.served.requests[-1]
    assert "authorization" not in sent["headers"] and sent["body"]["model"] == "gpt-5 of team a"
    assert told["model"] == "gpt-5 of team a-2025-08-07"
    assert told["choices"][0]["content_filter_results"] and told["prompt_filter_results"]
    assert execution.reader.usage is not None
    assert (execution.reader.usage.total_input_tokens, execution.reader.usage.output_tokens) == (10, 10)


def test_each_form_of_address_has_its_own_path(azure: FakeAzure) -> None:
    for base_url, path in (
        (azure.base_url, "/openai/v1/chat/completions"),
        (azure.deployments_url,
         "/openai/deployments/gpt-5%20of%20team%20a/chat/completions?api-version=2024-10-21"),
    ):  # fmt: skip
        call(azures(azure, base_url), chat(ASKED))
        assert azure.served.requests[-1]["path"] == path


def test_a_stream_is_counted_although_its_first_event_is_about_the_filter_alone(model: ModelFacts) -> None:
    execution, events, _ = call(model, chat(ASKED, is_stream=True))
    assert events[0]["choices"] == [] and events[0]["id"] == ""
    assert execution.reader.is_complete and execution.reader.usage is not None
    assert execution.reader.usage.output_tokens == 10
    assert execution.reader.response_id == events[-1]["id"] != ""


def test_a_translated_stream_has_the_id_and_model_of_its_answer(model: ModelFacts) -> None:
    conversation = Conversation((Message("user", (Text("hello"),)),))
    execution, events, deltas = call(model, say(conversation, is_stream=True))
    reply = joined(deltas, execution.reader.usage)
    assert reply.blocks == (Text(WORDS_OF_ANSWER),)
    assert (reply.id, reply.model) == (events[-1]["id"], "gpt-5 of team a-2025-08-07")


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_response_passes_at_the_v1_address(azure: FakeAzure, is_stream: bool) -> None:
    model = azures(azure, azure.base_url, has_responses=True)
    execution, _, _ = call(
        model, chat({"input": "hello [out:4]", "stream": is_stream}, wire=RESPONSES, is_stream=is_stream)
    )
    assert azure.served.requests[-1]["path"] == "/openai/v1/responses"
    assert execution.reader.usage is not None and execution.reader.usage.output_tokens == 4


def test_embeddings_pass(azure: FakeAzure, model: ModelFacts) -> None:
    execution, _, _ = call(model, chat({"input": "one two"}, wire=EMBEDDINGS))
    assert azure.served.requests[-1]["path"].partition("?")[0].endswith("/embeddings")
    assert execution.reader.usage is not None and execution.reader.usage.input_tokens == 2


def test_content_that_azures_filter_stops_is_a_refusal_of_content(model: ModelFacts) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "[fault:400]"}]}
    with pytest.raises(UpstreamRefused) as refused:
        call(model, chat(body))
    assert (refused.value.status, refused.value.wire) == (400, CHAT)
    assert json.loads(refused.value.body)["error"]["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert is_content_refusal(refused.value)
    assert may_fall_back(refused.value, on_content_refusal=True)
    assert not may_fall_back(refused.value, on_content_refusal=False)


def test_the_fake_insists_on_its_header_and_on_the_version(azure: FakeAzure) -> None:
    bearer = model_facts("m", base_url=azure.base_url, api_key_env="FAKE_KEY")
    without_version = azures(azure, azure.deployments_url.partition("?")[0])
    for model, words in ((bearer, b"subscription key"), (without_version, b"api-version")):
        with pytest.raises(UpstreamRefused) as refused:
            call(model, chat(ASKED))
        assert words in refused.value.body


WHERE: list[tuple[str, Wire, str]] = [
    ("https://a.openai.azure.com/openai/v1/", "chat", "https://a.openai.azure.com/openai/v1/chat/completions"),
    ("https://a.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21", "embeddings",
     "https://a.openai.azure.com/openai/deployments/a%2Fb/embeddings?api-version=2024-10-21"),
    ("https://a.openai.azure.com/openai/deployments/mine?api-version=2024-10-21", "chat",
     "https://a.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21"),
    ("http://ollama:11434/v1", "chat", "http://ollama:11434/v1/chat/completions"),
]  # fmt: skip


@pytest.mark.parametrize(("base_url", "wire", "url"), WHERE)
def test_a_path_goes_before_the_query(base_url: str, wire: Wire, url: str) -> None:
    paths = {"chat": "/chat/completions", "embeddings": "/embeddings"}
    assert address(base_url, paths[wire], "a/b") == url


@pytest.mark.parametrize(
    ("base_url", "is_usable"),
    [
        ("https://a.openai.azure.com/openai/deployments/{deployment}?api-version=2025-04-01-preview", True),
        ("https://a.openai.azure.com/openai/v1?api-version=preview", True),
        ("https://vendor.test/v1?key=sk-secret", False),
        ("https://vendor.test/v1?api-version=1&key=sk-secret", False),
        ("https://vendor.test/v1?api-version=", False),
    ],
)
def test_an_address_may_name_an_api_version_and_nothing_else_in_its_query(base_url: str, is_usable: bool) -> None:
    if is_usable:
        validate_base_url(base_url)
        return
    with pytest.raises(ValidationError):
        validate_base_url(base_url)
