"""A call takes no longer than its caller allows: not until its answer begins alone, but until it has ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.served import OUTPUT_NANO_USD, Served, events_of, pause_for_snapshots
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.once]

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


@pytest.mark.parametrize("fault", ["slow=6", "slow-body"])
def test_a_strict_budget_pays_for_what_a_vendor_that_was_given_up_may_have_said(
    served: Served, user: str, fault: str
) -> None:
    # Room for one call, at a model whose input is free.
    budget = served.define_budget(user, "0.0005", strict=True)
    asked = {"model": "vendor-out", "user": user, "max_tokens": 50, "headers": {"x-spendhub-timeout-ms": "2000"}}
    given_up = served.ask(f"[fault:{fault}] [out:50]", **asked)
    assert (given_up.status_code, given_up.headers["x-spendhub-cost"]) == (504, "0.0005")
    span = served.the_span(user)
    assert (span["status"], span["error_code"], bool(span["is_estimated"])) == ("error", "upstream_timeout", True)
    assert span["cost_nano_usd"] == span["reserved_nano_usd"] == served.ledger(budget) == 50 * OUTPUT_NANO_USD
    assert served.held(user) == "0.00"
    assert served.ask("[out:50]", **asked).status_code == 402


def test_without_strict_a_vendor_that_was_given_up_before_it_answered_costs_nothing(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.0005")
    asked = {"model": "vendor-out", "user": user, "max_tokens": 50, "headers": {"x-spendhub-timeout-ms": "2000"}}
    assert served.ask("[fault:slow=6] [out:50]", **asked).status_code == 504
    assert (served.the_span(user)["cost_nano_usd"], served.ledger(budget)) == (0, 0)


def test_a_stream_that_does_not_begin_in_half_of_its_time_gives_way_to_the_fallback(served: Served, user: str) -> None:
    wanted = {"name": user, "models": ["fault-hang"], "fallback": ["vendor-out"], "strategy": "pinned"}
    served.native("POST", "routes", json=wanted)
    pause_for_snapshots()
    headers = {"x-spendhub-timeout-ms": "4000"}
    answered = served.ask("[say:in time]", model=user, user=user, stream=True, max_tokens=5, headers=headers)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-out")
    # A whole answer begins when it is done: who would do it again has no more time than it had.
    assert served.ask(model=user, user=user, max_tokens=5, headers=headers).status_code == 504
    spans = [(span["model"], span["status"], span["error_code"]) for span in served.spans(user)]
    assert sorted(spans) == [
        ("fault-hang", "error", "upstream_timeout"), ("fault-hang", "error", "upstream_timeout"), ("vendor-out", "ok", "")
    ]  # fmt: skip


def test_a_stream_has_all_of_its_time_where_nobody_behind_it_can_be_asked(served: Served, user: str) -> None:
    wanted = {"name": user, "models": ["vendor-out"], "fallback": ["unplugged"], "strategy": "pinned"}
    served.native("POST", "routes", json=wanted)
    pause_for_snapshots()
    headers = {"x-spendhub-timeout-ms": "4500"}
    answered = served.ask("[fault:slow=3]", model=user, user=user, stream=True, max_tokens=5, headers=headers)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-out")


def test_a_vendor_that_closes_after_a_while_may_have_worked_and_is_not_asked_again(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.0005", strict=True)
    lost = served.ask("[fault:reset-after=1.2] [out:50]", model="vendor-out", user=user, max_tokens=50)
    assert (lost.status_code, lost.json()["error"]["code"]) == (502, "upstream_failed")
    span = served.the_span(user)
    assert (span["error_code"], bool(span["is_estimated"])) == ("upstream_failed", True)
    assert span["cost_nano_usd"] == span["reserved_nano_usd"] == served.ledger(budget) == 50 * OUTPUT_NANO_USD


@pytest.mark.parametrize("fault", ["500", "reset-at-once"])
def test_a_strict_budget_pays_nothing_where_the_vendor_says_itself_that_it_has_failed(
    served: Served, user: str, fault: str
) -> None:
    budget = served.define_budget(user, "0.0005", strict=True)
    assert served.ask(f"[fault:{fault}]", model="vendor-out", user=user, max_tokens=50).status_code >= 500
    assert (served.the_span(user)["cost_nano_usd"], served.ledger(budget)) == (0, 0)


@contextmanager
def deaf() -> Iterator[int]:
    """A port to which no connection can be made, nor is one refused; yields its number."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        while True:
            waiting = opened.enter_context(socket.socket())
            waiting.settimeout(1)
            try:
                waiting.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


def test_a_strict_budget_pays_nothing_where_the_time_was_over_before_the_vendor_could_be_asked(
    served: Served, user: str
) -> None:
    with deaf() as port:
        address = ("--base-url", f"http://127.0.0.1:{port}/v1")
        served.server.manage("provider", "set", user, "--dialect", "openai", *address, "--api-key-env", "VENDOR_KEY")
        served.native("POST", "models", json={"provider": user, "name": user})
        served.native("POST", "prices", json={"model": user, "input": "0", "output": "1000"})
        pause_for_snapshots()
        budget = served.define_budget(user, "0.05", strict=True)
        given_up = served.ask(model=user, user=user, max_tokens=50, headers={"x-spendhub-timeout-ms": "2000"})
    assert (given_up.status_code, given_up.json()["error"]["code"]) == (504, "upstream_timeout")
    assert (served.the_span(user)["cost_nano_usd"], served.ledger(budget), served.held(user, user)) == (0, 0, "0.00")


