"""Who a call is for: our headers before the body's fields, and those before the key's default."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.served import Served, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture(scope="module")
def key_of_ada(served: Served) -> str:
    """A key whose calls are ada's, of team red, unless they say otherwise."""
    made = served.native(
        "POST", "keys", json={"name": "ada", "permissions": ["spend"], "attribution": {"user": "ada", "org": "red"}}
    )
    pause_for_snapshots()
    return str(made["key"])


def test_every_dimension_has_a_header(served: Served, user: str) -> None:
    given = {"user": user, "org": "o", "agent": "a", "feature": "f", "session": "s", "task": "t"}
    served.ask(headers={f"x-spendhub-{dimension}": key for dimension, key in given.items()})
    span = served.the_span(user)
    assert {dimension: span[dimension] for dimension in given} == given


def test_user_and_metadata_of_the_body_attribute_too(served: Served, user: str) -> None:
    served.ask(user=user, metadata={"feature": "search", "agent": "scout", "shoe_size": "44"})
    span = served.the_span(user)
    assert (span["feature"], span["agent"], span["task"]) == ("search", "scout", "")


def test_a_header_wins_over_the_body(served: Served, user: str) -> None:
    served.ask(user="somebody-else", metadata={"feature": "body"}, headers={"x-spendhub-user": user})
    assert served.the_span(user)["feature"] == "body"


def test_what_the_call_says_wins_over_the_keys_default_and_the_default_fills_the_rest(
    served: Served, user: str, key_of_ada: str
) -> None:
    bearer = {"authorization": f"Bearer {key_of_ada}"}
    served.ask(user=user, headers=bearer)
    span = served.the_span(user)
    assert span["org"] == "red"
    assert span["api_key"] == key_of_ada[3:11]
    before = len(served.spans("ada"))
    served.ask(headers=bearer)
    assert len(served.spans("ada")) == before + 1


def test_the_recipes_scope_headers_attribute_as_well(served: Served, user: str) -> None:
    served.ask(headers={"x-budget-scope-type": "user", "x-budget-scope-key": user})
    assert served.the_span(user)["user"] == user


@pytest.mark.parametrize(
    "headers",
    [
        {"x-budget-scope-type": "user"},
        {"x-budget-scope-type": "galaxy", "x-budget-scope-key": "milky way"},
        {"x-spendhub-user": "*"},
        {"x-spendhub-user": "x" * 201},
        {"x-spendhub-task": b"\xff\xfe"},
    ],
)
def test_an_attribution_that_no_budget_could_have_is_refused_and_not_dropped(served: Served, headers: object) -> None:
    calls = served.vendor.served.calls
    answered = served.ask(headers=headers)
    assert answered.status_code == 400
    assert set(answered.json()["error"]) >= {"message", "type", "param", "code"}
    assert served.vendor.served.calls == calls


LONG = "x" * 256
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"user": LONG, "messages": MESSAGES}, "user"),
        ("/v1/chat/completions", {"metadata": {"task": LONG}, "messages": MESSAGES}, "metadata.task"),
        ("/v1/responses", {"metadata": {"org": "*"}, "input": "hi"}, "metadata.org"),
        ("/v1/messages", {"metadata": {"user_id": LONG}, "messages": MESSAGES, "max_tokens": 9}, "metadata.user_id"),
        ("/v1beta/models/vendor-chat:generateContent",
         {"contents": [{"parts": [{"text": "hi"}]}], "labels": {"feature": LONG}}, "labels.feature"),
        ("/v1/embeddings", {"metadata": {"task": 4}, "input": "hi"}, "metadata.task"),
    ],
)  # fmt: skip
def test_a_refused_attribution_is_named_as_its_client_writes_it(
    served: Served, path: str, body: dict[str, Any], field: str
) -> None:
    answered = httpx.post(
        f"{served.server.url}{path}",
        headers={"x-api-key": served.key},
        json={"model": "vendor-chat", **body},
        timeout=30,
    )
    assert answered.status_code == 400
    error = answered.json()["error"]
    facts = error if "param" in error or "field" in error else error["details"][1]
    assert facts.get("param", facts.get("field")) == field
    assert error["message"].startswith(f"{field} ")


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"x-spendhub-user": "*"}, "x-spendhub-user"),
        ({"x-budget-scope-type": "user", "x-budget-scope-key": LONG}, "x-budget-scope-key"),
    ],
)
def test_a_refused_attribution_in_a_header_is_named_so(served: Served, headers: dict[str, str], field: str) -> None:
    assert served.ask(headers=headers).json()["error"]["param"] == field


def test_a_misspelt_header_is_refused_and_the_call_counts_for_nobody_else(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    told = served.ask(user=user, headers={"x-spendhub-featur": "search"}).json()["error"]
    assert (told["code"], told["param"]) == ("invalid_demand", "x-spendhub-featur")
    assert "did you mean x-spendhub-feature?" in told["message"]
    assert (served.spans(user), served.vendor.served.calls) == ([], calls)


def test_the_x_api_key_header_opens_the_door_as_well(served: Served, user: str) -> None:
    answered = served.ask(user=user, headers={"authorization": "", "x-api-key": served.key})
    assert answered.status_code == 200
