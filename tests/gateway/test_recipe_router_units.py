"""What the recipe's router reads in a body: its problems, all of them at once, and what the headers have said already."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.wanted import Declared
from spendhub.errors import Invalid
from spendhub.gateway.declared import Demands
from spendhub.gateway.recipe_router import read_routed, tell_recipe_error


def issues_of(**body: Any) -> list[tuple[str, str]]:
    """Path and message of each issue of a body with these fields; the first one is the error's own."""
    with pytest.raises(Invalid) as refused:
        read_routed(json.dumps(body).encode())
    status, told, _ = tell_recipe_error(refused.value)
    answer = json.loads(told)
    assert (status, answer["error"]) == (400, answer["issues"][0]["message"])
    return [(issue["path"], issue["message"]) for issue in answer["issues"]]


def test_what_a_request_may_cost_is_refused_by_the_name_of_its_field() -> None:
    path = "metadata.budgetPerRequest"
    assert issues_of(prompt="hi", metadata={"budgetPerRequest": "x"}) == [
        (path, "'x' is not a number or decimal string in USD")
    ]


def test_a_budget_id_that_no_budget_could_have_is_refused() -> None:
    for key in ("", "  "):
        assert issues_of(prompt="hi", budgetId=key) == [("budgetId", "budgetId must have 1 to 200 characters")]
    assert read_routed(b'{"prompt": "hi", "budgetId": null}').request.metadata == {}


def test_all_problems_of_a_body_are_told_at_once() -> None:
    found = issues_of(
        maxTokens=0, prompt=" ", requiredCapabilities=["flying", "tools", "swimming"], colour="red", budgetId="",
        strategy="astrology", metadata={"budgetPerRequest": -1, "user": 7, "task": ""},
    )  # fmt: skip
    assert [path for path, _ in found] == [
        "maxTokens", "colour", "prompt", "requiredCapabilities", "budgetId", "metadata.user", "strategy",
        "metadata.budgetPerRequest",
    ]  # fmt: skip
    assert found[0][1] == "maxTokens: Expected `int` >= 1"


def test_a_body_without_its_prompt_is_told_what_else_is_wrong_with_it() -> None:
    assert [path for path, _ in issues_of(timeoutMs="soon")] == ["prompt", "timeoutMs"]


def test_no_more_than_twenty_issues_are_told() -> None:
    assert len(issues_of(**{f"colour{number}": "red" for number in range(50)})) == 20


def test_a_header_wins_over_the_body_and_capabilities_of_both_are_demanded() -> None:
    said = {
        "prompt": "hi", "requiredCapabilities": ["tools"], "strategy": "cost-optimized", "userTier": "free",
        "timeoutMs": 5000, "confidenceThreshold": 0.1, "metadata": {"budgetPerRequest": 1},
    }  # fmt: skip
    by_headers = Declared(
        capabilities=frozenset({"vision"}), strategy="pinned", user_tier="premium", timeout_ms=100,
        confidence_threshold=0.0, max_cost_nano_usd=1_000,
    )  # fmt: skip
    found = read_routed(json.dumps(said).encode(), Demands(by_headers, 5.0))
    assert found.demands == Demands(
        Declared(
            capabilities=frozenset({"vision", "tools"}), strategy="pinned", user_tier="premium", timeout_ms=100,
            confidence_threshold=0.0, max_cost_nano_usd=1_000,
        ),
        5.0,
    )  # fmt: skip
    found = read_routed(json.dumps(said).encode())
    assert found.demands.of_model == Declared(
        capabilities=frozenset({"tools"}), strategy="cost-optimized", user_tier="free", timeout_ms=5_000,
        confidence_threshold=0.1, max_cost_nano_usd=10**9,
    )  # fmt: skip