# Of a stream of 50 words, one every tenth of a second, some are seen by then.
LONG = f"[fault:slow-stream] [say:{'word ' * 50}] [in:0] [out:50]"
THINKERS_OUTPUT_NANO_USD = 1_000_000


def define_thinker(served: Served, user: str, *capabilities: str, limit: str = "0.1", **facts: Any) -> str:
    """A model with these capabilities whose output alone costs, 1,000 USD per million tokens, and a budget; its id.

    It is dear, so that `auto` never takes it in other tests."""
    served.define_provider(user)
    served.native("POST", "models", json={"provider": user, "name": user, "capabilities": capabilities})
    served.native("POST", "prices", json={"model": user, "input": "0", "output": "1000"})
    pause_for_snapshots()
    return served.define_budget(user, limit, **facts)


@pytest.mark.parametrize("wish", ["[fault:stall]", LONG])
def test_a_strict_budget_pays_for_thoughts_that_nobody_has_seen_of_a_stream_that_is_cut(
    served: Served, user: str, wish: str
) -> None:
    budget = define_thinker(served, user, "reasoning", "streaming", strict=True)
    cut = {"model": user, "user": user, "max_tokens": 100, "stream": True, "headers": {"x-spendhub-timeout-ms": "2000"}}
    assert events_of(served.ask(wish, **cut).text)[-1]["error"]["code"] == "upstream_timeout"
    span = served.the_span(user)
    assert (span["status"], bool(span["is_estimated"])) == ("error", True)
    assert span["cost_nano_usd"] == span["reserved_nano_usd"] == served.ledger(budget) == 100 * THINKERS_OUTPUT_NANO_USD
    assert served.ask(**cut).status_code == 402


@pytest.mark.parametrize(("capabilities", "is_strict"), [(("streaming",), True), (("reasoning", "streaming"), False)])
def test_without_thoughts_or_strict_a_stream_that_is_cut_counts_what_was_seen(
    served: Served, user: str, capabilities: tuple[str, ...], is_strict: bool
) -> None:
    budget = define_thinker(served, user, *capabilities, strict=is_strict)
    headers = {"x-spendhub-timeout-ms": "2000"}
    served.ask(LONG, model=user, user=user, max_tokens=100, stream=True, headers=headers)
    span = served.the_span(user)
    assert 0 < span["output_tokens"] < 50
    assert span["cost_nano_usd"] == served.ledger(budget) == span["output_tokens"] * THINKERS_OUTPUT_NANO_USD


@pytest.mark.parametrize(("capabilities", "tokens"), [(("reasoning", "streaming"), 100), (("streaming",), None)])
def test_a_strict_budget_pays_for_them_where_the_client_leaves_the_stream_as_well(
    served: Served, user: str, capabilities: tuple[str, ...], tokens: int | None
) -> None:
    budget = define_thinker(served, user, *capabilities, strict=True)
    asked = {"model": user, "user": user, "max_tokens": 100, "stream": True}
    body = {**asked, "messages": [{"role": "user", "content": LONG}]}
    with served.client_that_leaves("/v1/chat/completions", body) as client:
        # Some words are time enough for a hundred tokens.
        read = b""
        while read.count(b"word") < 4:
            received = client.recv(65_536)
            assert received, read
            read += received
    (span,) = served.wait_for_spans(user, 1)
    assert span["status"] == "aborted"
    assert served.ledger(budget) == span["cost_nano_usd"]
    assert span["cost_nano_usd"] == (span["output_tokens"] if tokens is None else tokens) * THINKERS_OUTPUT_NANO_USD
    assert span["output_tokens"] < 50


def test_a_stream_that_is_cut_soon_does_not_use_up_a_strict_budget(served: Served, user: str) -> None:
    # Without a limit all that is left is held: 100,000 tokens. In the time that the stream had, nobody thinks so many.
    budget = define_thinker(served, user, "reasoning", "streaming", limit="100", strict=True)
    began = time.monotonic()
    headers = {"x-spendhub-timeout-ms": "2000"}
    served.ask(LONG, model=user, user=user, stream=True, headers=headers)
    seconds = time.monotonic() - began
    span = served.the_span(user)
    assert span["reserved_nano_usd"] > 50_000 * THINKERS_OUTPUT_NANO_USD
    assert 1_000 * THINKERS_OUTPUT_NANO_USD < span["cost_nano_usd"] <= seconds * 1_000 * THINKERS_OUTPUT_NANO_USD
    assert span["cost_nano_usd"] == served.ledger(budget)


def test_a_strict_budget_pays_what_the_vendor_reports_of_a_stream_that_has_ended(served: Served, user: str) -> None:
    budget = define_thinker(served, user, "reasoning", "streaming", strict=True)
    served.ask("[in:0] [out:20]", model=user, user=user, max_tokens=100, stream=True)
    assert (served.the_span(user)["status"], served.ledger(budget)) == ("ok", 20 * THINKERS_OUTPUT_NANO_USD)


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
