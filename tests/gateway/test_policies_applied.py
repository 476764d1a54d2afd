"""Above a budget's soft cap its policy is applied to the call: another model, or fewer tools."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.served import OUTPUT_NANO_USD, Served, metadata_of, pause_for_snapshots
from tests.gateway.test_fallback import define_route

pytestmark = pytest.mark.slow


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def degrade_to(served: Served, user: str, model: str) -> str:
    """A budget whose policy sends every call to another model."""
    return served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": ["*"], "to": model}])


def check_was_made_as_it_is(served: Served, user: str, answered: httpx.Response, advised: str) -> None:
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert answered.headers["x-spendhub-suggested-model"] == advised
    assert answered.headers["x-spendhub-warning"].endswith("degrade (over_soft_cap)")
    assert served.the_span(user)["model"] == "vendor-chat"
    assert served.held(user) == "0.00"


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


@pytest.mark.parametrize("rule", [["vendor-out"], ["*"]])
def test_a_rule_may_name_the_cheaper_model_by_another_of_its_names(served: Served, user: str, rule: list[str]) -> None:
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": rule, "to": "vendor-alias"}])
    answered = served.ask("[in:100] [out:10]", user=user, model="vendor-out")
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    span = served.the_span(user)
    assert (span["model"], span["requested_model"]) == ("vendor-chat", "vendor-out")
    assert served.held(user) == "0.00"


def test_a_model_that_steps_in_on_a_route_says_so_and_nothing_that_was_found_of_the_first(
    served: Served, user: str
) -> None:
    degrade_to(served, user, "vendor-out")
    route = define_route(served, ["vendor-chat"])
    answered = served.ask(model=route, user=user)
    assert answered.headers["x-spendhub-model"] == "vendor-out"
    why = metadata_of(served.the_span(user))
    assert (why["route"], why["reason"]) == (route, "a budget's policy names it in place of vendor-chat")
    assert not {"score", "estimate_nano_usd", "alternatives", "confidence"} & set(why)


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


@pytest.mark.parametrize("to", ["vendor-chat", "VENDOR-Chat", "vendor-alias", "Vendor/vendor-chat"])
def test_no_model_steps_in_for_itself_by_whichever_name(served: Served, user: str, to: str) -> None:
    degrade_to(served, user, to)
    for name in ("vendor-chat", "vendor-alias", "vendor/vendor-chat", "VENDOR-CHAT"):
        told = served.ask(user=user, model=name).headers
        assert (told["x-spendhub-model"], told["x-spendhub-decision"]) == ("vendor-chat", "warn")
        assert "x-spendhub-suggested-model" not in told
    assert len(served.spans(user)) == 4
    assert served.held(user) == "0.00"


@pytest.mark.parametrize("named", ["VENDOR-CHAT", "vendor-alias", "Vendor-Alias", "vendor/vendor-chat"])
def test_a_rule_may_name_the_model_that_gives_way_by_any_of_its_names(served: Served, user: str, named: str) -> None:
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": [named], "to": "vendor-out"}])
    answered = served.ask(user=user)
    assert (answered.headers["x-spendhub-model"], answered.headers["x-spendhub-decision"]) == ("vendor-out", "degrade")
    assert served.held(user) == "0.00"


def test_each_step_goes_by_the_rules_of_the_model_that_it_has_led_to(served: Served, user: str) -> None:
    served.define_model(last := f"{user}-last", upstream_name="vendor-chat")
    pause_for_snapshots()
    steps = [("vendor-alias", "vendor-out"), ("vendor-out", "sandbox-small"), ("Sandbox-Small", last)]
    rules = [{"from": [named], "to": to} for named, to in steps]
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=rules)
    assert served.ask(user=user).headers["x-spendhub-model"] == last
    assert (served.the_span(user)["model"], served.held(user)) == (last, "0.00")


def test_names_that_one_wildcard_catches_step_in_for_each_other(served: Served, user: str) -> None:
    served.define_provider(user)
    served.native("POST", "models", json={"provider": user, "name": f"{user}-*"})
    served.native("POST", "prices", json={"model": f"{user}-*", "input": "900", "output": "900"})
    pause_for_snapshots()
    served.define_budget(user, "1", soft_cap="0", downgrade_rules=[{"from": [f"{user}-BIG"], "to": f"{user}-small"}])
    answered = served.ask(user=user, model=f"{user}-big")
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, f"{user}-small")
    assert served.asked_of_vendor(user)["body"]["model"] == f"{user}-small"


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


@pytest.mark.parametrize("field", [{"seed": 3}, {"logit_bias": {"1": 1}}, {"response_format": {"type": "json_object"}}])
def test_a_rule_towards_a_vendor_to_whom_it_cannot_be_said_leaves_the_call_as_it_is(
    served: Served, user: str, field: dict[str, Any]
) -> None:
    served.define_model(other := f"{user}-claude", dialect="anthropic", upstream_name="claude-sonnet-4-5")
    pause_for_snapshots()
    degrade_to(served, user, other)
    check_was_made_as_it_is(served, user, served.ask(user=user, **field), other)


def test_a_rule_towards_a_model_whose_own_budget_is_spent_leaves_the_call_as_it_is(served: Served, user: str) -> None:
    served.define_model(spent := f"{user}-spent", upstream_name="vendor-chat")
    pause_for_snapshots()
    served.define_budget(user, "0.000001", name="spent", scope_type="model", scope_key=spent)
    budget = degrade_to(served, user, spent)
    check_was_made_as_it_is(served, user, served.ask("[in:100] [out:10]", user=user), spent)
    assert served.ledger(budget) == served.the_span(user)["cost_nano_usd"]


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
