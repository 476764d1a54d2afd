"""A call that is sent twice under one idempotency key is made and paid for once, whichever process it reaches."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD, Served, events_of, pause_for_snapshots
from tests.servers import wait_until

pytestmark = pytest.mark.slow

CALL = "[in:100] [out:20] [say:good morning]"
CALL_NANO_USD = 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Two server processes, and a claim that ends soon once its process is gone."""
    with running_spendhub("--workers", "2", valkey_number=1, SPENDHUB_CALL_HOLD_SECONDS="5") as running:
        yield running


def keyed(user: str) -> dict[str, str]:
    return {"Idempotency-Key": f"order-of-{user}"}


def ask_and_leave(served: Served, user: str, text: str, **more: Any) -> socket.socket:
    """Sends a keyed call; what becomes of the connection is the caller's business."""
    body = {"model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": text}], **more}
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.key}\r\n"
    head += f"idempotency-key: order-of-{user}\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", served.server.port))
    connection.sendall(head.encode() + content)
    return connection


def test_a_repeat_is_given_the_first_answer_and_counts_nothing(served: Served, user: str) -> None:
    budget = served.define_budget(user, "1")
    pause_for_snapshots()  # in force in both processes
    calls = served.vendor.served.calls
    first, again = (served.ask(CALL, user=user, headers=keyed(user)) for _ in range(2))
    assert served.vendor.served.calls == calls + 1
    assert (again.status_code, again.content) == (200, first.content)
    assert "x-spendhub-replayed" not in first.headers
    assert again.headers["x-spendhub-replayed"] == "true"
    for name in ("x-spendhub-cost", "x-spendhub-request-id", "x-spendhub-model", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["x-spendhub-cost"] == "0.0004"
    assert served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD
    assert served.ledger(budget) == CALL_NANO_USD
    wait_until(lambda: served.held(user) == "0.00", 10, "the hold to end")


def test_without_a_key_a_repeat_is_a_call_of_its_own(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    for _ in range(2):
        served.ask(CALL, user=user)
    assert served.vendor.served.calls == calls + 2
    assert len(served.spans(user)) == 2


def test_ten_at_once_with_one_key_are_one_call(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    body = {"model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": f"[fault:slow=1] {CALL}"}]}
    headers = {"authorization": f"Bearer {served.key}", **keyed(user)}

    async def ask_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=10), timeout=60, headers=headers) as client:
            asked = [client.post(f"{served.url}/chat/completions", json=body) for _ in range(10)]
            return list(await asyncio.gather(*asked))

    answers = asyncio.run(ask_at_once())
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.content for answer in answers}) == 1
    assert sum("x-spendhub-replayed" in answer.headers for answer in answers) == 9
    assert served.vendor.served.calls == calls + 1
    assert served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


