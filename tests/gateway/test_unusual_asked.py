"""What a request says that many models refuse: read once, and no model is chosen that would refuse it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES, Wire
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.unusual_asked import unusual_in
from tests.gateway.served import Served, pause_for_snapshots


def read(wire: Wire, **body: Any) -> Unusual:
    return unusual_in(CallRequest(wire=wire, body={"model": "m", **body}, model="m"))


# What is read


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (CHAT, {"messages": []}),
        (CHAT, {"temperature": 1, "top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}),
        (CHAT, {"temperature": None, "logprobs": False, "top_logprobs": 0, "stop": [], "reasoning_effort": None}),
        (CHAT, {"stop": None, "tools": [], "functions": []}),
        (RESPONSES, {"temperature": 1, "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}),
        (RESPONSES, {"stop": "END", "tools": [{"type": "function", "name": "f"}], "reasoning": None}),
        (MESSAGES, {"temperature": 0.2, "stop_sequences": [], "thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (GENERATE, {"generationConfig": {"temperature": 0.2, "stopSequences": None, "responseLogprobs": False}}),
        (GENERATE, {}),
    ],
)
def test_what_holds_anyway_or_can_be_said_otherwise_is_nothing_unusual(wire: Wire, body: dict[str, Any]) -> None:
    assert read(wire, **body) is NOTHING_UNUSUAL


@pytest.mark.parametrize(
    ("wire", "body", "found"),
    [
        (CHAT, {"temperature": 0.2}, Unusual(("temperature 0.2",))),
        (CHAT, {"temperature": 0, "top_p": 0.5}, Unusual(("temperature 0", "top_p 0.5"))),
        (CHAT, {"frequency_penalty": 1, "presence_penalty": -1, "logit_bias": {"5": 1}},
         Unusual(("presence_penalty -1", "frequency_penalty 1", "logit_bias"))),
        (CHAT, {"temperature": "x" * 1_000}, Unusual(("temperature",))),
        (CHAT, {"logprobs": True, "top_logprobs": 3}, Unusual(logprobs="logprobs")),
        (CHAT, {"top_logprobs": 3}, Unusual(logprobs="top_logprobs")),
        (CHAT, {"stop": "END"}, Unusual(stop="stop")),
        (CHAT, {"reasoning_effort": "minimal"}, Unusual(effort="minimal")),
        (CHAT, {"reasoning_effort": "x" * 1_000}, Unusual(effort="x" * 40)),
        (CHAT, {"reasoning_effort": 7}, Unusual(effort="7")),
        (CHAT, {"tools": [{"type": "function"}]}, Unusual(has_tools=True)),
        (CHAT, {"functions": [{"name": "f"}]}, Unusual(has_tools=True)),
        (RESPONSES, {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1},
         Unusual(("temperature 0.2", "top_p 0.5"))),
        (RESPONSES, {"top_logprobs": 2}, Unusual(logprobs="top_logprobs")),
        (RESPONSES, {"include": ["message.output_text.logprobs"]}, Unusual(logprobs="include")),
        (RESPONSES, {"reasoning": {"effort": "none"}}, Unusual(effort="none")),
        (MESSAGES, {"stop_sequences": ["END"], "temperature": 0.2}, Unusual(stop="stop_sequences")),
        (GENERATE, {"generationConfig": {"stopSequences": ["END"], "responseLogprobs": True}},
         Unusual(logprobs="generationConfig.responseLogprobs", stop="generationConfig.stopSequences")),
    ],
)  # fmt: skip
def test_what_is_said_is_read_under_the_clients_own_name(wire: Wire, body: dict[str, Any], found: Unusual) -> None:
    assert read(wire, **body) == found


@pytest.mark.parametrize("value", [[], {}, "x", 7, [[]], True])
@pytest.mark.parametrize("field", ["include", "reasoning", "stop", "tools", "generationConfig", "top_logprobs"])
def test_what_makes_no_sense_is_read_all_the_same(field: str, value: Any) -> None:
    for wire in (CHAT, RESPONSES, MESSAGES, GENERATE):
        read(wire, **{field: value})


# Over HTTP


@pytest.fixture(scope="module")
def route(served: Served) -> str:
    """A route of two of OpenAI's models, of which the cheaper one always thinks and the other never does."""
    name = f"generations-{uuid.uuid4().hex[:8]}"
    served.define_model(f"{name}-nano", price="901", upstream_name="gpt-5-nano", capabilities=["streaming", "json"])
    served.define_model(f"{name}-mini", price="950", upstream_name="gpt-4o-mini", capabilities=["streaming", "json"])
    models = [f"{name}-nano", f"{name}-mini"]
    served.native("POST", "routes", json={"name": name, "models": models, "strategy": "cost-optimized"})
    pause_for_snapshots()
    return name


def models_of(served: Served, user: str) -> Sequence[str]:
    return [span["model"] for span in served.spans(user)]


@pytest.mark.slow
def test_a_request_with_a_temperature_is_answered_by_a_model_that_takes_it(
    served: Served, user: str, route: str
) -> None:
    answered = served.sdk().chat.completions.create(
        model=route, temperature=0.2, stop=["END"], messages=[{"role": "user", "content": "hello"}], user=user
    )
    assert answered.choices[0].message.content
    assert models_of(served, user) == [f"{route}-mini"]
    body = served.asked_of_vendor(user)["body"]
    assert (body["model"], body["temperature"], body["stop"]) == ("gpt-4o-mini", 0.2, ["END"])


@pytest.mark.slow
def test_one_without_goes_to_the_cheaper_model_with_its_limit_as_that_one_takes_it(
    served: Served, user: str, route: str
) -> None:
    served.sdk().chat.completions.create(
        model=route, temperature=1, max_tokens=50, messages=[{"role": "user", "content": "hello"}], user=user
    )
    assert models_of(served, user) == [f"{route}-nano"]
    body = served.asked_of_vendor(user)["body"]
    assert (body["model"], body["max_completion_tokens"], "max_tokens" in body) == ("gpt-5-nano", 50, False)


@pytest.mark.slow
def test_auto_chooses_a_model_that_takes_the_temperature(served: Served, user: str, route: str) -> None:
    allowed = {"x-spendhub-allow": f"{route}-nano,{route}-mini"}
    served.sdk().chat.completions.create(
        model="auto", temperature=0.2, messages=[{"role": "user", "content": "hello"}], user=user, extra_headers=allowed
    )
    assert models_of(served, user) == [f"{route}-mini"]
    refused = served.ask(
        model="auto", temperature=0.2, user=user, headers={"x-spendhub-allow": f"{route}-nano"}, stop="END"
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_model_fits")
    details = refused.json()["error"]["fell_out"]
    assert {"model": f"{route}-nano", "reason": "it does not take temperature 0.2, stop"} in details


@pytest.mark.slow
def test_a_model_that_is_named_is_told_the_temperature(served: Served, user: str, route: str) -> None:
    served.sdk().chat.completions.create(
        model=f"{route}-nano", temperature=0.2, messages=[{"role": "user", "content": "hello"}], user=user
    )
    assert models_of(served, user) == [f"{route}-nano"]
    assert served.asked_of_vendor(user)["body"]["temperature"] == 0.2
