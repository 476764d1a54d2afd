"""Above a budget's soft cap its policy is applied to the call: another model, or fewer tools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.served import OUTPUT_NANO_USD, Served

pytestmark = pytest.mark.slow


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def test_a_downgrade_rule_sends_the_call_to_the_cheaper_model(served: Served, user: str) -> None:
    budget = served.define_budget(
        user, "1", soft_cap="0", downgrade_rules=[{"from": ["vendor-chat"], "to": "vendor-out"}]
    )
    answered = served.ask("[in:100] [out:10]", user=user)
    assert answered.status_code == 200
    assert answered.headers["x-spendhub-model"] == "vendor-out"
    assert answered.headers["x-spendhub-decision"] == "degrade"
    assert served.asked_of_vendor(user)["body"]["model"] == "vendor-out"
    span = served.the_span(user)
    assert (span["model"], span["requested_model"]) == ("vendor-out", "vendor-chat")
    assert span["cost_nano_usd"] == 10 * OUTPUT_NANO_USD == served.ledger(budget)
    assert served.held(user) == "0.00"


def test_rules_are_followed_step_by_step_and_not_in_circles(served: Served, user: str) -> None:
    served.define_budget(
        user,
        "1",
        soft_cap="0",
        downgrade_rules=[
            {"from": ["vendor-chat"], "to": "vendor-out"},
            {"from": ["vendor-out"], "to": "sandbox-small"},
            {"from": ["sandbox-small"], "to": "vendor-chat"},
        ],
    )
    answered = served.ask(user=user)
    assert answered.headers["x-spendhub-model"] == "sandbox-small"
    assert len(served.spans(user)) == 1


def test_a_rule_towards_a_model_without_a_key_leaves_the_call_as_it_is(served: Served, user: str) -> None:
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": ["*"], "to": "unplugged"}])
    answered = served.ask(user=user)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}], {}),
        ("hello", {"x-spendhub-deny": "vendor-out"}),
        ("hello", {"x-spendhub-capabilities": "general"}),
    ],
)
def test_a_rule_towards_a_model_that_cannot_do_it_or_may_not_see_it_leaves_the_call_as_it_is(
    served: Served, user: str, content: Any, headers: dict[str, str]
) -> None:
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": ["*"], "to": "vendor-out"}])
    answered = served.ask(user=user, messages=[{"role": "user", "content": content}], headers=headers)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert served.the_span(user)["model"] == "vendor-chat"


def test_disabled_tools_are_taken_out_of_the_request(served: Served, user: str) -> None:
    served.define_budget(user, "1", soft_cap="0", disabled_tools=["browse"])
    answered = served.ask(user=user, tools=[tool("browse"), tool("weather")], tool_choice=None)
    assert answered.headers["x-spendhub-decision"] == "disable-tools"
    assert answered.headers["x-spendhub-disabled-tools"] == "browse"
    assert [each["function"]["name"] for each in served.asked_of_vendor(user)["body"]["tools"]] == ["weather"]


def test_below_the_soft_cap_nothing_is_changed(served: Served, user: str) -> None:
    served.define_budget(user, "1", downgrade_rules=[{"from": ["*"], "to": "vendor-out"}], disabled_tools=["browse"])
    answered = served.ask(user=user, tools=[tool("browse")])
    assert (answered.headers["x-spendhub-model"], answered.headers["x-spendhub-decision"]) == ("vendor-chat", "allow")
    assert [each["function"]["name"] for each in served.asked_of_vendor(user)["body"]["tools"]] == ["browse"]
