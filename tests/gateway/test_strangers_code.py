"""A strategy, hooks and a checker of failures of one's own, in an application beside SpendHub, at work in real calls."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import metadata_of
from tests.gateway.test_fallback import CALL, CALL_NANO_USD, define_route
from tests.settings import TEST_DIR

pytestmark = [pytest.mark.slow, pytest.mark.once]


def test_a_strategy_of_ones_own_chooses_each_hook_is_shown_the_call_and_a_checker_says_what_is_repeated(
    user: str,
) -> None:
    notes = TEST_DIR / f"notes_{uuid.uuid4().hex}"
    stranger = {"DJANGO_SETTINGS_MODULE": "tests.strangers_app.settings", "STRANGERS_NOTES": str(notes)}
    with running_spendhub(valkey_number=5, **stranger) as served:
        # Of the two that begin with a V the second is cheaper: it would be taken if the hook did not deny it.
        route = define_route(served, ["fault-500", "vendor-chat", "vendor-out"], strategy="last-name")
        notes.unlink()  # of the calls that looked whether the route was in force
        answered = served.ask(CALL, model=route, user=user)
        assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
        why = metadata_of(served.the_span(user))
        assert (why["strategy"], why["reason"]) == ("last-name", "the last by name")
        known = served.native("POST", "routes/dry-run", json={"prompt": "hello", "strategy": "last-name"})
        assert known["strategy"] == "last-name"
        assert served.ask("[fault:500]", user=user).status_code == 500
        once_more = define_route(served, ["vendor-chat"], strategy="last-name", options={"retries": 1})
        answers_before = len(notes.read_text("utf-8").splitlines())
        assert served.ask("[fault:501]", model=once_more, user=user).status_code == 501
        assert served.ask("[fault:500]", model=once_more, user=user).status_code == 500
        repeats = [json.loads(line) for line in notes.read_text("utf-8").splitlines()[answers_before:]]
    told = [json.loads(line) for line in notes.read_text("utf-8").splitlines()[:4]]
    assert told == [
        ["routed", route, "last-name", "vendor-chat"],
        ["executed", "vendor-chat", "ok", CALL_NANO_USD],
        ["routed", "vendor-chat", "pinned", "vendor-chat"],
        ["executed", "vendor-chat", "error", 0],
    ]
    failed, routed = ["executed", "vendor-chat", "error", 0], ["routed", once_more, "last-name", "vendor-chat"]
    # Its own checker has 501 asked again, which is not done otherwise, and 500 not, which otherwise is.
    assert repeats == [routed, failed, failed, routed, failed]
