"""Answers that are given again, and agents that are stopped in a loop, with the official SDK as the client."""

from __future__ import annotations

from dataclasses import replace

import httpx
import openai
import pytest

from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD, Served, metadata_of, pause_for_snapshots
from tests.servers import wait_until

pytestmark = pytest.mark.slow

CALL = "[in:100] [out:20] [say:good morning]"
CALL_NANO_USD = 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD


def test_a_call_that_has_opted_in_is_answered_again_for_nothing(served: Served, user: str) -> None:
    budget = served.define_budget(user, "1")
    headers = {"x-spendhub-cache": "60", "x-spendhub-feature": user}
    calls = served.vendor.served.calls
    first, again = (served.ask(CALL, user=user, headers=headers) for _ in range(2))
    assert served.vendor.served.calls == calls + 1
    assert again.json() == first.json()
    assert (again.headers["x-spendhub-cache"], again.headers["x-spendhub-cost"]) == ("hit", "0.00")
    assert again.headers["x-spendhub-saved"] == first.headers["x-spendhub-cost"] == "0.0004"
    paid, kept = served.spans(user)
    assert (paid["cost_nano_usd"], kept["cost_nano_usd"]) == (CALL_NANO_USD, 0)
    assert metadata_of(kept)["saved_nano_usd"] == CALL_NANO_USD
    assert served.ledger(budget) == CALL_NANO_USD


def told_of_budgets(answered: httpx.Response) -> dict[str, str]:
    names = ("x-spendhub-decision", "x-spendhub-remaining", "x-spendhub-warning")
    return {
        name: value for name, value in answered.headers.items() if name in names or name.startswith("x-budget-")
    }  # fmt: skip


def test_an_answer_from_memory_tells_what_is_left_as_it_stands(served: Served, user: str) -> None:
    served.define_budget(user, "1")
    headers = {"x-spendhub-cache": "60", "x-spendhub-feature": user}
    served.ask(CALL, user=user, headers=headers)
    assert told_of_budgets(served.ask(CALL, user=user, headers=headers)) == {
        "x-spendhub-decision": "allow", "x-spendhub-remaining": "0.9996", "x-budget-status": "allow",
        "x-budget-limit": "1.00", "x-budget-spent": "0.0004", "x-budget-remaining": "0.9996",
    }  # fmt: skip
    # It costs nothing, so it comes also where nothing is left.
    other = f"{user}-poor"
    served.define_budget(other, "0")
    poor = served.ask(CALL, user=other, headers=headers)
    assert (poor.status_code, poor.headers["x-spendhub-cache"]) == (200, "hit")
    assert told_of_budgets(poor) == {
        "x-spendhub-decision": "allow", "x-spendhub-remaining": "0.00", "x-budget-status": "hard-stop",
        "x-budget-limit": "0.00", "x-budget-spent": "0.00", "x-budget-remaining": "0.00",
    }  # fmt: skip
    assert told_of_budgets(served.ask(CALL, user=f"{user}-free", headers=headers)) == {"x-spendhub-decision": "allow"}


def test_another_feature_and_a_call_that_has_not_opted_in_are_asked_anew(served: Served, user: str) -> None:
    headers = {"x-spendhub-cache": "60", "x-spendhub-feature": user}
    calls = served.vendor.served.calls
    served.ask(CALL, user=user, headers=headers)
    served.ask(CALL, user=user, headers=headers | {"x-spendhub-feature": f"{user}-other"})
    served.ask(CALL, user=user, headers={"x-spendhub-feature": user})
    assert served.vendor.served.calls == calls + 3


