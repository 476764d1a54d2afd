"""A request that was tried in a dry run first is answered by the model that the dry run named, in whichever client's
words it is written; or both are refused for the same field."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.dialect_calls import Asked, chat, generate, messages, responses
from tests.gateway.sdks.vendors import Vendors
from tests.gateway.served import pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]

VIDEO = {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}]}]}
SERVERS = {"mcp_servers": [{"type": "url", "name": "files", "url": "https://files.example"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
SOME_PICTURE = {"messages": [{"role": "user", "content": [PICTURE]}]}
# All cost the same, so that they are ranked by name, and three of them make up the plan.
EVERY = ("bedrock-claude", "claude", "compatible", "gemini", "gpt")
OPENAIS = ("compatible", "gpt")
Dialect = Callable[..., Asked]


@pytest.fixture(scope="module")
def routes(vendors: Vendors) -> dict[tuple[str, ...], str]:
    """A route for each set of models below, by the models."""
    made = {}
    for models in {each for *_, each, _ in [*ANSWERED, *REFUSED]}:
        made[models] = f"route-{uuid.uuid4().hex[:12]}"
        vendors.served.native("POST", "routes", json={"name": made[models], "models": list(models)})
    pause_for_snapshots()
    return made


def post(vendors: Vendors, path: str, body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {vendors.served.key}"}
    return httpx.post(f"{vendors.served.server.url}/{path}", headers=headers, json=body, timeout=30)


ANSWERED: list[tuple[Dialect, dict[str, Any], tuple[str, ...], str]] = [
    (chat, {}, EVERY, "bedrock-claude"),
    (chat, {"seed": 3}, EVERY, "compatible"),
    (chat, {"seed": 3}, ("bedrock-claude", "claude", "gemini"), "gemini"),
    (chat, {"prediction": {"type": "content", "content": "hi"}}, ("bedrock-claude", "claude", "gemini", "gpt"), "gpt"),
    (chat, SOME_PICTURE, EVERY, "claude"),
    (messages, {"top_k": 5}, ("compatible", "gemini", "gpt"), "gemini"),
    (messages, SERVERS, EVERY, "claude"),
    (messages, {"container": "c"}, ("bedrock-claude", "claude"), "claude"),
    (responses, {"previous_response_id": "resp_1"}, EVERY, "gpt"),
    (responses, {"truncation": "auto"}, ("claude", "gpt"), "gpt"),
    (generate, {"generationConfig": {"topK": 5}}, ("compatible", "gpt", "claude"), "claude"),
    (generate, VIDEO, EVERY, "gemini"),
    (generate, {"cachedContent": "cachedContents/1"}, ("claude", "gemini"), "gemini"),
]  # fmt: skip
REFUSED: list[tuple[Dialect, dict[str, Any], tuple[str, ...], str]] = [
    (chat, {"seed": 3}, ("bedrock-claude", "claude"), "seed"),
    (messages, {"top_k": 5}, OPENAIS, "top_k"),
    (messages, SERVERS, ("bedrock-claude", *OPENAIS), "mcp_servers"),
    (responses, {"previous_response_id": "resp_1"}, ("claude", "compatible", "gemini"), "previous_response_id"),
    (generate, {"generationConfig": {"topK": 5}}, OPENAIS, "generationConfig.topK"),
    (generate, VIDEO, ("claude", "gpt"), "contents[0].parts[0].inlineData.mimeType 'video/mp4'"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "fields", "models", "winner"), ANSWERED)
def test_the_winner_of_the_dry_run_is_who_answers_the_call(
    vendors: Vendors, user: str, routes: dict[tuple[str, ...], str],
    dialect: Dialect, fields: dict[str, Any], models: tuple[str, ...], winner: str,
) -> None:  # fmt: skip
    call, calls_before = dialect(user, routes[models]), vendor_calls(vendors)
    body = {**call.body, **fields}
    tried = vendors.served.native("POST", "routes/dry-run", json={"model": routes[models], "body": body})
    assert vendor_calls(vendors) == calls_before
    answered = post(vendors, call.path, body)
    assert answered.status_code == 200, answered.text
    assert (tried["chosen"], answered.headers["x-spendhub-model"]) == (winner, winner)
    [chosen] = [line["model"] for line in tried["candidates"] if line["role"] == "chosen"]
    assert chosen == winner
    told = {line["model"] for line in tried["candidates"]}
    assert told.isdisjoint(each["model"] for each in tried["fell_out"])


@pytest.mark.parametrize(("dialect", "fields", "models", "field"), REFUSED)
def test_what_can_be_said_to_none_is_refused_for_the_field_that_the_dry_run_names(
    vendors: Vendors, user: str, routes: dict[tuple[str, ...], str],
    dialect: Dialect, fields: dict[str, Any], models: tuple[str, ...], field: str,
) -> None:  # fmt: skip
    call = dialect(user, routes[models])
    body = {**call.body, **fields}
    refused = post(vendors, call.path, body)
    assert refused.status_code == 400
    assert f"{field} cannot be said to a model of" in refused.text
    tried = vendors.served.native("POST", "routes/dry-run", json={"model": routes[models], "body": body})
    assert (tried["chosen"], tried["candidates"]) == (None, [])
    assert tried["reason"].startswith(f"{field} cannot be said to a model of")
    assert {each["model"]: each["reason"] for each in tried["fell_out"]} == dict.fromkeys(
        models, f"{field} cannot be said to it"
    )


@pytest.mark.parametrize(
    ("dialect", "fields", "named", "field"),
    [
        (chat, {"seed": 3}, "claude", "seed"),
        (chat, {"logprobs": True}, "sandbox-small", "logprobs"),
        (messages, {"top_k": 5}, "gpt", "top_k"),
        (responses, {"previous_response_id": "resp_1"}, "compatible", "previous_response_id"),
        (generate, {"generationConfig": {"topK": 5}}, "gpt", "generationConfig.topK"),
    ],
)
def test_a_named_model_that_cannot_be_told_all_of_it_is_refused_in_the_dry_run_as_in_the_call(
    vendors: Vendors, user: str, dialect: Dialect, fields: dict[str, Any], named: str, field: str
) -> None:
    call = dialect(user, named)
    body = {**call.body, **fields}
    refused = post(vendors, call.path, body)
    tried = post(vendors, "api/v1/routes/dry-run", {"model": named, "body": body})
    assert (refused.status_code, tried.status_code) == (400, 400)
    error = tried.json()["error"]
    assert (error["code"], error["details"]["field"]) == ("not_translatable", field)
    assert error["message"] in refused.json()["error"]["message"]


def vendor_calls(vendors: Vendors) -> int:
    return sum(each.served.calls for each in (vendors.openai, vendors.anthropic, vendors.gemini, vendors.bedrock))
