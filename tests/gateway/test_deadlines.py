"""A call takes no longer than its caller allows: not until its answer begins alone, but until it has ended."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gateway.served import Served, events_of
from tests.servers import wait_until

pytestmark = pytest.mark.slow

SHORT = {"x-spendhub-timeout-ms": "3000"}


def test_a_whole_answer_that_begins_in_time_and_does_not_end_in_time_is_given_up(served: Served, user: str) -> None:
    served.define_budget(user, "10")
    began = time.monotonic()
    answered = served.ask("[fault:slow-body]", user=user, headers=SHORT)
    assert time.monotonic() - began < 9  # the answer would take ten
    assert (answered.status_code, answered.json()["error"]["code"]) == (504, "upstream_timeout")
    span = served.the_span(user)
    assert (span["status"], span["error_code"], span["is_estimated"]) == ("error", "upstream_timeout", True)
    assert served.held(user) == "0.00"


def test_a_stream_ends_when_its_time_is_over_and_what_it_had_said_is_billed(served: Served, user: str) -> None:
    budget = served.define_budget(user, "10")
    began = time.monotonic()
    headers = {"x-spendhub-timeout-ms": "4000"}
    answered = served.ask(f"[fault:slow-stream] [say:{'word ' * 100}]", user=user, stream=True, headers=headers)
    assert time.monotonic() - began < 9  # the answer would take ten
    *events, last = events_of(answered.text)
    assert last["error"]["code"] == "upstream_timeout"
    assert 2 < len(events) < 80
    span = served.the_span(user)
    assert (span["status"], span["error_code"]) == ("error", "upstream_timeout")
    assert 0 < span["output_tokens"] < 100
    assert served.ledger(budget) == span["cost_nano_usd"]
    assert served.held(user) == "0.00"


def test_what_ends_in_time_is_left_alone(served: Served, user: str) -> None:
    for is_stream in (False, True):
        answered = served.ask("[say:in time]", user=user, stream=is_stream, headers={"x-spendhub-timeout-ms": "20000"})
        assert answered.status_code == 200
    assert [span["status"] for span in served.spans(user)] == ["ok", "ok"]


def test_the_recipes_router_keeps_its_timeout_to_the_end(served: Served, user: str) -> None:
    asked = {"prompt": "[fault:slow-body]", "timeoutMs": 3000, "metadata": {"user": user}}
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-allow": "vendor-chat"}
    began = time.monotonic()
    answered = httpx.post(f"{served.server.url}/api/router", headers=headers, json=asked, timeout=30)
    assert time.monotonic() - began < 9
    assert (answered.status_code, answered.json()["code"]) == (503, "upstream_timeout")


@pytest.mark.parametrize(("asked", "granted"), [("10", 0), ("0", 10)])
def test_nobody_waits_for_held_money_longer_than_the_whole_call_may_take(
    served: Served, user: str, asked: str, granted: int
) -> None:
    served.define_budget(user, "0.01", patience_seconds=granted)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, "[fault:slow=10] [out:10]", model="vendor-out", user=user, max_tokens=1_000)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        began = time.monotonic()
        second = served.ask(
            user=user, max_tokens=1_000, headers={"x-spendhub-timeout-ms": "600", "x-spendhub-wait": asked}
        )
        assert time.monotonic() - began < 7
        assert first.result().status_code == 200
    assert (second.status_code, second.json()["error"]["code"]) == (402, "budget_exceeded")