def test_an_agent_in_a_loop_is_paused_and_can_be_resumed_with_one_call(served: Served, user: str) -> None:
    brake = served.native(
        "POST",
        "brakes",
        json={"name": f"loops of {user}", "scope_type": "session", "repeats": 2, "within_seconds": 300,
              "action": "pause"},
    )  # fmt: skip
    pause_for_snapshots()
    headers = {"x-spendhub-session": user}
    try:
        assert [served.ask(CALL, user=user, headers=headers).status_code for _ in range(2)] == [200, 200]
        with pytest.raises(openai.RateLimitError) as paused:
            served.sdk(default_headers=headers).chat.completions.create(
                model="vendor-chat", messages=[{"role": "user", "content": CALL}], user=user
            )
        assert paused.value.code == "call_paused"
        assert paused.value.response.headers["x-should-retry"] == "false"
        assert len(served.spans(user)) == 2
        pause_for_snapshots()
        # Every call of that session is stopped, and nobody else's.
        assert served.ask("something else", user=user, headers=headers).status_code == 429
        assert served.ask(CALL, user=user, headers={"x-spendhub-session": f"{user}-2"}).status_code == 200
        (stop,) = [
            each for each in served.native("GET", "brake-stops?in_force=true")["results"] if each["scope_key"] == user
        ]
        served.native("POST", f"brake-stops/{stop['id']}/resume")
        pause_for_snapshots()
        assert served.ask("something else", user=user, headers=headers).status_code == 200
    finally:
        served.native("DELETE", f"brakes/{brake['id']}")
        pause_for_snapshots()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/router"])
def test_a_client_that_leaves_while_it_is_slowed_is_not_served_and_not_billed(
    served: Served, user: str, path: str
) -> None:
    budget = served.define_budget(user, "1")
    brake = served.native(
        "POST",
        "brakes",
        json={"name": f"loops of {user}", "scope_type": "session", "repeats": 1, "within_seconds": 300,
              "action": "slow", "slow_seconds": 4},
    )  # fmt: skip
    pause_for_snapshots()
    headers = {"x-spendhub-session": user, "x-spendhub-user": user, "x-spendhub-allow": "vendor-chat"}
    chat = {"model": "vendor-chat", "messages": [{"role": "user", "content": CALL}]}
    body = {"prompt": CALL} if path == "/api/router" else chat

    def ask() -> httpx.Response:
        told = {"authorization": f"Bearer {served.key}", **headers}
        return httpx.post(f"{served.server.url}{path}", headers=told, json=body, timeout=30)

    def is_slowed() -> bool:
        return any(each["scope_key"] == user for each in served.native("GET", "brake-stops")["results"])

    try:
        assert ask().status_code == 200
        calls = served.vendor.served.calls
        with served.client_that_leaves(path, body, **headers):
            wait_until(is_slowed, 5, "the second call to be slowed")
        # Who comes after it and waits for as long: the other one's time is over by then, too.
        assert "slow" in ask().headers["x-spendhub-warning"]
        assert served.vendor.served.calls == calls + 1
        assert [span["cost_nano_usd"] for span in served.spans(user)] == [CALL_NANO_USD] * 2
        assert (served.ledger(budget), served.held(user)) == (2 * CALL_NANO_USD, "0.00")
    finally:
        served.native("DELETE", f"brakes/{brake['id']}")
        pause_for_snapshots()


def test_a_thumb_is_kept_beside_what_the_call_has_cost(served: Served, user: str) -> None:
    answered = served.ask(CALL, user=user, headers={"x-spendhub-feature": user})
    request_id = answered.headers["x-spendhub-request-id"]
    served.native("POST", "feedback", json={"request_id": request_id, "thumbs": "up"})
    told = served.native("GET", "quality?group_by=feature")
    (group,) = [each for each in told["groups"] if each["key"] == user]
    assert group["count"] == 1


def test_the_shadow_report_says_what_another_model_would_have_cost(served: Served, user: str) -> None:
    key = served.server.manage("tenant", "create", user).strip().splitlines()[-1]
    pause_for_snapshots()  # it is known
    own = replace(served, key=key)
    assert [own.ask(CALL).status_code for _ in range(3)] == [200] * 3
    told = own.native("GET", "shadow?model=vendor-out")
    assert told["sample"]["recorded"] == 3
    # 20 tokens out are 0.0002 USD at both; the 100 in, which are as much at the one, are free at the other.
    totals = {name: told[name] for name in ("calls", "actual_cost", "shadow_cost", "savings", "answered_by")}
    assert totals == {
        "calls": 3, "actual_cost": "0.0012", "shadow_cost": "0.0006", "savings": "0.0006", "answered_by": {"vendor-out": 3},
    }  # fmt: skip
