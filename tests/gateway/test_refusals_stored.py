"""A refusal is stored, told and counted where a call was refused: not on the way to its answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway.served import OUTPUT_NANO_USD, Served
from tests.gateway.test_fallback import define_route
from tests.gateway.test_held_money import CALL, USUAL_HOLD_NANO_USD, usd
from tests.servers import wait_until

pytestmark = pytest.mark.slow


def refusals(served: Served, budget: str) -> tuple[int, int]:
    """How many decisions and events say that the budget has refused a call."""
    decisions = served.native("GET", "decisions", params={"allowed": "false", "budget": budget})["results"]
    events = served.native("GET", "events", params={"kind": "hard-stop", "budget": budget})["results"]
    # Defining the budget has asked it too, without a model.
    return len([each for each in decisions if each["model"]]), len(events)


def test_a_call_that_waited_for_its_money_was_not_refused(served: Served, user: str) -> None:
    budget = served.define_budget(user, usd(USUAL_HOLD_NANO_USD + USUAL_HOLD_NANO_USD // 2), patience_seconds=20)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.ask, f"[fault:slow=2] {CALL}", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        assert served.ask(CALL, user=user).status_code == 200
        assert first.result().status_code == 200
    assert refusals(served, budget) == (0, 0)


def test_a_call_that_a_strict_budget_has_clamped_was_not_refused(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.0045", strict=True)
    answered = served.ask(CALL, user=user)
    assert (answered.status_code, "x-spendhub-clamped" in answered.headers) == (200, True)
    assert refusals(served, budget) == (0, 0)


def test_a_call_that_a_cheaper_model_has_answered_was_not_refused(served: Served, user: str) -> None:
    options = {"workhorses": ["vendor-out"], "judges": ["vendor-chat"], "confidence_threshold": 1.0}
    route = define_route(served, ["vendor-chat", "vendor-out"], strategy="judgment-based", options=options)
    # Room for what `vendor-out` holds, whose input is free.
    budget = served.define_budget(user, usd(100 * OUTPUT_NANO_USD))
    answered = served.ask("[in:1000] [out:1]", model=route, user=user, max_tokens=100)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-out")
    assert refusals(served, budget) == (0, 0)


def test_a_stream_that_finds_no_room_for_more_was_not_refused(served: Served, user: str) -> None:
    budget = served.define_budget(user, usd(1_024 * OUTPUT_NANO_USD))
    words = " ".join(["word"] * 1_500)
    answered = served.ask(f"[in:10] [out:1500] [say:{words}]", model="vendor-out", user=user, stream=True)
    assert answered.text.endswith("data: [DONE]\n\n")
    # What it has cost stops the budget, of which the event tells.
    assert refusals(served, budget) == (0, 1)


@pytest.mark.parametrize("headers", [{}, {"x-spendhub-wait": "1"}])
def test_a_call_that_nothing_has_room_for_was_refused_once(served: Served, user: str, headers: dict[str, str]) -> None:
    route = define_route(served, ["vendor-chat", "vendor-out"], strategy="cost-optimized")
    budget = served.define_budget(user, usd(OUTPUT_NANO_USD))
    answered = served.ask(CALL, model=route, user=user, max_tokens=100, headers=headers)
    told: dict[str, Any] = answered.json()["error"]
    assert (answered.status_code, told["budget_id"]) == (402, budget)
    assert refusals(served, budget) == (1, 1)
    assert served.native("GET", f"decisions/{told['decision_id']}")["allowed"] is False
