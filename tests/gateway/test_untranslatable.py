"""Fields that only one vendor has words for: where the choice is ours, a model that understands them is chosen."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.dialect_calls import Asked, chat, generate, responses
from tests.gateway.served import Served, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture(scope="module")
def foreign(served: Served) -> list[str]:
    """Models of three vendors that speak another dialect, each cheaper than `native`."""
    names = [f"foreign-{number}" for number in range(3)]
    for name in names:
        served.define_model(name, dialect="anthropic", upstream_name="vendor-chat")
    served.define_model("native", price="950", upstream_name="vendor-chat")
    pause_for_snapshots()
    return names


def define_route(served: Served, *models: str) -> str:
    name = f"route-{uuid.uuid4().hex[:12]}"
    served.native("POST", "routes", json={"name": name, "models": list(models), "strategy": "cost-optimized"})
    pause_for_snapshots()
    return name


def ask(served: Served, user: str, model: str, **body: Any) -> httpx.Response:
    return served.ask(model=model, user=user, max_tokens=20, **body)


@pytest.mark.parametrize("field", [{"seed": 3}, {"prediction": {"type": "content", "content": "hello"}}])
def test_a_dearer_model_that_understands_a_field_answers_where_no_cheaper_one_does(
    served: Served, user: str, foreign: list[str], field: dict[str, Any]
) -> None:
    served.define_budget(user, "1")
    answered = ask(served, user, define_route(served, *foreign, "native"), **field)
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-spendhub-model"] == "native"
    assert served.the_span(user)["model"] == "native"
    assert field.items() <= served.asked_of_vendor(user)["body"].items()
    assert served.held(user) == "0.00"


def test_where_none_understands_it_the_answer_names_the_field(served: Served, user: str, foreign: list[str]) -> None:
    served.define_budget(user, "1")
    refused = ask(served, user, define_route(served, *foreign), seed=3)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_translatable")
    assert refused.json()["error"]["param"] == "seed"
    assert (served.spans(user), served.held(user)) == ([], "0.00")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("dialect", "field", "asked"),
    [
        (chat, "logprobs", {"logprobs": True}),
        (responses, "top_logprobs", {"top_logprobs": 2}),
        (responses, "include", {"include": ["message.output_text.logprobs"]}),
        (generate, "generationConfig.responseLogprobs", {"generationConfig": {"responseLogprobs": True}}),
    ],
)
def test_the_sandbox_refuses_probabilities_by_the_clients_own_name(
    served: Served, user: str, dialect: Callable[..., Asked], field: str, asked: dict[str, Any], stream: bool
) -> None:
    call = dialect(user, "sandbox-small", stream=stream)
    answered = httpx.post(
        f"{served.server.url}/{call.path}",
        headers={"authorization": f"Bearer {served.key}"}, json={**call.body, **asked}, timeout=30,
    )  # fmt: skip
    assert answered.status_code == 400, answered.text
    assert f"{field} cannot be said to a model of SpendHub's sandbox" in answered.text
    assert "not_translatable" in answered.text
    assert served.spans(user) == []


def test_a_model_that_the_client_names_is_not_replaced(served: Served, user: str, foreign: list[str]) -> None:
    refused = ask(served, user, foreign[0], seed=3)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "seed")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("n", {"n": 3}),
        ("logprobs", {"logprobs": True, "top_logprobs": 2}),
        ("response_format", {"response_format": {"type": "json_object"}}),
    ],
)
def test_a_field_is_named_as_the_client_has_written_it(
    served: Served, user: str, foreign: list[str], field: str, body: dict[str, Any]
) -> None:
    told = ask(served, user, foreign[0], **body).json()["error"]
    assert (told["code"], told["param"], told["field"]) == ("not_translatable", field, field)
    assert told["message"].startswith(f"{field} cannot be said to a model of Anthropic")
    assert served.spans(user) == []
