"""A call whose process dies after the vendor was asked is booked at its estimate, once; one that is told to
stop finishes what it has begun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from routing.reviewing import MAX_REVIEW_TOKENS
from tests.gateway.conftest import running_spendhub
from tests.gateway.served import OUTPUT_NANO_USD, Served
from tests.gateway.test_reviews import CALL_NANO_USD as REVIEWED_CALL_NANO_USD
from tests.gateway.test_reviews import REVIEW_NANO_USD, reviewed_route
from tests.servers import wait_until

pytestmark = pytest.mark.slow

CALL_NANO_USD = 10 * OUTPUT_NANO_USD


@pytest.fixture
def served() -> Iterator[Served]:
    with running_spendhub(valkey_number=1, SPENDHUB_CALL_HOLD_SECONDS="5") as running:
        yield running


@contextlib.contextmanager
def posted(served: Served, user: str, text: str, **changes: object) -> Iterator[socket.socket]:
    """A call that has been sent, and whose answer is to be read; its connection is closed at the end of the block."""
    body = {"model": "vendor-out", "max_tokens": 10, "user": user, "messages": [{"role": "user", "content": text}]}
    content = json.dumps({**body, **changes}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.key}\r\n"
    with socket.create_connection(("127.0.0.1", served.server.port)) as connection:
        connection.sendall(f"{head}connection: close\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
        yield connection


def kill_the_serving_process(served: Served) -> None:
    """Returns when another one serves in its place."""
    os.kill(served.server.serving_processes()[0], signal.SIGKILL)
    served.server.wait_until_ready()


def test_a_call_whose_process_is_killed_is_booked_as_interrupted_once(served: Served, user: str) -> None:
    budget = served.define_budget(user, "1")
    calls = served.vendor.served.calls
    with posted(served, user, "[fault:hang]"):
        wait_until(lambda: served.vendor.served.calls == calls + 1, 10, "the vendor to be asked")
        kill_the_serving_process(served)
    span = served.wait_for_spans(user, 1, seconds=40)[0]
    assert (span["status"], span["cost_nano_usd"], bool(span["is_estimated"])) == ("interrupted", CALL_NANO_USD, True)
    assert (span["user"], span["model"], span["provider"]) == (user, "vendor-out", "vendor")
    wait_until(lambda: served.held(user, "vendor-out") == "0.00", 20, "the hold to end")
    time.sleep(3)  # the worker looks again meanwhile
    assert len(served.spans(user)) == 1
    assert served.ledger(budget) == CALL_NANO_USD


def test_a_stream_that_held_more_before_its_process_was_killed_is_booked_once_at_all_that_was_held(
    served: Served, user: str
) -> None:
    budget = served.define_budget(user, "1")
    words = " ".join(["word"] * 2_400)
    # Held for 1,024 tokens without a limit, and for as many again after 768; it stalls half way.
    text, both_nano_usd = f"[fault:stall] [say:{words}]", 2 * 1_024 * OUTPUT_NANO_USD
    with posted(served, user, text, stream=True, max_tokens=None):
        wait_until(lambda: float(served.held(user, "vendor-out")) * 10**9 == both_nano_usd, 10, "both holds")
        kill_the_serving_process(served)
    # The two may end seconds apart: the span is there at the first, and right at the second.
    wait_until(lambda: served.ledger(budget) == both_nano_usd, 40, "all that was held to be booked")
    wait_until(lambda: served.held(user, "vendor-out") == "0.00", 20, "the holds to end")
    time.sleep(3)  # the worker looks again meanwhile
    span = served.the_span(user)
    assert (span["status"], span["cost_nano_usd"], span["reserved_nano_usd"]) == (
        "interrupted", both_nano_usd, both_nano_usd,
    )  # fmt: skip
    assert len(span["trace_id"]) == 36
    assert served.ledger(budget) == both_nano_usd


def test_a_process_that_is_killed_while_an_answer_is_reviewed_loses_no_call_and_counts_none_twice(
    served: Served, user: str
) -> None:
    route = reviewed_route(served, "0.9", "fault-hang")
    budget = served.define_budget(user, "10")
    text = "[in:100] [out:20]"
    with posted(served, user, text, model=route, max_tokens=20) as connection:
        # The answer and one review are booked; the other review is under way, and nobody has been answered.
        served.wait_for_spans(user, 2)
        wait_until(
            lambda: any(each["body"]["model"] == "reviewer-fault-hang" for each in list(served.vendor.served.requests)),
            10, "the second reviewer to be asked",
        )  # fmt: skip
        held_nano_usd = round(float(served.held(user)) * 10**9)
        # At 1,000 USD per million tokens: the longest review, and its question.
        assert held_nano_usd > MAX_REVIEW_TOKENS * 1_000_000
        kill_the_serving_process(served)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    served.wait_for_spans(user, 3, seconds=40)
    wait_until(lambda: served.held(user) == "0.00", 20, "the hold to end")
    time.sleep(3)  # the worker looks again meanwhile
    spans = served.spans(user)
    assert [(span["model"], span["status"], span["cost_nano_usd"]) for span in spans] == [
        ("vendor-chat", "ok", REVIEWED_CALL_NANO_USD),
        ("reviewer-0.9", "ok", REVIEW_NANO_USD),
        ("reviewer-fault-hang", "interrupted", held_nano_usd),
    ]
    assert bool(spans[2]["is_estimated"])
    assert served.ledger(budget) == REVIEWED_CALL_NANO_USD + REVIEW_NANO_USD + held_nano_usd


def test_a_server_that_is_told_to_stop_finishes_the_stream_it_has_begun(served: Served, user: str) -> None:
    with posted(served, user, "[fault:slow-stream] [out:10]", stream=True) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        stopping = threading.Thread(target=served.server.stop)
        stopping.start()
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        stopping.join()
    assert b"data: [DONE]" in received
    assert [(span["status"], span["output_tokens"]) for span in served.spans(user)] == [("ok", 10)]
