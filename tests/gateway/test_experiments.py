"""An experiment from its route to its verdict: calls are shared out, each keeps its arm, and the report counts them."""

from __future__ import annotations

import pytest

from tests.gateway.served import Served, pause_for_snapshots

pytestmark = pytest.mark.slow


def test_calls_of_a_weighted_route_are_counted_by_arm(served: Served) -> None:
    split = {"vendor-chat": 0.5, "fault-500": 0.5}
    wanted = {"name": "trial", "strategy": "weighted", "models": list(split), "options": {"split": split}}
    served.native("POST", "routes", json=wanted)
    pause_for_snapshots()
    told = [served.ask(model="trial", headers={"x-spendhub-session": f"s-{number}"}) for number in range(20)]
    # Who draws the one that fails is answered by the other.
    assert {answer.status_code for answer in told} == {200}
    assert {answer.headers["x-spendhub-model"] for answer in told} == {"vendor-chat"}
    served.native("POST", "feedback", json={"request_id": told[0].headers["x-spendhub-request-id"], "thumbs": "up"})

    report = served.native("GET", "experiments/trial")
    arms = {arm["name"]: arm for arm in report["arms"]}
    failing, working = arms["fault-500"], arms["vendor-chat"]
    assert failing["errors"] == failing["calls"] == failing["elsewhere"] > 0
    assert working["calls"] + failing["calls"] == 20
    assert (working["success_rate"], failing["success_rate"]) == (1.0, 0.0)
    assert working["share_seen"] + failing["share_seen"] == 1.0
    assert working["p50_ms"] is not None
    assert sum(arm["ratings"] for arm in report["arms"]) == 1
    assert "trial" in [each["name"] for each in served.native("GET", "experiments")["results"]]

    lines = {line["key"]: line for line in served.native("GET", "performance", params={"group_by": "model"})["results"]}
    assert lines["fault-500"]["errors"] >= failing["errors"]
    # How each answer has ended is on its span; what has failed without an answer is no bad one.
    assert working["rules"] == {"score": 5.0, "calls": working["calls"], "faults": {}}
    assert failing["rules"] == {"score": None, "calls": 0, "faults": {}}