def test_an_sdk_that_loses_patience_and_tries_again_by_itself_pays_once(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    patient_enough = served.sdk().with_options(timeout=1.0, max_retries=5)
    answer = patient_enough.chat.completions.create(
        model="vendor-chat", user=user, messages=[{"role": "user", "content": f"[fault:slow=2.5] {CALL}"}],
        extra_headers=keyed(user),
    )  # fmt: skip
    assert answer.choices[0].message.content == "good morning"
    assert served.vendor.served.calls == calls + 1
    assert served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


def test_another_request_may_not_have_the_key(served: Served, user: str) -> None:
    served.ask(CALL, user=user, headers=keyed(user))
    with pytest.raises(openai.UnprocessableEntityError) as told:
        served.sdk(default_headers=keyed(user)).chat.completions.create(
            model="vendor-chat", user=user, messages=[{"role": "user", "content": "something else"}]
        )
    assert told.value.code == "idempotency_key_reused"
    assert len(served.spans(user)) == 1


def test_another_account_and_another_api_key_make_calls_of_their_own(served: Served, user: str) -> None:
    globex = served.server.manage("tenant", "create", f"Globex {user}").strip().splitlines()[-1]
    second = served.native("POST", "keys", json={"name": user, "permissions": ["spend"]})["key"]
    pause_for_snapshots()
    calls = served.vendor.served.calls
    served.ask(CALL, user=user, headers=keyed(user))
    for key in (globex, second):
        answer = served.ask(CALL, user=user, headers=keyed(user) | {"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert "x-spendhub-replayed" not in answer.headers
    assert served.vendor.served.calls == calls + 3


def test_a_refused_call_goes_through_once_the_budget_is_raised(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.000001")
    pause_for_snapshots()
    assert served.ask(CALL, user=user, headers=keyed(user)).status_code == 402
    served.native("PATCH", f"budgets/{budget}", json={"limit": "1"})
    pause_for_snapshots()
    answer = served.ask(CALL, user=user, headers=keyed(user))
    assert (answer.status_code, "x-spendhub-replayed" in answer.headers) == (200, False)
    assert served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


def test_an_error_that_the_vendor_calls_a_200_leaves_the_key_free(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    for _ in range(2):
        answer = served.ask("[fault:error-in-200]", user=user, headers=keyed(user))
        assert (answer.status_code, "x-spendhub-replayed" in answer.headers) == (502, False)
    assert served.vendor.served.calls == calls + 2


def test_whoever_has_read_an_error_to_its_end_has_the_key_for_another_request(served: Served, user: str) -> None:
    """Thirty times each: a whole error, a stream's before it began, and one in the middle of a stream."""
    failing: tuple[tuple[str, dict[str, Any], int], ...] = (
        ("[fault:400]", {}, 400),
        ("[fault:400]", {"stream": True}, 400),
        ("[fault:error]", {"stream": True}, 200),
    )
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=f"{served.url}/", headers=headers, timeout=30) as client:

        def ask(text: str, key: str, **more: Any) -> httpx.Response:
            body = {"model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": text}], **more}
            return client.post("chat/completions", json=body, headers={"Idempotency-Key": key})

        for number in range(30):
            for place, (text, more, status) in enumerate(failing):
                key = f"{user}-{number}-{place}"
                failed = ask(text, key, **more)
                assert (failed.status_code, '"error"' in failed.text) == (status, True)
                answered = ask(CALL, key)
                assert (answered.status_code, "x-spendhub-replayed" in answered.headers) == (200, False), answered.text


def test_a_stream_whose_client_has_left_is_given_whole_to_the_client_who_comes_back(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    text, is_stream = f"[fault:slow-stream] {CALL}", {"stream": True, "stream_options": {"include_usage": True}}
    with ask_and_leave(served, user, text, **is_stream) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    answer = served.ask(text, user=user, headers=keyed(user), **is_stream)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["x-spendhub-replayed"], answer.headers["x-spendhub-cost"]) == ("true", "0.0004")
    *_, usage, done = events_of(answer.text)
    assert (usage["spendhub"]["cost"], done) == ("0.0004", "[DONE]")
    assert served.vendor.served.calls == calls + 1
    span = served.the_span(user)
    assert (span["status"], span["cost_nano_usd"]) == ("ok", CALL_NANO_USD)


CHAT = {"model": "vendor-chat", "messages": [{"role": "user", "content": CALL}], "max_tokens": 50}
RESPONSE = {"model": "vendor-chat", "input": CALL}
GOOGLES = {"contents": [{"role": "user", "parts": [{"text": CALL}]}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", CHAT),
        ("/v1/messages", CHAT | {"stream": True}),
        ("/v1/responses", RESPONSE),
        ("/v1/responses", RESPONSE | {"stream": True}),
        ("/v1beta/models/vendor-chat:generateContent", GOOGLES),
        ("/v1beta/models/vendor-chat:streamGenerateContent?alt=sse", GOOGLES),
    ],
)
def test_every_dialect_knows_the_key(served: Served, user: str, path: str, body: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user, **keyed(user)}
    calls = served.vendor.served.calls
    first, again = (httpx.post(f"{served.server.url}{path}", headers=headers, json=body, timeout=30) for _ in range(2))
    assert first.status_code == 200, first.text
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert (again.headers["x-spendhub-replayed"], again.headers["x-spendhub-cost"]) == ("true", "0.0004")
    other = httpx.post(f"{served.server.url}{path}", headers=headers, json=body | {"temperature": 0.5}, timeout=30)
    assert other.status_code == 422
    assert served.vendor.served.calls == calls + 1
    assert served.the_span(user)["cost_nano_usd"] == CALL_NANO_USD


def test_the_recipes_router_knows_the_key_too(served: Served, user: str) -> None:
    headers = {"authorization": f"Bearer {served.key}", **keyed(user)}
    prompt = {"prompt": CALL, "metadata": {"user": user}}
    calls = served.vendor.served.calls
    first, again = (
        httpx.post(
            f"{served.server.url}/api/router", headers=headers | {"x-spendhub-allow": "vendor-chat"}, json=prompt
        )
        for _ in range(2)
    )
    assert (again.status_code, again.content) == (200, first.content)
    assert (again.headers["x-spendhub-replayed"], again.headers["x-spendhub-cost"]) == ("true", "0.0004")
    other = httpx.post(
        f"{served.server.url}/api/router", headers=headers, json=prompt | {"prompt": "something else"}, timeout=30
    )
    assert (other.status_code, other.json()["code"]) == (400, "idempotency_key_reused")
    assert served.vendor.served.calls == calls + 1
    assert len(served.spans(user)) == 1


def test_a_killed_process_gives_the_key_back_and_both_calls_are_real(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    text = f"[fault:slow=3] {CALL}"
    with ask_and_leave(served, user, text):
        wait_until(lambda: served.vendor.served.calls == calls + 1, 10, "the vendor to be asked")
        for process in served.server.serving_processes():
            os.kill(process, signal.SIGKILL)
    wait_until(served.server._is_ready, 30, "new server processes")
    answer = served.ask(text, user=user, headers=keyed(user))
    assert (answer.status_code, "x-spendhub-replayed" in answer.headers) == (200, False)
    assert served.vendor.served.calls == calls + 2
    spans = served.wait_for_spans(user, 2, seconds=40)
    assert sorted(span["status"] for span in spans) == ["interrupted", "ok"]
